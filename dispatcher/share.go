package dispatcher

import (
	"cmp"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A share is what those receivers of an event get who have the same role in it.
type share struct {
	body     []byte // nil when it is only counted
	hears    hearing
	counter  model.Counter
	worth    time.Duration
	category string // names the buttons on an iPhone, or ""
}

// shareOf returns what a receiver gets.
func (e *Event) shareOf(receiver int64) *share { return e.shares[e.role(receiver)] }

// role returns what a receiver is in what the event tells of.
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

// shareOut makes the share of each role that receivers have.
func (p *Parser) shareOut(c *checker, e *Event) {
	var same []byte // the body of all, where the service has worded it
	for _, receiver := range e.Receivers {
		r := e.role(receiver)
		if e.shares[r] != nil {
			continue
		}
		s := e.newShare(r)
		e.shares[r] = s
		rule := e.meaning.to(r)
		switch {
		case s.hears == counted || e.bare != nil && rule == nil: // the latter was found wanting
		case e.bare != nil:
			message, others := p.word(e, rule)
			s.body = body(e.Type, e.title, message, others, e.bare.details(&e.details, rule.actions))
		case e.message == "" && rule != nil:
			message, others := p.word(e, rule)
			s.body = body(e.Type, e.title, message, others, e.details.object)
		case e.message == "" && e.meaning != nil:
			c.wrong("message", "is required for those who are neither seller nor buyer")
		default:
			if same == nil {
				same = body(e.Type, e.title, e.message, nil, e.details.object)
			}
			s.body = same
		}
	}
}

// newShare is what the rules give a role, without its body. Who hears of an event
// that the service has addressed and worded itself is the service's affair, but for
// what is never pushed.
func (e *Event) newShare(r role) *share {
	s := &share{hears: pushed, worth: e.kind.worth}
	rule := e.meaning.to(r)
	if rule == nil {
		return s
	}
	s.counter, s.worth = rule.counter, cmp.Or(rule.worth, s.worth)
	if e.bare != nil || e.message == "" || rule.hears == muted {
		s.hears = rule.hears
	}
	if e.bare == nil && e.details.actions.Kind() == '[' {
		s.category = category(e.details.actions)
	} else {
		s.category = categories[strings.Join(rule.actions, "_")]
	}
	return s
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

// word returns the message of an event and, where the rules word it, the other
// languages'. There must be a rule then.
func (p *Parser) word(e *Event, r *rule) (message string, others []byte) {
	if e.message != "" {
		return e.message, nil
	}
	d := &e.details
	return p.say(r.text(), func(l text.Locale) text.Args {
		return text.Args{
			Buyer: p.name(l, d.buyer), Seller: p.name(l, d.seller),
			Amount: readAmount(d.amount), Product: d.product.name,
		}
	})
}

// name returns what a person is called.
func (p *Parser) name(l text.Locale, of person) string {
	for _, name := range []string{of.name, of.username} {
		if name != "" && jsonscan.Printable(name) {
			return name
		}
	}
	return p.texts.Text(l, "somebody", text.Args{})
}

// say returns a text in the preset language, and as a JSON object in all others.
func (p *Parser) say(id string, args func(l text.Locale) text.Args) (message string, others []byte) {
	for _, l := range text.Locales {
		s := p.texts.Text(l, id, args(l))
		if l == p.locale {
			message = s
			continue
		}
		sep := byte('{')
		if others != nil {
			sep = ','
		}
		others = append(others, sep)
		others = append(jsonscan.AppendString(others, string(l)), ':')
		others = jsonscan.AppendString(others, s)
	}
	return message, append(others, '}')
}
