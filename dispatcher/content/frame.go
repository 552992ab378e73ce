package content

import (
	"bytes"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// EventFrame returns an event frame with its sequence number and the one before it.
// Members are the JSON of the members that follow: event, and for a message also
// instant_message.
func EventFrame(seq, prev int64, members []byte) []byte {
	frame := appendFrameHead(make([]byte, 0, frameRoom+len(members)), seq, prev)
	return append(append(frame, members...), '}')
}

// frameRoom is room for an event frame without the text and the details of its event.
const frameRoom = 512

// appendFrameHead appends an event frame up to its members.
func appendFrameHead(dst []byte, seq, prev int64) []byte {
	return fmt.Appendf(dst, `{"op":"event","seq":%d,"prev":%d,`, seq, prev)
}

// DeletedMembers are the members of a frame whose notification or message was deleted
// since it was logged. The frame keeps the chain of sequence numbers whole.
func DeletedMembers(id string) []byte {
	return fmt.Appendf(nil, `"event":{"type":"deleted","id":%q}`, id)
}

// Frame returns the frame of a notification in a language, or in the one of its message
// where it has no other. seq and prev are as in [EventFrame], unreads and zone as in
// [Notification.EventJSON].
func (n *Notification) Frame(seq, prev int64, l text.Locale, unreads *model.Unreads, zone *time.Location) ([]byte, error) {
	shown := *n
	shown.Body = n.Body.In(l)
	fields, err := shown.data(unreads, zone)
	if err != nil {
		return nil, err
	}
	frame := appendFrameHead(make([]byte, 0, frameRoom+len(n.Details)), seq, prev)
	frame = append(frame, `"event":`...)
	return append(appendObject(frame, fields), '}'), nil
}

// EventJSON returns the data of a notification's push as one object. The members for the
// receiver's unread counts are null without counts. Times are in the given zone. The error
// reports a malformed id.
func (n *Notification) EventJSON(unreads *model.Unreads, zone *time.Location) ([]byte, error) {
	fields, err := n.data(unreads, zone)
	if err != nil {
		return nil, err
	}
	return appendObject(nil, fields), nil
}

// MessageMembers are the members of a chat message's frame: the event as its push shows
// it, and the message as the conversation endpoint shows it, as JSON.
func MessageMembers(event, instantMessage []byte) []byte {
	return fmt.Appendf(nil, `"event":%s,"instant_message":%s`, event, instantMessage)
}

// FillMessageUnreads returns the members of a chat message's frame with the receiver's
// unread counts in place of the null that stands for them.
func FillMessageUnreads(members []byte, unreads *model.Unreads) []byte {
	// No text contains these bytes: JSON escapes the quotes in it.
	before, after, ok := bytes.Cut(members, []byte(noUnreadItems))
	if !ok {
		return members
	}
	filled := fillUnreadItems(members[:len(before)+len(noUnreadItems)], unreadItems("message", unreads))
	return append(filled, after...)
}

// FillAvatars returns the frame of a chat message with an address in place of each avatar that
// is not set.
func FillAvatars(frame []byte, url string) []byte {
	// No text contains these bytes: JSON escapes the quotes in it.
	const notSet = `_avatar":""`
	if url == "" || !bytes.Contains(frame, []byte(notSet)) {
		return frame
	}
	return bytes.ReplaceAll(frame, []byte(notSet), jsonscan.AppendString([]byte(`_avatar":`), url))
}

// ReadMembers are the members of the frame that tells a sender up to which message the
// partner has read.
func ReadMembers(conversation string, reader int64, upTo string) []byte {
	return fmt.Appendf(nil, `"conversation_id":%q,"user_id":"%d","message_id":%q`, conversation, reader, upTo)
}

// ReadFrame returns the frame of ReadMembers.
func ReadFrame(members []byte) []byte {
	return append(append([]byte(`{"op":"read",`), members...), '}')
}

// UnreadsJSON is a user's unread counts as unreads.json shows them.
func UnreadsJSON(u model.Unreads) []byte {
	return fmt.Appendf(nil, `{"messages":%d,"transactions_need_action_as_seller":%d,"transactions_as_buyer":%d,`+
		`"unread_notifications":%d,"transactions_need_action_as_buyer":%d,"cart_items":%d}`,
		u.Messages, u.SellerTransactions, u.TransactionNews, u.Notifications, u.BuyerTransactions, u.CartItems)
}

// MessageDetails are the details of a chat message's push, as documented. Preview is
// its text, without BBCode; product is the id of the product that it asks about, or "".
func MessageDetails(id, conversation string, sender int64, preview, product string) []byte {
	b := []byte(`{"id":`)
	b = jsonscan.AppendString(b, id)
	b = append(b, `,"inbox_id":`...)
	b = jsonscan.AppendString(b, conversation)
	b = fmt.Appendf(b, `,"sender_id":%d,"message":`, sender)
	b = jsonscan.AppendString(b, preview)
	if product != "" {
		b = append(b, `,"product_id":`...)
		b = jsonscan.AppendString(b, product)
	}
	return append(b, '}')
}

// MessageSender returns who sent the message of a stored body, or 0.
func MessageSender(stored []byte) (user int64) {
	b, err := ParseBody(stored)
	if err != nil {
		return 0
	}
	_ = jsonscan.EachMember(b.Details, func(m jsonscan.Member) { // no object: no sender
		if string(m.Name()) == "sender_id" {
			s, _ := jsonscan.Scalar(m.Value)
			user, _ = model.ParseUser(s)
		}
	})
	return user
}
