package broadcast

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// Bounds of a broadcast.
const (
	// MaxSize bounds a broadcast as JSON, in bytes: MaxNamed ids and the text.
	MaxSize = 4 << 20
	// MaxNamed is how many users a broadcast may name.
	MaxNamed = 100_000
	// MaxRate is the highest number of users notified a second.
	MaxRate = 10_000
	// DefaultRate is the rate of a broadcast that sets none.
	DefaultRate = 1000

	day         = 24 * time.Hour
	maxSchedule = 90 * day // how far ahead a broadcast may be scheduled
	maxName     = 64       // characters of an unknown member's name in an error
)

// A Broadcast is a validated promotion to an audience. It is not changed after parsing.
type Broadcast struct {
	ID   string // unique within its source; generated when the service gave none
	Type string

	body     []byte // as the inbox stores it
	digest   string // of everything but the id, to recognise a repeat with other content
	audience Audience
	named    []int64 // the users whom it names; nil: everyone
	at       time.Time
	expires  time.Time
	rate     int // users notified a second
}

// wireBroadcast is a broadcast as services send it: valid JSON values, or nothing.
type wireBroadcast struct {
	promotion                        event.PromotionFields
	audience, at, rate, expires, ttl jsontext.Value
}

// readWire takes the members of a broadcast, and notes any other one as wrong.
func readWire(v *event.Validator, raw []byte) (w wireBroadcast, err error) {
	err = jsonscan.EachMember(raw, func(m jsonscan.Member) {
		switch name := string(m.Name()); name {
		case "id":
			w.promotion.ID = m.Value
		case "type":
			w.promotion.Type = m.Value
		case "message":
			w.promotion.Message = m.Value
		case "title":
			w.promotion.Title = m.Value
		case "details":
			w.promotion.Details = m.Value
		case "image":
			w.promotion.Image = m.Value
		case "link":
			w.promotion.Link = m.Value
		case "sound":
			w.promotion.Sound = m.Value
		case "options":
			w.promotion.Options = m.Value
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
		default:
			v.Wrong(event.Truncate(name, maxName), "is not a member of a broadcast")
		}
	})
	return w, err
}

// digest returns a digest of everything but the id, to compare two broadcasts.
func (w *wireBroadcast) digest() string {
	total := uint64(0)
	p := &w.promotion
	for _, v := range []jsontext.Value{
		p.Type, p.Message, p.Title, p.Details, p.Image, p.Link, p.Sound, p.Options,
		w.audience, w.at, w.rate, w.expires, w.ttl,
	} {
		total = jsonscan.Mix(total, jsonscan.Digest(v))
	}
	return strconv.FormatUint(total, 16)
}

func invalid(problem string) error {
	return &event.InvalidError{Fields: map[string]string{"broadcast": problem}}
}

// Parse reads a broadcast from JSON of at most MaxSize bytes. The error is an
// *event.InvalidError. A member that it does not know is refused by its name, and everyone
// is told only where the audience says "all": a slip must not reach a million phones.
func (b *Broadcasts) Parse(raw []byte) (*Broadcast, error) {
	return parse(b.parser, raw, b.now())
}

func parse(parser *event.Parser, raw []byte, now time.Time) (*Broadcast, error) {
	if len(raw) > MaxSize {
		return nil, invalid(fmt.Sprintf("is larger than %d bytes", MaxSize))
	}
	if err := jsonscan.Bounded(raw); err != nil {
		return nil, invalid(err.Error())
	}
	if !jsontext.Value(raw).IsValid() {
		return nil, invalid("is not valid JSON")
	}
	v := &event.Validator{}
	w, err := readWire(v, raw)
	if err != nil {
		return nil, invalid(err.Error())
	}
	promotion := parser.Promotion(v, w.promotion)
	b := &Broadcast{ID: promotion.ID, Type: promotion.Type, digest: w.digest()}
	b.audience, b.named = readAudience(v, w.audience)
	b.readTimes(v, &w, now)
	b.rate = readRate(v, w.rate)
	if err := v.Err(); err != nil {
		return nil, err
	}
	body := content.Body{
		Type: promotion.Type, Title: promotion.Title, Message: promotion.Message, Details: promotion.Details,
		Presentation: promotion.Presentation,
	}
	b.body = body.Stored()
	return b, nil
}

// readTimes reads when the broadcast begins and when it expires.
func (b *Broadcast) readTimes(v *event.Validator, w *wireBroadcast, now time.Time) {
	b.at = now
	if at, ok := v.Time("at", w.at); ok && at.After(now) {
		b.at = at
	}
	if b.at.Sub(now) > maxSchedule {
		v.Wrong("at", fmt.Sprintf("lies more than %d days ahead", maxSchedule/day))
	}
	ttl := v.TTL("ttl", w.ttl)
	expires, ok := v.Time("expires", w.expires)
	switch {
	case ok && ttl > 0:
		v.Wrong("expires", "cannot be given beside ttl")
	case ok:
		b.expires = expires
	case ttl > 0:
		b.expires = b.at.Add(ttl)
	default:
		b.expires = b.at.Add(day)
	}
	switch {
	case v.Has("ttl") || v.Has("expires"): // the field is wrong, and was reported
	case !b.expires.After(b.at):
		v.Wrong("expires", "must lie after now and after at")
	case b.expires.Sub(b.at) > event.MaxTTL:
		v.Wrong("expires", fmt.Sprintf("must lie at most %d days after at", event.MaxTTL/day))
	}
}

func readRate(v *event.Validator, value jsontext.Value) int {
	if jsonscan.Absent(value) {
		return DefaultRate
	}
	s, _ := jsonscan.Scalar(value)
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxRate {
		v.Wrong("rate", fmt.Sprintf("must be a whole number of users a second, from 1 to %d", MaxRate))
	}
	return n
}

// everyone is the audience without filters. It has to be said outright.
const everyone = "all"

// readAudience reads the filters of an audience, and the users whom it names. A filter that
// is null is refused, as it would let everyone through.
func readAudience(v *event.Validator, value jsontext.Value) (a Audience, named []int64) {
	if jsonscan.Absent(value) {
		v.Wrong("audience", `is required: "all", or an object with filters`)
		return a, nil
	}
	if text, _ := jsonscan.Scalar(value); text == everyone && value.Kind() == '"' {
		return a, nil
	}
	filters := 0
	err := jsonscan.EachMember(value, func(m jsonscan.Member) {
		filters++
		text, _ := jsonscan.Scalar(m.Value)
		switch name := string(m.Name()); name {
		case "platform":
			if a.Platform = devices.Platform(text); a.Platform != devices.Android && a.Platform != devices.IOS && a.Platform != devices.Web {
				v.Wrong("audience.platform", "must be android, ios or web")
			}
		case "locale":
			if a.Locale = text; text != "id" && text != "en" {
				v.Wrong("audience.locale", "must be id or en")
			}
		case "app_version":
			a.MinVersion, a.MaxVersion = readVersions(v, m.Value)
		case "user_ids":
			named = readNamed(v, m.Value)
		default:
			v.Wrong("audience."+event.Truncate(name, maxName), "is none of platform, app_version, locale, user_ids")
		}
	})
	switch {
	case err != nil:
		v.Wrong("audience", `must be "all", or an object with filters`)
	case filters == 0:
		v.Wrong("audience", `has no filter: to tell everyone, say "all"`)
	}
	return a, named
}

// readVersions reads a range of versions of the app.
func readVersions(v *event.Validator, value jsontext.Value) (lowest, highest string) {
	const field = "audience.app_version"
	read := func(m jsonscan.Member) string {
		s, _ := jsonscan.Scalar(m.Value)
		if !wholeVersion.MatchString(s) {
			v.Wrong(field+"."+string(m.Name()), `must be a version: one to four numbers, as in "1.2"`)
		}
		return s
	}
	members := 0
	err := jsonscan.EachMember(value, func(m jsonscan.Member) {
		members++
		switch name := string(m.Name()); name {
		case "min":
			lowest = read(m)
		case "max":
			highest = read(m)
		default:
			v.Wrong(field+"."+event.Truncate(name, maxName), "is neither min nor max")
		}
	})
	switch {
	case err != nil:
		v.Wrong(field, "must be an object")
	case members == 0:
		v.Wrong(field, "must have min or max")
	case lowest != "" && highest != "" && compareVersions(lowest, highest) > 0:
		v.Wrong(field, "has a min above its max")
	}
	return lowest, highest
}

// readNamed reads a list of users, and returns each once, in order.
func readNamed(v *event.Validator, list jsontext.Value) (users []int64) {
	const field = "audience.user_ids"
	if list.Kind() != '[' {
		v.Wrong(field, "must be an array")
		return nil
	}
	n, bad := 0, false
	jsonscan.EachElement(list, func(value jsontext.Value) {
		if n++; bad || n > MaxNamed {
			return
		}
		user, ok := v.User(fmt.Sprintf("%s[%d]", field, n-1), value)
		bad = !ok // the first error is enough
		users = append(users, user)
	})
	if n == 0 || n > MaxNamed {
		v.Wrong(field, fmt.Sprintf("must name 1 to %d users", MaxNamed))
	}
	slices.Sort(users)
	return slices.Compact(users)
}
