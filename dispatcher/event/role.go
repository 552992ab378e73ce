package event

import (
	"cmp"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A RoleContent is the content of an event for the receivers with one role in it. It is not
// changed after parsing.
type RoleContent struct {
	Level    Level
	Counter  model.Counter // the one that the state enters
	TTL      time.Duration // how long a phone that is off should still get the push
	Category string        // names the buttons on an iPhone, or ""

	// What is shown, unless Level is Counted. Details is a JSON object.
	Message      string
	Translations []byte // JSON object by language: the message in other languages, or nil
	Details      []byte
	Presentation push.Presentation // as the service gave it, with a link by the type's template
}

// ContentFor returns the content for a receiver.
func (e *Event) ContentFor(receiver int64) *RoleContent { return e.contents[e.role(receiver)] }

// role returns the role of a receiver in the event's resource.
func (e *Event) role(receiver int64) role {
	switch {
	case e.Type == "dompet" || e.Type == "report":
		return owner
	case receiver == e.details.seller.id:
		return seller
	case receiver == e.details.buyer.id:
		return buyer
	}
	return stranger
}

// fillContents makes the content of each role that receivers have.
func (p *Parser) fillContents(v *Validator, e *Event) {
	for _, receiver := range e.Receivers {
		r := e.role(receiver)
		if e.contents[r] != nil {
			continue
		}
		c := e.newContent(r)
		e.contents[r] = c
		rule := e.state.of(r)
		switch {
		case c.Level == Counted || e.raw != nil && rule == nil: // the latter is invalid, and reported as such
		case e.raw != nil:
			c.Message, c.Translations = p.word(e, rule)
			c.Details = e.raw.details(&e.details, rule.actions)
		case e.message == "" && rule != nil:
			c.Message, c.Translations = p.word(e, rule)
			c.Details = e.details.object
		case e.message == "" && e.state != nil:
			v.Wrong("message", "is required for those who are neither seller nor buyer")
		default:
			c.Message, c.Details = e.message, e.details.object
		}
		c.present(e)
	}
}

// present fills in the presentation, once the details are there.
func (c *RoleContent) present(e *Event) {
	c.Presentation = e.presentation
	if c.Presentation.Link == "" {
		c.Presentation.Link = e.Spec.LinkTo(cmp.Or(e.details.id, e.details.product.id), c.Details)
	}
	c.Details = FillDetails(c.Details, c.Presentation)
}

// newContent returns the content that the rules give a role, without texts and details. An
// event that the service worded itself is pushed to all of its receivers, except for states
// that are never pushed.
func (e *Event) newContent(r role) *RoleContent {
	c := &RoleContent{Level: Pushed, TTL: e.Spec.TTL}
	rule := e.state.of(r)
	if rule == nil {
		return c
	}
	c.Counter, c.TTL = rule.counter, cmp.Or(rule.ttl, c.TTL)
	if e.raw != nil || e.message == "" || rule.level == Muted {
		c.Level = rule.level
	}
	if e.raw == nil && e.details.actions.Kind() == '[' {
		c.Category = category(e.details.actions)
	} else {
		c.Category = categories[strings.Join(rule.actions, "_")]
	}
	return c
}

// category names the actions that a service has given, or is "" when no app knows
// buttons for them.
func category(actions jsontext.Value) string {
	var buf [64]byte
	joined := buf[:0]
	jsonscan.EachElement(actions, func(v jsontext.Value) {
		if len(joined) > 0 {
			joined = append(joined, '_')
		}
		if v.Kind() == '"' {
			joined = append(joined, jsonscan.Member{Key: v}.Name()...)
		}
	})
	return categories[string(joined)]
}

// word returns the message of an event and, if the rules word it, its translations. r may
// be nil only if the service gave a message.
func (p *Parser) word(e *Event, r *rule) (message string, translations []byte) {
	if e.message != "" {
		return e.message, nil
	}
	d := &e.details
	return p.texts.Translate(p.locale, r.textID(), func(l text.Locale) text.Args {
		return text.Args{
			Buyer: p.name(l, d.buyer), Seller: p.name(l, d.seller),
			Amount: readAmount(d.amount), Product: d.product.name,
		}
	})
}

// name returns a person's name, else their username, else a placeholder.
func (p *Parser) name(l text.Locale, of person) string {
	for _, name := range []string{of.name, of.username} {
		if name != "" && Printable(name) {
			return name
		}
	}
	return p.texts.Text(l, "somebody", text.Args{})
}
