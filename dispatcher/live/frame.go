package live

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Kinds of published frames, in addition to those of package inbox. They are not
// logged.
const (
	kindTyping   = "typing"   // its body holds the members after op
	kindPresence = "presence" // likewise
	kindRevoked  = "revoked"  // closes the user's sockets; its seq is the time of the revocation, Unix µs
)

// hello returns the first frame of a socket.
func (h *Hub) hello(seq int64, u model.Unreads) []byte {
	return fmt.Appendf(nil, `{"op":"hello","seq":%d,"unreads":%s,"ping_interval":%d,"max_frame":%d}`,
		seq, content.UnreadsJSON(u), int(h.PingInterval.Seconds()), h.MaxFrame)
}

func unreadsFrame(u model.Unreads) []byte {
	return fmt.Appendf(nil, `{"op":"unreads","unreads":%s}`, content.UnreadsJSON(u))
}

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

const maxRef = 128 // bytes

// number returns a number that is not negative, which clients may send as a string, too.
// ok is false for all other values.
func number(v jsontext.Value) (n int64, ok bool) {
	s, _ := jsonscan.Scalar(v) // "" is no number
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}
