package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/bbcode"
)

// Errors of Send that callers tell apart, beside *InvalidError and
// inbox.ErrConflict.
var (
	// ErrUnknownReceiver: a message may only go to a user whom Kabar knows.
	ErrUnknownReceiver = errors.New("the receiver is not known")
	// ErrAdminsOnly: messages of other categories than 0 go to administrators.
	ErrAdminsOnly = errors.New("this category is for administrators only")
)

const (
	// MaxMessage is how many characters of BBCode a message may have.
	MaxMessage   = 4000
	maxCategory  = 6
	maxClientID  = 128 // characters
	maxProductID = 64  // characters
	maxPreview   = 400 // characters of a message that its push carries
)

// An OutgoingMessage is what a user wants to send.
type OutgoingMessage struct {
	Receiver int64
	Category int    // 0 normal, 1 to 6 for administrators
	Body     string // BBCode
	ClientID string // makes sending idempotent; or ""
	Product  string // id of the product that it asks about; or ""
}

func (m *OutgoingMessage) check(sender int64) error {
	c := &checker{}
	switch n := utf8.RuneCountInString(m.Body); {
	case n == 0 || strings.TrimSpace(m.Body) == "":
		c.wrong("body_bb", "is required")
	case n > MaxMessage:
		c.wrong("body_bb", fmt.Sprintf("must have at most %d characters", MaxMessage))
	case !jsonscan.Printable(m.Body):
		c.wrong("body_bb", "must not contain control characters")
	}
	if m.Category < 0 || m.Category > maxCategory {
		c.wrong("category", fmt.Sprintf("must be a number from 0 to %d", maxCategory))
	}
	if m.Receiver == sender {
		c.wrong("receiver_id", "must be somebody else")
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"client_id", m.ClientID, maxClientID}, {"product_id", m.Product, maxProductID}} {
		if utf8.RuneCountInString(f.value) > f.most || !jsonscan.Printable(f.value) {
			c.wrong(f.name, fmt.Sprintf("must have at most %d characters, none of them control characters", f.most))
		}
	}
	if len(c.fields) > 0 {
		return &InvalidError{Fields: c.fields}
	}
	return nil
}

func (d *Dispatcher) isAdmin(user int64, p inbox.Profile) bool {
	return p.Admin != nil && *p.Admin || slices.Contains(d.Admins, user)
}

// sending is what both copies of a message need.
func (d *Dispatcher) sending(m *inbox.Message, profiles map[int64]inbox.Profile) *inbox.OutboundMessage {
	from := profiles[m.Sender].DisplayName(m.Sender)
	e := &Event{Type: "message", kind: kinds["message"]}
	e.details.id, e.details.conversation = m.ID, m.Conversation
	entry := d.entry(e, e.newShare(stranger), inbox.MessageEvent(m.ID), m.Receiver, m.CreatedAt)
	entry.ID, entry.From = m.ID, from
	message, others := d.parser.say("message", func(text.Locale) text.Args { return text.Args{From: from} })
	body := body(e.Type, nil, message, others, messageDetails(m))
	partition := d.Partitions.OfUser(m.Receiver)
	return &inbox.OutboundMessage{
		Message: *m,
		Frame:   d.messageFrame(m, body, profiles),
		Handoff: handoff{Message: m}.String(),
		Pointer: handoff{Pending: &pending{m.First(), m.Conversation}}.String(),
		Push: &inbox.MessagePush{
			Stream:  d.outKey(partition, push.Chat),
			Line:    entry.line(),
			Body:    string(body),
			Subject: entry.Tag,
			Delayed: d.delayedKey(partition, push.Chat),
			Grace:   d.LiveGrace,
		},
	}
}

// messageDetails are the details of a message's push, as documented.
func messageDetails(m *inbox.Message) []byte {
	text := []rune(bbcode.Text(m.Body))
	if len(text) > maxPreview {
		text = append(text[:maxPreview], '…')
	}
	b := []byte(`{"id":`)
	b = jsonscan.AppendString(b, m.ID)
	b = append(b, `,"inbox_id":`...)
	b = jsonscan.AppendString(b, m.Conversation)
	b = fmt.Appendf(b, `,"sender_id":%d,"message":`, m.Sender)
	b = jsonscan.AppendString(b, string(text))
	b = append(b, ',')
	return append(b, noUnreadItems...)
}

// ReadConversation marks what a user received in a conversation as read, up to a
// message, or with "" all of it, and tells the partner. The error is
// inbox.ErrNotFound when the user has no such conversation.
func (d *Dispatcher) ReadConversation(ctx context.Context, user int64, conversation, upTo string) error {
	newest, err := d.Inbox.Conversations.NewestUnread(ctx, user, conversation)
	if err != nil || newest == "" {
		return err // nothing is unread
	}
	if upTo == "" || upTo > newest {
		upTo = newest
	}
	return d.markRead(ctx, inbox.ReadReceipt{User: user, Conversation: conversation, UpTo: upTo})
}

// ReadMessage marks one message as read by its receiver, and tells the sender.
func (d *Dispatcher) ReadMessage(ctx context.Context, user int64, m *inbox.Message) error {
	if m.Receiver != user {
		return nil
	}
	return d.markRead(ctx, inbox.ReadReceipt{User: user, Conversation: m.Conversation, Message: m.ID})
}

func (d *Dispatcher) markRead(ctx context.Context, r inbox.ReadReceipt) error {
	partner, err := d.Inbox.Conversations.Partner(ctx, r.User, r.Conversation)
	if err != nil {
		return err
	}
	r.Partner = partner
	r.Handoff = handoff{Reading: &r}.String()
	n, err := d.Inbox.Conversations.MarkRead(ctx, r)
	if err != nil || n == 0 {
		return err
	}
	if err := d.tell(ctx, &r); err != nil {
		d.Log.Warn("a read receipt is handed over later", "error", err)
	}
	return nil
}

// tell hands a read receipt to the sender of what was read.
func (d *Dispatcher) tell(ctx context.Context, r *inbox.ReadReceipt) error {
	err := d.Inbox.Conversations.ApplyReceipt(ctx, r.Partner, *r, readFrame(r), false)
	if errors.Is(err, inbox.ErrPending) {
		if err = d.catchUp(ctx, min(r.User, r.Partner), r.Conversation); err == nil {
			err = d.Inbox.Conversations.ApplyReceipt(ctx, r.Partner, *r, readFrame(r), true)
		}
	}
	if err != nil {
		return err
	}
	return d.Inbox.Handoffs.Clear(ctx, r.User, r.Handoff)
}

// collapsed is what the screen says of a run of messages in one conversation.
func (d *Dispatcher) collapsed(l text.Locale, message, from string, unread int) string {
	if unread < 2 {
		return message
	}
	if from == "" {
		from = d.Texts.Text(l, "somebody", text.Args{})
	}
	return d.Texts.Text(l, "messages", text.Args{Count: unread, From: from})
}
