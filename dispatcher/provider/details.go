package provider

import (
	"bytes"
	"encoding/json"
	"strings"
)

// A member is one name and value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// maxName bounds what is taken for a name or an id, in bytes of JSON. What is
// longer does not identify anything.
const maxName = 256

// A step is one way of cutting details down.
type step struct {
	scalars func(member) bool // which of the details' own scalars stay
	nested  bool              // whether what identifies nested objects stays
	unread  bool              // whether unread_items stays
}

// steps go from gentle to harsh.
var steps = []step{
	{scalars: func(member) bool { return true }, nested: true, unread: true},
	{scalars: identifies, nested: true, unread: true},
	{scalars: isIDOrState, unread: true},
	{scalars: func(m member) bool { return m.name == "id" && identifies(m) }},
}

// reduce returns the details that the step leaves, and marks them as cut.
func (s step) reduce(details []member) json.RawMessage {
	var kept []member
	for _, m := range details {
		switch {
		case m.name == "truncated":
		case m.name == "unread_items":
			if s.unread {
				kept = append(kept, m)
			}
		case m.isScalar():
			if s.scalars(m) {
				kept = append(kept, m)
			}
		case s.nested:
			kept = appendNested(kept, m)
		}
	}
	return encode(append(kept, member{"truncated", json.RawMessage("true")}))
}

// appendNested adds what identifies a nested object, if anything does. Arrays are
// never kept.
func appendNested(to []member, m member) []member {
	object, ok := parse(m.value)
	if !ok {
		return to
	}
	var kept []member
	for _, inner := range object {
		if inner.isScalar() {
			if identifies(inner) {
				kept = append(kept, inner)
			}
		} else {
			kept = appendNested(kept, inner)
		}
	}
	if kept == nil {
		return to
	}
	return append(to, member{m.name, encode(kept)})
}

// identifying are the names of scalars that say what an object is, beside ids.
var identifying = map[string]bool{
	"state": true, "type": true, "name": true, "username": true, "updated_at": true,
	"amount": true, "total_amount": true, "price": true, "nego_price": true, "quantity": true,
}

// identifies reports whether a scalar says what its object is.
func identifies(m member) bool {
	return len(m.value) <= maxName && (isID(m) || identifying[m.name])
}

func isIDOrState(m member) bool {
	return len(m.value) <= maxName && (isID(m) || m.name == "state")
}

func isID(m member) bool { return m.name == "id" || strings.HasSuffix(m.name, "_id") }

// isScalar reports whether the value is neither an object nor an array.
func (m member) isScalar() bool {
	v := bytes.TrimLeft(m.value, " \t\r\n")
	return len(v) > 0 && v[0] != '{' && v[0] != '['
}

// parse returns an object's members in their order, and false for what is not an
// object.
func parse(value json.RawMessage) ([]member, bool) {
	d := json.NewDecoder(bytes.NewReader(value))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var members []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, false
		}
		members = append(members, member{name.(string), v}) // a decoder returns names as strings
	}
	return members, true
}

// encode is the inverse of parse.
func encode(members []member) json.RawMessage {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, m.name)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}
