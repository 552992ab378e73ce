package live

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

const maxRef = 128 // bytes

// A request is a frame from a client. Each op has its own members.
type request struct {
	Op  string         `json:"op"`
	Ref jsontext.Value `json:"ref"` // a string or a number, sent back as it is

	// send: what POST /v2/messages.json takes
	Message struct {
		Receiver jsontext.Value `json:"receiver_id"`
		Category jsontext.Value `json:"category"`
		Body     jsontext.Value `json:"body_bb"`
		ClientID jsontext.Value `json:"client_id"`
	} `json:"instant_message"`
	Product jsontext.Value `json:"product_id"`

	Conversation   string         `json:"conversation_id"` // read, typing, presence
	MessageID      string         `json:"message_id"`      // read, optional
	NotificationID string         `json:"notification_id"` // read, instead of the conversation's
	Seq            jsontext.Value `json:"seq"`             // seen
}

// number returns a number that is not negative, which clients may send as a string, too.
// ok is false for all other values.
func number(v jsontext.Value) (n int64, ok bool) {
	s, _ := jsonscan.Scalar(v) // "" is no number
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// validRef reports whether a request's ref is absent, or a string or a number of at most
// maxRef bytes.
func validRef(r *request) bool {
	_, ok := jsonscan.Scalar(r.Ref)
	return (ok || jsonscan.Absent(r.Ref)) && len(r.Ref) <= maxRef
}

// outgoing returns the message of a request. If fields are invalid, the error is an
// *event.InvalidError, and the message has the valid ones.
func (r *request) outgoing() (chat.OutgoingMessage, error) {
	f := chat.Form{
		Receiver: chat.JSONField(r.Message.Receiver),
		Category: chat.JSONField(r.Message.Category),
		Body:     chat.JSONField(r.Message.Body),
		ClientID: chat.JSONField(r.Message.ClientID),
		Product:  chat.JSONField(r.Product),
	}
	return f.Parse()
}
