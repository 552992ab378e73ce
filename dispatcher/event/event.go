package event

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Bounds of an event.
const (
	MaxEventSize  = 64 << 10 // bytes
	MaxReceivers  = 1000
	MaxTTL        = 28 * day // FCM keeps nothing longer
	maxIDLen      = 128      // bytes
	maxMessage    = 1000     // characters
	maxTitle      = 200      // characters
	maxCart       = 1_000_000
	maxAhead      = day      // how far an event's time may lie ahead of the clock
	maxSchedule   = 30 * day // how far ahead an event may be scheduled
	maxResourceID = 64       // bytes
)

// An Event is a validated event of a service. It is not changed after parsing.
type Event struct {
	ID        string // unique within its source; generated when the service gave none
	Type      string
	Spec      TypeSpec
	Receivers []int64 // 1 to MaxReceivers, each once
	Title     *string // nil: none
	Digest    string  // of the content, to recognise a repeat with other content
	Cart      *int    // the number of items, for a cart event
	Push      bool    // false: in the inbox alone
	// Apps are the apps that are pushed; nil: those of its type, see TypeSpec.
	Apps []string
	// At is when the event is published; zero for one that is published at once. Raw is what
	// was sent, because the event is read again at that time; nil for one without At.
	At  time.Time
	Raw []byte
	// Unknown are the members that were ignored, because an event has no such member:
	// "mesage", "options.tll", or "data.mesage" inside the wrapper. At most 16 are named.
	Unknown []string

	cloudSource string // of a CloudEvent; or ""

	time    time.Time
	message string // "": the rules' text
	details details
	// presentation is what the service says; contents have it with the type's link.
	presentation push.Presentation
	ttl          time.Duration          // 0: by state or type
	state        *stateRules            // of the state that it reports; nil when it reports none
	raw          *rawResource           // the resource that was sent in place of an event, or nil
	contents     [numRoles]*RoleContent // nil for roles without a receiver
}

// wireEvent is an event as services send it: valid JSON values, or nothing.
type wireEvent struct {
	whole                                                                            jsontext.Value
	id, eventType, receiver, receivers, time, message, title, details, options, data jsontext.Value
	image, link, sound                                                               jsontext.Value

	// Of resources that are sent in place of an event; see unwrap.
	transaction, negotiation, product, mutation, withdrawal, state, account jsontext.Value

	around  *wireEvent // the object that holds the event as "data", or nil
	unknown []string   // members that events do not have; see noteUnknown
}

// readWire takes the members of an event that Kabar knows, and notes the others.
func readWire(raw []byte) (w wireEvent, err error) {
	w.whole = raw
	err = jsonscan.EachMember(raw, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "id":
			w.id = m.Value
		case "type":
			w.eventType = m.Value
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
		case "image":
			w.image = m.Value
		case "link":
			w.link = m.Value
		case "sound":
			w.sound = m.Value
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
		case "state": // of a withdrawal alone, as the next ones; see unwrapTopLevel
			w.state = m.Value
			w.unknown = noteUnknown(w.unknown, "", "state")
		case "bank_account_id", "deposit_id":
			w.account = m.Value
			w.unknown = noteUnknown(w.unknown, "", string(m.Name()))
		default:
			w.unknown = noteUnknown(w.unknown, "", string(m.Name()))
		}
	})
	return w, err
}

// inherit sets the members that the event lacks to those of the object around it.
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
		{&w.image, &w.around.image}, {&w.link, &w.around.link}, {&w.sound, &w.around.sound},
	} {
		if jsonscan.Absent(*m.own) {
			*m.own = *m.around
		}
	}
}

// Options configure a Parser. All but Apps and LinkSchemes are required.
type Options struct {
	Types  *Types
	Apps   []string // names of the apps of this gateway, beside the default one
	Texts  *text.Catalogue
	Locale text.Locale // of the messages that the rules word; their translations are stored with them
	// LinkSchemes are the schemes that links may have beside https.
	LinkSchemes []string
	Now         func() time.Time
}

// A Parser reads events. It is immutable and safe for concurrent use.
type Parser struct {
	types   *Types
	apps    []string
	texts   *text.Catalogue
	locale  text.Locale
	schemes []string
	now     func() time.Time
}

// NewParser returns a parser.
func NewParser(o Options) *Parser {
	return &Parser{types: o.Types, apps: o.Apps, texts: o.Texts, locale: o.Locale, schemes: o.LinkSchemes, now: o.Now}
}

// Parse reads one event from JSON of at most MaxEventSize bytes. The error is an
// *InvalidError. Members that it does not know are ignored and named in Unknown; when the
// event is refused, the error names them too, as they may be what is missing.
func (p *Parser) Parse(raw []byte) (*Event, error) {
	if len(raw) > MaxEventSize {
		return nil, invalid("event", fmt.Sprintf("is larger than %d bytes", MaxEventSize))
	}
	doc, ok := jsonscan.Check(raw)
	if !ok {
		if err := validate(raw); err != nil { // says what is wrong
			return nil, err
		}
		doc = jsonscan.Document{} // without digests of a part
	}
	w, err := readWire(raw)
	if err == nil && w.eventType == nil && w.data.Kind() == '{' {
		around := w
		w, err = readWire(around.data)
		w.around = &around
	} else if !jsonscan.Absent(w.data) {
		w.unknown = noteUnknown(w.unknown, "", "data") // it holds an event only if none is around it
	}
	if err != nil {
		return nil, invalid("event", err.Error())
	}
	e, err := p.parse(&w, &doc)
	if err == nil && !e.At.IsZero() {
		e.Raw = bytes.Clone(raw)
	}
	return e, err
}

// validate returns an error unless raw is exactly one JSON value within the bounds of
// [jsonscan.Bounded]. It takes time in proportion to the length of raw.
func validate(raw []byte) error {
	if err := jsonscan.Bounded(raw); err != nil {
		return invalid("event", err.Error())
	}
	if jsontext.Value(raw).IsValid() {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	_, err := dec.ReadValue()
	if err == nil {
		_, err = dec.ReadValue() // anything after it
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return invalid("event", fmt.Sprintf("is not valid JSON at byte %d", syntax.ByteOffset))
	}
	return invalid("event", "is not valid JSON")
}

func (p *Parser) parse(w *wireEvent, doc *jsonscan.Document) (*Event, error) {
	v := &Validator{}
	e := &Event{raw: w.unwrap(v)}
	e.Unknown = w.allUnknown()
	known := p.readHead(v, e, w)
	now := p.now()
	e.presentation = p.presentation(v, w.image, w.link, w.sound)
	e.ttl, e.Push = v.options(e, w.options, now)
	p.checkApps(v, e.Apps)
	if !e.At.IsZero() {
		now = e.At
	}
	e.time = v.eventTime("time", w.time, now)
	if e.raw != nil {
		e.readRaw(v, now)
		e.Receivers = e.rawReceivers(v, w.receiver, w.receivers)
	} else {
		e.Receivers = v.receivers(w.receiver, w.receivers)
		e.readDetails(v, w.details, now)
	}
	if known {
		if e.message == "" && e.state == nil && e.raw == nil && e.Type != "cart" && e.Type != "reminder" {
			v.Wrong("message", "is required")
		}
		p.fillContents(v, e)
	}
	if err := v.Err(); err != nil {
		v.refuse(e.Unknown)
		return nil, v.Err()
	}
	switch {
	case e.ID != "":
	case e.raw == nil, e.raw.resource == "report" && jsonscan.Absent(w.time): // a product does not identify its reports
		e.ID = model.NewID(p.now())
	default:
		e.ID = e.derivedID()
	}
	e.Digest = w.digest(doc)
	return e, nil
}

// readHead takes id, type, message and title, and reports whether the type is known.
func (p *Parser) readHead(v *Validator, e *Event, w *wireEvent) (known bool) {
	e.ID, e.Type = v.id(w.id), v.text("type", w.eventType, 64)
	if e.Spec, known = p.types.lookup(e.Type); e.Type == "" {
		v.Wrong("type", "is required")
	} else if !known {
		v.Wrong("type", "is not a known event type")
	} else if e.Type == "message" {
		v.Wrong("type", "must not be message: it is the sender who sends one, with POST /v2/messages.json; publish another type, such as announcement")
	}
	e.message = v.text("message", w.message, maxMessage)
	if e.message == "" {
		e.message = p.types.messages[e.Type]
	}
	if title := v.text("title", w.title, maxTitle); title != "" {
		e.Title = &title
	}
	return known
}

// readDetails reads the fields of the details that the rules and the counters need.
func (e *Event) readDetails(v *Validator, raw jsontext.Value, now time.Time) {
	var err error
	if e.details, err = parseDetails(raw, e.Spec.Promo); err != nil {
		v.Wrong("details", err.Error())
		return
	}
	d := &e.details
	switch e.Type {
	case "cart":
		e.Cart = v.cart(d.cartItems)
	case "transaction", "nego":
		if d.state == "" {
			break
		}
		if e.state = rulesByState[e.Type][d.state]; e.state == nil {
			v.Wrong(d.path+".state", "is not a known state")
			break
		}
		if e.time.IsZero() && len(d.updatedAt) > 0 {
			e.time = v.eventTime(d.path+".updated_at", d.updatedAt, now)
		}
	case "dompet", "report": // the rules have a text for events without a message
		if e.message == "" {
			e.state = d.stateRules(e.Type)
		}
	}
}

// digest returns a digest of everything but the id and the receivers, to compare two
// events. Members of objects may come in any order.
func (w *wireEvent) digest(doc *jsonscan.Document) string {
	total := uint64(0)
	for _, v := range []jsontext.Value{w.eventType, w.time, w.message, w.title, w.details, w.options, w.image, w.link, w.sound} {
		total = jsonscan.Mix(total, doc.Digest(v))
	}
	return strconv.FormatUint(total, 16)
}

// WithSource returns the event with the source of a CloudEvent, a URI reference. The
// event's id is unique within its source (guarantee G2).
func (e *Event) WithSource(uri string) *Event {
	of := *e
	of.cloudSource = uri
	return &of
}

// CloudSource returns the source of a CloudEvent, "" for other events.
func (e *Event) CloudSource() string { return e.cloudSource }

// Subject returns the resource that the event is about: pushes about one transaction, offer
// or conversation replace each other on the screen. It is "" when nothing is replaced.
func (e *Event) Subject() string {
	switch e.Type {
	case "transaction", "nego":
		return model.Subject(e.Type, e.details.id)
	case "reminder":
		return "reminder"
	}
	return ""
}

// TellsState reports whether the event reports a state of a subject.
func (e *Event) TellsState() bool { return e.state != nil && e.Subject() != "" }

// State returns the subject's state that the event tells the receivers of a content. Its
// order is zero when the event has no time: then the state is ordered by its acceptance.
func (e *Event) State(c *RoleContent) model.State {
	state := model.State{Order: e.time}
	if e.TellsState() {
		state.Rank, state.Counter = e.state.rank, c.Counter
	}
	return state
}

// TTL returns how long a phone that is off should still get the push of a content.
func (e *Event) TTL(c *RoleContent) time.Duration { return cmp.Or(e.ttl, c.TTL) }

// Contact returns the receiver's partner in the transaction of the event, or nil.
func (e *Event) Contact(receiver int64) *model.Contact {
	d := &e.details
	if e.Type != "transaction" || d.seller.id == 0 || d.buyer.id == 0 || d.seller.id == d.buyer.id {
		return nil
	}
	role, with := model.Seller, d.seller
	switch receiver {
	case d.buyer.id:
	case d.seller.id:
		role, with = model.Buyer, d.buyer
	default:
		return nil
	}
	return &model.Contact{
		Role: role, Partner: with.id, Name: with.name, Avatar: with.avatar,
		Transaction: model.Subject(e.Type, d.id), Items: d.items,
	}
}
