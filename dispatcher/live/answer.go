package live

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// A textID is the id of a text. encode replaces it by the text in the socket's language.
type textID string

// Answers use the texts of the HTTP API.
const (
	textMalformed = "api.failure.malformed"
	textInvalid   = "api.failure.invalid"
	textTooMany   = "api.failure.rate_limited"
	textAway      = "api.failure.unavailable"
	textForbidden = "api.conversation.not_yours"
	textRead      = "api.notification.read"
	textNotRead   = "api.notification.not_read"
)

// An answer is an ack or an error. It has the same members as the response of the
// corresponding HTTP endpoint.
type answer struct {
	op      string
	members []member
	before  []byte // a frame that is sent before the answer; nil: none
}

type member struct {
	name  string
	value any // nil, bool, int, string, textID or map[string]string
}

func ack(members ...member) *answer {
	return &answer{op: "ack", members: append([]member{{"status", "OK"}}, members...)}
}

// failure returns an error. The given members precede message and code, as in the
// documented examples.
func failure(code, message string, members ...member) *answer {
	all := append([]member{{"status", "ERROR"}}, members...)
	return &answer{op: "error", members: append(all, member{"message", textID(message)}, member{"code", code})}
}

func invalid(message string, problems map[string]string, members ...member) *answer {
	return failure("invalid", message, append(members, member{"errors", problems})...)
}

// encode returns the frame, in a language. ref is that of the request.
func (a *answer) encode(ref jsontext.Value, texts *text.Catalogue, l text.Locale) []byte {
	b := append([]byte(`{"op":"`), a.op...)
	b = append(b, '"')
	if len(ref) > 0 {
		b = append(b, `,"ref":`...)
		b = append(b, ref...)
	}
	for _, m := range a.members {
		b = append(b, ',')
		b = strconv.AppendQuote(b, m.name)
		b = append(b, ':')
		if id, ok := m.value.(textID); ok {
			m.value = texts.Text(l, string(id), text.Args{})
		}
		value, err := json.Marshal(m.value, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			panic(fmt.Sprintf("marshal answer: %v", err)) // plain values always marshal
		}
		b = append(b, value...)
	}
	return append(b, '}')
}
