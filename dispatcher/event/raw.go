package event

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// A rawResource is a resource that a service may send in place of an event: a transaction,
// an offer, a product that was reported, a mutation or a withdrawal, in the form that the
// marketplace's v2 API documents show. The rule table derives receivers, text, actions and
// counters from it.
type rawResource struct {
	eventType string // type of the event made of it
	resource  string // its name in the rule table
	path      string // prefix of field names in errors: "transaction.", or "" at the top level
	object    jsontext.Value
}

// A wrapper is an event member that may hold a raw resource.
type wrapper struct {
	key, eventType, resource string
	value                    jsontext.Value
}

// unwrap returns the raw resource that was sent in place of an event, or nil, and
// rewrites w as the event derived from it.
func (w *wireEvent) unwrap(v *Validator) *rawResource {
	given, _ := jsonscan.Scalar(w.eventType)
	b := w.unwrapTopLevel(given)
	w.inherit() // after unwrapTopLevel, which drops members that belong to the resource
	for _, k := range []wrapper{
		{"transaction", "transaction", "transaction", w.transaction},
		{"negotiation", "nego", "nego", w.negotiation},
		{"product", "report", "report", w.product},
		{"mutation", "dompet", "mutation", w.mutation},
		{"withdrawal", "dompet", "withdrawal", w.withdrawal},
	} {
		if b != nil || jsonscan.Absent(k.value) || !jsonscan.Absent(w.eventType) && (given != k.eventType || !jsonscan.Absent(w.details)) {
			continue
		}
		b = &rawResource{eventType: k.eventType, resource: k.resource, path: k.key + ".", object: soleElement(k.value)}
		if b.object.Kind() != '{' {
			v.Wrong(k.key, jsonscan.ErrNotObject.Error())
			b.object = jsontext.Value("{}")
		}
	}
	if b != nil {
		w.eventType, w.details = jsonscan.AppendString(nil, b.eventType), b.object
	}
	return b
}

// unwrapTopLevel returns a mutation or withdrawal sent without a wrapper, with its
// receiver among its own members, or nil.
func (w *wireEvent) unwrapTopLevel(eventType string) *rawResource {
	switch {
	case eventType == "Deposit::Credit" || eventType == "Deposit::Debit":
		w.dropOwn()
		return &rawResource{eventType: "dompet", resource: "mutation", object: w.whole}
	case jsonscan.Absent(w.eventType) && !jsonscan.Absent(w.account) && !jsonscan.Absent(w.state):
		w.dropOwn()
		return &rawResource{eventType: "dompet", resource: "withdrawal", object: w.whole}
	}
	return nil
}

// dropOwn forgets the members of a resource at the top level: they are not an event's.
func (w *wireEvent) dropOwn() {
	w.id, w.time, w.message, w.title, w.options, w.unknown = nil, nil, nil, nil, nil, nil
	w.image, w.link, w.sound = nil, nil, nil
}

// soleElement returns the element of a one-element array, the form in which the v2 API
// documents show an accepted offer, and any other value unchanged.
func soleElement(v jsontext.Value) jsontext.Value {
	if v.Kind() != '[' {
		return v
	}
	var all []jsontext.Value
	jsonscan.EachElement(v, func(v jsontext.Value) { all = append(all, v) })
	if len(all) != 1 {
		return v
	}
	return all[0]
}

// readRaw reads and validates the members of the resource that the rules need.
func (e *Event) readRaw(v *Validator, now time.Time) {
	d, b := &e.details, e.raw
	d.readResource(b.object)
	state, field := d.state, b.path+"state"
	switch b.resource {
	case "report":
		d.product = readProduct(b.object)
		state = "reported"
		if d.product.name == "" {
			v.Wrong(b.path+"name", "is required")
		}
	case "mutation":
		state, field = d.action, b.path+"action"
	}
	if b.eventType == "dompet" && readAmount(d.amount) == "" {
		v.Wrong(b.path+"amount", "must be an amount of money, such as 25000")
	}
	if d.id == "" || len(d.id) > maxResourceID || strings.ContainsFunc(d.id, isHidden) {
		v.Wrong(b.path+"id", fmt.Sprintf("must be a string or number of 1 to %d bytes, printable, without spaces", maxResourceID))
	}
	if e.state = rulesByState[b.resource][state]; state == "" {
		v.Wrong(field, "is required")
	} else if e.state == nil {
		v.Wrong(field, "is not a known "+field[len(b.path):])
	}
	for _, at := range []struct {
		name  string
		value jsontext.Value
	}{{"updated_at", d.updatedAt}, {"created_at", d.createdAt}} {
		if e.time.IsZero() && !jsonscan.Absent(at.value) {
			e.time = v.eventTime(b.path+at.name, at.value, now)
		}
	}
}

func isHidden(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }

// rawReceivers returns the users whom the rules notify of the resource. A given list of
// receivers narrows them.
func (e *Event) rawReceivers(v *Validator, one, list jsontext.Value) []int64 {
	b, d := e.raw, &e.details
	given := func() []int64 {
		if jsonscan.Absent(one) && jsonscan.Absent(list) {
			return nil
		}
		return v.receivers(one, list)
	}
	var all []int64
	switch b.resource {
	case "mutation", "withdrawal": // the resource does not name its user
		return v.receivers(one, list)
	case "report":
		if user, ok := v.User(b.path+"seller_id", d.product.seller); ok {
			all = []int64{user}
		}
	default:
		for name, p := range map[string]person{"seller": d.seller, "buyer": d.buyer} {
			if p.id == 0 {
				v.Wrong(b.path+name+".id", "must be a user id: a positive whole number without leading zeros")
			}
		}
		if all = []int64{d.seller.id, d.buyer.id}; all[0] == all[1] {
			v.Wrong(b.path+"buyer.id", "must not be the seller's")
		}
	}
	only := given()
	if only == nil {
		return all
	}
	for _, user := range only {
		if !slices.Contains(all, user) {
			v.Wrong("receiver_id", "is nobody whom this concerns")
		}
	}
	return only
}

// derivedID returns the id of an event that was sent without one. A repeat gets the same
// id. For a report only the event's own time counts, because the times of the product are
// the same in all of its reports.
func (e *Event) derivedID() string {
	id := e.raw.resource + "-" + e.details.id
	switch e.raw.resource {
	case "report":
	case "mutation":
		id += "-" + e.details.action
	default:
		id += "-" + e.details.state
	}
	if !e.time.IsZero() {
		id += "-" + strconv.FormatInt(e.time.UnixMilli(), 10)
	}
	return id
}

// details returns the details in the form of the documented sample, with the actions of
// one receiver. Those of a mutation also name the transaction that moved the money, if the
// mutation does.
func (b *rawResource) details(d *details, actions []string) []byte {
	out := make([]byte, 0, len(b.object)+128)
	out = append(out, '{')
	quoted := func(s string) { out = jsonscan.AppendString(out, s) }
	switch b.resource {
	case "nego":
		out = b.appendMembers(out, actions)
	case "transaction":
		out = append(append(out, `"id":`...), b.member("id")...)
		out = append(b.appendMembers(append(out, `,"transaction":{`...), actions), '}')
	case "report":
		out = append(out, `"product":`...)
		out = jsonscan.AppendCompact(out, b.object)
	default: // the sample has the id as a string
		out = append(out, `"id":`...)
		quoted(d.id)
		out = append(append(out, `,"amount":`...), b.member("amount")...)
		if b.resource == "mutation" {
			out = append(out, `,"action":`...)
			quoted(d.action)
			for _, link := range []string{"transaction_id", "transaction_no"} {
				v := b.member(link)
				if _, given := jsonscan.Scalar(v); given {
					out = append(append(out, `,"`+link+`":`...), v...)
				}
			}
		} else {
			out = append(out, `,"state":`...)
			quoted(d.state)
		}
	}
	return append(out, '}')
}

// member returns a member of the resource, or nothing when there is none.
func (b *rawResource) member(name string) (v jsontext.Value) {
	_ = jsonscan.EachMember(b.object, func(m jsonscan.Member) { // it is an object
		if string(m.Name()) == name {
			v = m.Value
		}
	})
	return v
}

// appendMembers appends the resource's members. The actions of one receiver replace the
// resource's "actions", or come last.
func (b *rawResource) appendMembers(out []byte, actions []string) []byte {
	written := false
	put := func() {
		out = append(out, `"actions":[`...)
		for i, action := range actions {
			if i > 0 {
				out = append(out, ',')
			}
			out = jsonscan.AppendString(out, action)
		}
		out = append(out, "],"...)
		written = true
	}
	_ = jsonscan.EachMember(b.object, func(m jsonscan.Member) { // it is an object
		switch string(m.Name()) {
		case "unread_items":
			return
		case "actions":
			put()
			return
		}
		out = append(append(out, m.Key...), ':')
		out = append(jsonscan.AppendCompact(out, m.Value), ',')
	})
	if !written {
		put()
	}
	return out[:len(out)-1] // the comma
}
