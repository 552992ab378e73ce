package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

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
	case !printable(m.Body):
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
		if utf8.RuneCountInString(f.value) > f.most || !printable(f.value) {
			c.wrong(f.name, fmt.Sprintf("must have at most %d characters, none of them control characters", f.most))
		}
	}
	if len(c.fields) > 0 {
		return &InvalidError{Fields: c.fields}
	}
	return nil
}

// A handoff is what the script in one user's partition leaves to be done in
// their partner's.
type handoff struct {
	Message *inbox.Message `json:"m,omitzero"`
	Reading *inbox.Reading `json:"r,omitzero"`
}

// String returns the hand-off as it lies in Redis.
func (h handoff) String() string {
	b, err := json.Marshal(h)
	if err != nil {
		panic(fmt.Sprintf("marshal hand-off: %v", err)) // plain strings and numbers always marshal
	}
	return string(b)
}

// Send sends a message and returns its id, which is the first one's when the same
// ClientID was sent before. Once it returns no error both will have the message,
// whatever dies. The error is ErrUnknownReceiver, ErrAdminsOnly, *InvalidError,
// inbox.ErrConflict, or Redis'; after the latter sending again is safe with a
// ClientID.
func (d *Dispatcher) Send(ctx context.Context, sender int64, m OutgoingMessage) (id string, err error) {
	if err := m.check(sender); err != nil {
		return "", err
	}
	profiles, err := d.Inbox.Profiles(ctx, sender, m.Receiver)
	if err != nil {
		return "", err
	}
	receiver, known := profiles[m.Receiver]
	if !known {
		return "", ErrUnknownReceiver
	}
	if m.Category > 0 && !d.isAdmin(m.Receiver, receiver) {
		return "", ErrAdminsOnly
	}
	message := inbox.Message{
		ID: inbox.NewID(d.Now()), Conversation: inbox.ConversationID(sender, m.Receiver),
		Sender: sender, Receiver: m.Receiver, Body: m.Body, Category: m.Category, Product: m.Product, ClientID: m.ClientID,
	}
	message.CreatedAt, _ = inbox.IDTime(message.ID)
	s := d.sending(&message, profiles)
	if id, err = d.Inbox.Send(ctx, s); err != nil {
		return id, err
	}
	if id != message.ID {
		return id, nil // sent before: its hand-off is under way or done
	}
	// The message is kept from here on: what fails now the hand-off repeats.
	if err := d.deliver(ctx, s); err != nil {
		d.Log.Warn("a message is handed over later", "error", err)
	}
	d.lanes[Chat].nudge()
	return id, nil
}

func (d *Dispatcher) isAdmin(user int64, p inbox.Profile) bool {
	return p.Admin != nil && *p.Admin || slices.Contains(d.Admins, user)
}

func (d *Dispatcher) deliver(ctx context.Context, s *inbox.Sending) error {
	if err := d.Inbox.Receive(ctx, s); err != nil {
		return err
	}
	return d.Inbox.Done(ctx, s.Sender, s.Handoff)
}

// sending is what both copies of a message need.
func (d *Dispatcher) sending(m *inbox.Message, profiles map[int64]inbox.Profile) *inbox.Sending {
	from := profiles[m.Sender].DisplayName(m.Sender)
	e := &Event{Type: "message", kind: kinds["message"]}
	e.details.id, e.details.conversation = m.ID, m.Conversation
	entry := d.entry(e, e.newShare(stranger), inbox.MessageEvent(m.ID), m.Receiver, m.CreatedAt)
	entry.ID, entry.From = m.ID, from
	message, others := d.parser.say("message", func(text.Locale) text.Args { return text.Args{From: from} })
	body := body(e.Type, nil, message, others, messageDetails(m))
	partition := d.Partitions.OfUser(m.Receiver)
	return &inbox.Sending{
		Message: *m,
		Frame:   d.messageFrame(m, body, profiles),
		Handoff: handoff{Message: m}.String(),
		Push: &inbox.MessagePush{
			Stream:  d.outKey(partition, Chat),
			Line:    entry.line(),
			Body:    string(body),
			Subject: entry.Tag,
			Delayed: d.delayedKey(partition, Chat),
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
	b = appendString(b, m.ID)
	b = append(b, `,"inbox_id":`...)
	b = appendString(b, m.Conversation)
	b = fmt.Appendf(b, `,"sender_id":%d,"message":`, m.Sender)
	b = appendString(b, string(text))
	b = append(b, ',')
	return append(b, noUnreadItems...)
}

// ReadConversation marks what a user received in a conversation as read, up to a
// message, or with "" all of it, and tells the partner. The error is
// inbox.ErrNotFound when the user has no such conversation.
func (d *Dispatcher) ReadConversation(ctx context.Context, user int64, conversation, upTo string) error {
	if upTo == "" {
		var err error
		if upTo, err = d.Inbox.NewestUnread(ctx, user, conversation); err != nil || upTo == "" {
			return err // nothing is unread
		}
	}
	return d.markRead(ctx, inbox.Reading{User: user, Conversation: conversation, UpTo: upTo})
}

// ReadMessage marks one message as read by its receiver, and tells the sender.
func (d *Dispatcher) ReadMessage(ctx context.Context, user int64, m *inbox.Message) error {
	if m.Receiver != user {
		return nil
	}
	return d.markRead(ctx, inbox.Reading{User: user, Conversation: m.Conversation, Message: m.ID})
}

func (d *Dispatcher) markRead(ctx context.Context, r inbox.Reading) error {
	partner, err := d.Inbox.Partner(ctx, r.User, r.Conversation)
	if err != nil {
		return err
	}
	r.Partner = partner
	r.Handoff = handoff{Reading: &r}.String()
	n, err := d.Inbox.ReadMessages(ctx, r)
	if err != nil || n == 0 {
		return err
	}
	if err := d.tell(ctx, &r); err != nil {
		d.Log.Warn("a read receipt is handed over later", "error", err)
	}
	return nil
}

// tell hands a read receipt to the sender of what was read.
func (d *Dispatcher) tell(ctx context.Context, r *inbox.Reading) error {
	if err := d.Inbox.Seen(ctx, r.Partner, *r, readFrame(r)); err != nil {
		return err
	}
	return d.Inbox.Done(ctx, r.User, r.Handoff)
}

const (
	handoffEvery = time.Second
	handoffMost  = 100 // of each partition, at a time
)

// handOver carries out what requests that died have left, until ctx ends.
func (d *Dispatcher) handOver(ctx context.Context) {
	for wait(ctx, handoffEvery) {
		due, err := d.Inbox.Handoffs(ctx, handoffMost)
		if err != nil && ctx.Err() == nil {
			d.Log.Warn("hand-offs cannot be read", "error", err)
		}
		for _, text := range due {
			if err := d.carryOut(ctx, text); err != nil && ctx.Err() == nil {
				d.Log.Error("a hand-off cannot be carried out", "error", err)
			}
		}
	}
}

func (d *Dispatcher) carryOut(ctx context.Context, text string) error {
	var h handoff
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return fmt.Errorf("hand-off: %w", err)
	}
	switch {
	case h.Reading != nil:
		h.Reading.Handoff = text
		return d.tell(ctx, h.Reading)
	case h.Message != nil:
		profiles, err := d.Inbox.Profiles(ctx, h.Message.Sender, h.Message.Receiver)
		if err != nil {
			return err
		}
		s := d.sending(h.Message, profiles)
		s.Handoff = text
		return d.deliver(ctx, s)
	}
	return errors.New("hand-off: neither a message nor a reading")
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
