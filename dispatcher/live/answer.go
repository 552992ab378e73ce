package live

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The texts of answers that the documents have no text for are those of the HTTP
// interface.
const (
	textMalformed = "Permintaan tidak dapat dibaca"
	textInvalid   = "Permintaan tidak valid"
	textTooMany   = "Terlalu banyak percobaan, coba lagi nanti"
	textAway      = "Layanan sedang tidak tersedia, coba lagi nanti"
	textForbidden = "Gagal membaca message, hanya bisa membuka inbox milik masing-masing"
	textRead      = "Notifikasi ditandai sebagai terbaca"
	textNotRead   = "Notifikasi tersebut tidak dapat ditandai"
)

// An answer is an ack or an error, with the members of the HTTP endpoint that does
// the same.
type answer struct {
	op      string
	members []member
}

type member struct {
	name  string
	value any // nil, bool, int, string or map[string]string
}

func ack(members ...member) *answer {
	return &answer{op: "ack", members: append([]member{{"status", "OK"}}, members...)}
}

// failure is an error; its own members come first, as in the documents.
func failure(code, message string, members ...member) *answer {
	all := append([]member{{"status", "ERROR"}}, members...)
	return &answer{op: "error", members: append(all, member{"message", message}, member{"code", code})}
}

func invalid(message string, problems map[string]string, members ...member) *answer {
	return failure("invalid", message, append(members, member{"errors", problems})...)
}

// encode returns the frame that answers the request with a reference.
func (a *answer) encode(ref jsontext.Value) []byte {
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
		value, err := json.Marshal(m.value, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			panic(fmt.Sprintf("marshal answer: %v", err)) // plain values always marshal
		}
		b = append(b, value...)
	}
	return append(b, '}')
}
