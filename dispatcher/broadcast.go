package dispatcher

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// Bounds of a broadcast.
const (
	// MaxBroadcastSize bounds a broadcast as JSON, in bytes: MaxNamed ids and the text.
	MaxBroadcastSize = 4 << 20
	// MaxNamed is how many users a broadcast may name.
	MaxNamed = 100_000
	// MaxRate and DefaultRate are users told a second.
	MaxRate     = 10_000
	DefaultRate = 1000

	maxSchedule = 90 * day // how far ahead a broadcast may be planned

	nobody = 1 // stands for the receivers while the text is read as an event's
)

// A Broadcast is a validated promotion to an audience. It is not changed after
// parsing.
type Broadcast struct {
	ID   string // unique within its source; made up when the service gave none
	Type string

	body     []byte
	content  string // digest of what was sent, for the comparison with a repeat
	audience Audience
	users    []int64 // whom it names; nil: everyone
	at       time.Time
	expires  time.Time
	rate     int
}

// wireBroadcast is a broadcast as services send it: valid JSON values, or nothing.
type wireBroadcast struct {
	event                            wireEvent
	audience, at, rate, expires, ttl jsontext.Value
}

func readWireBroadcast(raw []byte) (w wireBroadcast, err error) {
	err = jsonscan.EachMember(raw, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "id":
			w.event.id = m.Value
		case "type":
			w.event.kind = m.Value
		case "message":
			w.event.message = m.Value
		case "title":
			w.event.title = m.Value
		case "details":
			w.event.details = m.Value
		case "audience":
			w.audience = m.Value
		case "at":
			w.at = m.Value
		case "rate":
			w.rate = m.Value
		case "expires":
			w.expires = m.Value
		case "ttl":
			w.ttl = m.Value
		}
	})
	return w, err
}

// digest sums what makes two broadcasts the same: all but the id.
func (w *wireBroadcast) digest() string {
	total := uint64(0)
	for _, v := range []jsontext.Value{
		w.event.kind, w.event.message, w.event.title, w.event.details, w.audience, w.at, w.rate, w.expires, w.ttl,
	} {
		total = jsonscan.Mix(total, jsonscan.Digest(v))
	}
	return strconv.FormatUint(total, 16)
}

// ParseBroadcast reads a broadcast from JSON of at most MaxBroadcastSize bytes. The
// error is an *InvalidError. Unknown fields are ignored, except in the audience,
// where a slip of the pen would tell everyone.
func (p *Parser) ParseBroadcast(raw []byte) (*Broadcast, error) {
	if len(raw) > MaxBroadcastSize {
		return nil, invalid("broadcast", fmt.Sprintf("is larger than %d bytes", MaxBroadcastSize))
	}
	if !jsontext.Value(raw).IsValid() {
		return nil, invalid("broadcast", "is not valid JSON")
	}
	w, err := readWireBroadcast(raw)
	if err != nil {
		return nil, invalid("broadcast", err.Error())
	}
	b := &Broadcast{content: w.digest()}
	c := &checker{}
	b.readText(c, p, w.event)
	b.audience, b.users = c.audience(w.audience)
	b.readTimes(c, &w, p.now())
	b.rate = c.rate(w.rate)
	if len(c.fields) > 0 {
		return nil, &InvalidError{Fields: c.fields}
	}
	return b, nil
}

// readText takes what the users are shown, by the rules of an event.
func (b *Broadcast) readText(c *checker, p *Parser, w wireEvent) {
	if jsonscan.Absent(w.kind) {
		w.kind = jsontext.Value(`"broadcast"`)
	}
	name, _ := jsonscan.Scalar(w.kind)
	if k, known := p.kinds[name]; known && !k.promo {
		c.wrong("type", "is not that of a promotion")
		return
	}
	w.receiver = jsontext.Value(strconv.Itoa(nobody)) // the audience takes its place
	if len(w.details) > MaxEventSize {
		c.wrong("details", fmt.Sprintf("is larger than %d bytes", MaxEventSize))
		return
	}
	e, err := p.event(&w)
	if err != nil {
		var bad *InvalidError
		if !errors.As(err, &bad) {
			c.wrong("broadcast", err.Error())
			return
		}
		c.fields = maps.Clone(bad.Fields)
		return
	}
	b.ID, b.Type, b.body = e.ID, e.Type, e.shareOf(nobody).body
}

// readTimes takes when the broadcast begins and when it is over.
func (b *Broadcast) readTimes(c *checker, w *wireBroadcast, now time.Time) {
	b.at = now
	if at, ok := c.moment("at", w.at); ok && at.After(now) {
		b.at = at
	}
	if b.at.Sub(now) > maxSchedule {
		c.wrong("at", fmt.Sprintf("lies more than %d days ahead", maxSchedule/day))
	}
	ttl := c.ttl("ttl", w.ttl)
	expires, ok := c.moment("expires", w.expires)
	switch {
	case ok && ttl > 0:
		c.wrong("expires", "cannot be given beside ttl")
	case ok:
		b.expires = expires
	case ttl > 0:
		b.expires = b.at.Add(ttl)
	default:
		b.expires = b.at.Add(day)
	}
	switch {
	case c.fields["ttl"] != "" || c.fields["expires"] != "": // told already
	case !b.expires.After(b.at):
		c.wrong("expires", "must lie after now and after at")
	case b.expires.Sub(b.at) > maxTTL:
		c.wrong("expires", fmt.Sprintf("must lie at most %d days after at", maxTTL/day))
	}
}

// moment reads a time; it reports false when there is none.
func (c *checker) moment(field string, v jsontext.Value) (time.Time, bool) {
	if jsonscan.Absent(v) {
		return time.Time{}, false
	}
	s, _ := jsonscan.Scalar(v)
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		c.wrong(field, "must be a time as in RFC 3339, such as 2014-01-23T13:48:51+07:00")
	}
	return at, err == nil
}

func (c *checker) rate(v jsontext.Value) int {
	if jsonscan.Absent(v) {
		return DefaultRate
	}
	s, _ := jsonscan.Scalar(v)
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxRate {
		c.wrong("rate", fmt.Sprintf("must be a whole number of users a second, from 1 to %d", MaxRate))
	}
	return n
}
