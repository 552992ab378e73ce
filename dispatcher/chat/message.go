package chat

import (
	"fmt"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	// MaxMessage is how many characters of BBCode a message may have.
	MaxMessage   = 4000
	maxCategory  = 6
	maxClientID  = 128 // characters
	maxProductID = 64  // characters
)

// An OutgoingMessage is a message that a user wants to send.
type OutgoingMessage struct {
	Receiver int64
	Category int    // 0 normal, 1 to 6 for administrators
	Body     string // BBCode
	ClientID string // makes sending idempotent; or ""
	Product  string // id of the product that it asks about; or ""
}

// check returns an *event.InvalidError when the message cannot be sent by anybody, or
// not by this sender.
func (m *OutgoingMessage) check(sender int64) error {
	v := &event.Validator{}
	switch n := utf8.RuneCountInString(m.Body); {
	case n <= MaxMessage && !model.Visible(m.Body):
		v.Wrong("body_bb", "is required")
	case n > MaxMessage:
		v.Wrong("body_bb", fmt.Sprintf("must have at most %d characters", MaxMessage))
	case !event.Printable(m.Body):
		v.Wrong("body_bb", "must not contain control characters")
	}
	if m.Category < 0 || m.Category > maxCategory {
		v.Wrong("category", fmt.Sprintf("must be a number from 0 to %d", maxCategory))
	}
	if m.Receiver == sender {
		v.Wrong("receiver_id", "must be somebody else")
	}
	for _, f := range []struct {
		name, value string
		maxLen      int
	}{{"client_id", m.ClientID, maxClientID}, {"product_id", m.Product, maxProductID}} {
		if utf8.RuneCountInString(f.value) > f.maxLen || !event.Printable(f.value) {
			v.Wrong(f.name, fmt.Sprintf("must have at most %d characters, none of them control characters", f.maxLen))
		}
	}
	return v.Err()
}
