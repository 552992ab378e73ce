package live

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// FuzzFrame reads frames of clients. The answer to one must be JSON, with the frame's ref
// in it.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		`{"op":"send","ref":"a","instant_message":{"receiver_id":"66","category":1,"body_bb":"[b]x[/b]","client_id":"c"},"product_id":"p"}`,
		`{"op":"read","ref":1,"conversation_id":"56be34","message_id":"56be34322"}`,
		`{"op":"seen","seq":"9007199254740993"}`,
		`{"op":"typing","ref":{},"conversation_id":null}`,
		`{"op":1}`, `{"op":"seen","op":"seen"}`, `[]`, `{"ref":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	texts := text.Default()
	f.Fuzz(func(t *testing.T, frame []byte) {
		var r request
		if json.Unmarshal(frame, &r) != nil || !validRef(&r) {
			return
		}
		if n, ok := number(r.Seq); ok && n < 0 {
			t.Errorf("%s is %d", r.Seq, n)
		}
		if m, err := r.outgoing(); err == nil && (m.Receiver <= 0 || m.Body == "") {
			t.Errorf("%s is the message %+v", frame, m)
		}
		if answer := failure("malformed", textMalformed).encode(r.Ref, texts, text.English); !jsontext.Value(answer).IsValid() {
			t.Errorf("%s is answered with %s", frame, answer)
		}
	})
}
