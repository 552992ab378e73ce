package dispatcher

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// Bounds of an event.
const (
	MaxEventSize  = 64 << 10 // bytes
	MaxReceivers  = 1000
	maxIDLen      = 128      // bytes
	maxMessage    = 1000     // characters
	maxTitle      = 200      // characters
	maxTTL        = 28 * day // FCM keeps nothing longer
	maxCart       = 1_000_000
	maxAhead      = day // how far an event's time may lie ahead of the clock
	maxResourceID = 64  // bytes
)

// An InvalidError tells what is wrong with an event, by field.
type InvalidError struct{ Fields map[string]string }

// Error lists the fields in order. It repeats nothing of what was sent.
func (e *InvalidError) Error() string {
	var parts []string
	for field, problem := range e.Fields {
		parts = append(parts, field+" "+problem)
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// An Event is a validated event of a service. It is not changed after parsing.
type Event struct {
	ID        string // unique within its source; made up when the service gave none
	Type      string
	Receivers []int64 // 1 to MaxReceivers, each once

	cloudSource string // of a CloudEvent; or ""

	kind    kind
	content string // digest of what was sent, for the comparison with a repeat
	time    time.Time
	title   *string
	message string // "": the rules' words
	details details
	cart    *int
	ttl     time.Duration // 0: by state or type
	push    bool
	meaning *meaning      // of the state that it tells; nil when it tells none
	bare    *bare         // the resource that was sent in place of an event, or nil
	shares  [roles]*share // what receivers of each role get; nil where there is none
}

// wireEvent is an event as services send it: valid JSON values, or nothing.
type wireEvent struct {
	whole                                                                       jsontext.Value
	id, kind, receiver, receivers, time, message, title, details, options, data jsontext.Value

	// Of resources that are sent in place of an event; see bare.
	transaction, negotiation, product, mutation, withdrawal, state, account jsontext.Value

	around *wireEvent // what the event stands in as "data", or nil
}

// readWire takes the members of an event that Kabar knows.
func readWire(raw []byte) (w wireEvent, err error) {
	w.whole = raw
	err = jsonscan.EachMember(raw, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "id":
			w.id = m.Value
		case "type":
			w.kind = m.Value
		case "receiver_id":
			w.receiver = m.Value
		case "receiver_ids":
			w.receivers = m.Value
		case "time":
			w.time = m.Value
		case "message":
			w.message = m.Value
		case "title":
			w.title = m.Value
		case "details":
			w.details = m.Value
		case "options":
			w.options = m.Value
		case "data": // the wrapper that most documented samples have
			w.data = m.Value
		case "transaction":
			w.transaction = m.Value
		case "negotiation":
			w.negotiation = m.Value
		case "product":
			w.product = m.Value
		case "mutation":
			w.mutation = m.Value
		case "withdrawal":
			w.withdrawal = m.Value
		case "state":
			w.state = m.Value
		case "bank_account_id", "deposit_id":
			w.account = m.Value
		}
	})
	return w, err
}

// inherit gives the event what it has not and what stands around it has.
func (w *wireEvent) inherit() {
	if w.around == nil {
		return
	}
	if jsonscan.Absent(w.receiver) && jsonscan.Absent(w.receivers) {
		w.receiver, w.receivers = w.around.receiver, w.around.receivers
	}
	for _, m := range []struct{ own, around *jsontext.Value }{
		{&w.id, &w.around.id}, {&w.time, &w.around.time}, {&w.message, &w.around.message},
		{&w.title, &w.around.title}, {&w.details, &w.around.details}, {&w.options, &w.around.options},
	} {
		if jsonscan.Absent(*m.own) {
			*m.own = *m.around
		}
	}
}

// A Parser reads events. It is immutable and safe for concurrent use.
type Parser struct {
	kinds   map[string]kind
	presets map[string]string // messages of declared types
	texts   *text.Catalogue
	locale  text.Locale // of the messages that Kabar words; the other languages stand beside them
	now     func() time.Time
	newID   func() string
}

// Parse reads one event from JSON of at most MaxEventSize bytes. The error is an
// *InvalidError. Unknown fields are ignored.
func (p *Parser) Parse(raw []byte) (*Event, error) {
	if len(raw) > MaxEventSize {
		return nil, invalid("event", fmt.Sprintf("is larger than %d bytes", MaxEventSize))
	}
	if err := validate(raw); err != nil {
		return nil, err
	}
	w, err := readWire(raw)
	if err == nil && w.kind == nil && w.data.Kind() == '{' {
		around := w
		w, err = readWire(around.data)
		w.around = &around
	}
	if err != nil {
		return nil, invalid("event", err.Error())
	}
	return p.event(&w)
}

// validate reports where raw is not one JSON value.
func validate(raw []byte) error {
	if jsontext.Value(raw).IsValid() {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	_, err := dec.ReadValue()
	if err == nil {
		_, err = dec.ReadValue() // what follows it
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return invalid("event", fmt.Sprintf("is not valid JSON at byte %d", syntax.ByteOffset))
	}
	return invalid("event", "is not valid JSON")
}

func (p *Parser) event(w *wireEvent) (*Event, error) {
	c := &checker{}
	e := &Event{bare: w.unwrap(c)}
	e.ID, e.Type = c.id(w.id), c.text("type", w.kind, 64)
	var ok bool
	if e.kind, ok = p.kinds[e.Type]; e.Type == "" {
		c.wrong("type", "is required")
	} else if !ok {
		c.wrong("type", "is not a known event type")
	}
	e.time = c.time("time", w.time, p.now())
	e.message = c.text("message", w.message, maxMessage)
	if e.message == "" {
		e.message = p.presets[e.Type]
	}
	if title := c.text("title", w.title, maxTitle); title != "" {
		e.title = &title
	}
	e.ttl, e.push = c.options(w.options)
	if e.bare != nil {
		e.readBare(c, p.now())
		e.Receivers = e.parties(c, w.receiver, w.receivers)
	} else {
		e.Receivers = c.receivers(w.receiver, w.receivers)
		e.readDetails(c, w.details, p.now())
	}
	if ok {
		if e.message == "" && e.meaning == nil && e.bare == nil && e.Type != "cart" && e.Type != "reminder" {
			c.wrong("message", "is required")
		}
		p.shareOut(c, e)
	}
	if len(c.fields) > 0 {
		return nil, &InvalidError{Fields: c.fields}
	}
	switch {
	case e.ID != "":
	case e.bare == nil, e.bare.resource == "report" && jsonscan.Absent(w.time): // a product tells nothing of its reports
		e.ID = p.newID()
	default:
		e.ID = e.derivedID()
	}
	e.content = w.digest()
	return e, nil
}

// readDetails takes from the details what the rules and the counters need.
func (e *Event) readDetails(c *checker, raw jsontext.Value, now time.Time) {
	var err error
	if e.details, err = parseDetails(raw, e.kind.promo); err != nil {
		c.wrong("details", err.Error())
		return
	}
	d := &e.details
	switch e.Type {
	case "cart":
		e.cart = c.cart(d.cartItems)
	case "transaction", "nego":
		if d.state == "" {
			break
		}
		if e.meaning = meanings[e.Type][d.state]; e.meaning == nil {
			c.wrong(d.path+".state", "is not a known state")
			break
		}
		if e.time.IsZero() && len(d.updatedAt) > 0 {
			e.time = c.time(d.path+".updated_at", d.updatedAt, now)
		}
	case "dompet", "report": // the rules have words for those that bring none
		if e.message == "" {
			e.meaning = d.meaning(e.Type)
		}
	}
}

// digest sums what makes two events the same: all but the id and the receivers.
// Members of objects may come in any order.
func (w *wireEvent) digest() string {
	total := uint64(0)
	for _, v := range []jsontext.Value{w.kind, w.time, w.message, w.title, w.details, w.options} {
		total = jsonscan.Mix(total, jsonscan.Digest(v))
	}
	return strconv.FormatUint(total, 16)
}

// WithSource returns the event as a CloudEvent of a source, a URI reference, within
// which its id is unique (guarantee G2).
func (e *Event) WithSource(uri string) *Event {
	of := *e
	of.cloudSource = uri
	return &of
}

// WithinSource names the events of a service ("service:NAME") that are CloudEvents of
// a source; with "" those that are no CloudEvents. Services cannot reach into each
// other's sources: the same source and id of two services are two events.
func WithinSource(service, uri string) string {
	if uri == "" {
		return service
	}
	return service + " " + uri // names of services have no spaces
}

// key is the digest under which the inbox knows an event of a service.
func (e *Event) key(service string) string {
	return EventKey(WithinSource(service, e.cloudSource), e.ID)
}

// EventKey is the digest of an event's source and id.
func EventKey(source, id string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + id))
	return hex.EncodeToString(sum[:16])
}

func invalid(field, problem string) *InvalidError {
	return &InvalidError{Fields: map[string]string{field: problem}}
}
