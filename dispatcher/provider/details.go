package provider

import (
	"encoding/json"
	"strings"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// maxName bounds a value that is kept as a name or an id, in bytes of JSON. A longer one
// does not identify anything.
const maxName = 256

// A reduction says which members of the details stay.
type reduction struct {
	keepScalar  func(jsonscan.Member) bool // for the details' own scalars
	keepNested  bool                       // keep the identifying members of nested objects
	keepUnreads bool                       // keep unread_items
}

// reductions are tried in this order. Each drops more than the one before.
var reductions = []reduction{
	{keepScalar: func(jsonscan.Member) bool { return true }, keepNested: true, keepUnreads: true},
	{keepScalar: identifies, keepNested: true, keepUnreads: true},
	{keepScalar: isIDOrState, keepUnreads: true},
	{keepScalar: func(m jsonscan.Member) bool { return string(m.Name()) == "id" && identifies(m) }},
}

// truncated marks details that were reduced.
var truncated = jsonscan.Member{Key: []byte(`"truncated"`), Value: []byte("true")}

// apply returns the reduced details, marked as truncated.
func (r reduction) apply(details []jsonscan.Member) json.RawMessage {
	var kept []jsonscan.Member
	for _, m := range details {
		switch name := string(m.Name()); {
		case name == "truncated":
		case name == "unread_items":
			if r.keepUnreads {
				kept = append(kept, m)
			}
		case isScalar(m):
			if r.keepScalar(m) {
				kept = append(kept, m)
			}
		case r.keepNested:
			kept = appendNested(kept, m)
		}
	}
	return encode(append(kept, truncated))
}

// appendNested appends a nested object reduced to its identifying members, or nothing if
// it has none. Arrays are dropped.
func appendNested(to []jsonscan.Member, m jsonscan.Member) []jsonscan.Member {
	object, err := membersOf(m.Value)
	if err != nil {
		return to
	}
	var kept []jsonscan.Member
	for _, inner := range object {
		if isScalar(inner) {
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
	return append(to, jsonscan.Member{Key: m.Key, Value: []byte(encode(kept))})
}

// identifying are the names of the scalars, other than ids, by which a reader recognises
// an object.
var identifying = map[string]bool{
	"state": true, "type": true, "name": true, "username": true, "updated_at": true,
	"amount": true, "total_amount": true, "price": true, "nego_price": true, "quantity": true,
}

// identifies reports whether a scalar identifies its object.
func identifies(m jsonscan.Member) bool {
	return len(m.Value) <= maxName && (isID(m) || identifying[string(m.Name())])
}

func isIDOrState(m jsonscan.Member) bool {
	return len(m.Value) <= maxName && (isID(m) || string(m.Name()) == "state")
}

func isID(m jsonscan.Member) bool {
	name := string(m.Name())
	return name == "id" || strings.HasSuffix(name, "_id")
}

// isScalar reports whether the value is neither an object nor an array.
func isScalar(m jsonscan.Member) bool {
	kind := m.Value.Kind()
	return kind != '{' && kind != '['
}

// membersOf returns the members of an object in their order, or [jsonscan.ErrNotObject].
// The value must be valid JSON.
func membersOf(value []byte) ([]jsonscan.Member, error) {
	var members []jsonscan.Member
	err := jsonscan.EachMember(value, func(m jsonscan.Member) { members = append(members, m) })
	return members, err
}

// encode is the inverse of membersOf.
func encode(members []jsonscan.Member) json.RawMessage {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, m.Key...)
		b = append(b, ':')
		b = append(b, m.Value...)
	}
	return append(b, '}')
}
