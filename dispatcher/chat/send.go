package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Errors of Send that callers tell apart, beside *event.InvalidError, *LimitError and
// inbox.ErrConflict.
var (
	// ErrUnknownReceiver reports that a message is for a user whom Kabar does not know.
	ErrUnknownReceiver = errors.New("the receiver is not known")
	// ErrAdminsOnly reports that a message of a category other than 0 is for a user who
	// is not an administrator.
	ErrAdminsOnly = errors.New("this category is for administrators only")
)

// Send sends a message and returns its id. When the same message was sent before with the
// same ClientID, it returns the id of that one. Once it returns no error both users will
// have the message, even if the process dies. The error is *event.InvalidError,
// *LimitError, ErrUnknownReceiver, ErrAdminsOnly, inbox.ErrConflict, or Redis'; after an
// error of Redis sending again is safe with a ClientID.
func (c *Chat) Send(ctx context.Context, sender int64, m OutgoingMessage) (id string, err error) {
	if err := m.check(sender); err != nil {
		return "", err
	}
	if err := c.sends.take(sender, c.now()); err != nil {
		return "", err
	}
	message := inbox.Message{
		Conversation: model.ConversationID(sender, m.Receiver),
		Sender:       sender, Receiver: m.Receiver, Body: m.Body, Category: m.Category, Product: m.Product, ClientID: m.ClientID,
	}
	profiles, again, err := c.inbox.Outbound.Prepare(ctx, &message) // sets the message's id
	if err != nil {
		return "", err
	}
	receiver, known := profiles[m.Receiver]
	switch {
	case !known:
		return c.refuse(ctx, &message, again, ErrUnknownReceiver)
	case m.Category > 0 && !c.isAdmin(m.Receiver, receiver):
		return c.refuse(ctx, &message, again, ErrAdminsOnly)
	}
	out, before, err := c.storeFirst(ctx, &message, profiles)
	if errors.Is(err, inbox.ErrErased) && message.First() == m.Receiver {
		return "", ErrUnknownReceiver
	}
	if err != nil {
		return "", err
	}
	// The message is stored and has a hand-off, which repeats what fails from here on.
	if out != nil {
		err = c.deliver(ctx, out, before)
	} else { // sent before, by a request that may have died
		err = c.CatchUp(ctx, message.First(), message.Conversation)
	}
	if err != nil {
		c.log.Warn("a message is handed over later", "error", err)
	}
	c.outbox.Nudge(push.Chat)
	return message.ID, nil
}

// refuse returns reason, the error that refuses a message, and releases the message's
// ClientID. When the message repeats one that was sent while that was allowed, it returns
// the id of the earlier one instead.
func (c *Chat) refuse(ctx context.Context, m *inbox.Message, again bool, reason error) (id string, err error) {
	if !again {
		return "", cmp.Or(c.inbox.Outbound.ReleaseClientID(ctx, m), reason)
	}
	id, err = c.inbox.Outbound.StoredID(ctx, &inbox.OutboundMessage{Message: *m, Once: onceOf(m)})
	if err == nil && id == "" {
		err = reason
	}
	return id, err
}

// onceOf returns the idempotency key of a message.
func onceOf(m *inbox.Message) string {
	if m.ClientID != "" {
		return "client\x00" + m.ClientID
	}
	return "id\x00" + m.ID
}

// maxProposals is how many ids are proposed for a message: one, and another for each
// message that another process stores in the same conversation meanwhile.
const maxProposals = 20

// storeFirst stores a message in its first copy, under an id that follows the newest one,
// and sets m.ID to it. It returns the message for deliver, and the id of the one before
// it. When another request stored the message before, it returns nil, and m.ID is the id
// that it got then.
func (c *Chat) storeFirst(ctx context.Context, m *inbox.Message, profiles map[int64]inbox.Profile) (*inbox.OutboundMessage, string, error) {
	once := onceOf(m)
	var err error
	for range maxProposals {
		if m.CreatedAt, err = model.IDTime(m.ID); err != nil {
			return nil, "", err
		}
		var out *inbox.OutboundMessage
		if out, err = c.outbound(m, profiles); err != nil {
			return nil, "", err
		}
		out.Once = once
		var id, before string
		id, before, err = c.inbox.Outbound.StoreFirst(ctx, out)
		var order *inbox.OrderError
		switch {
		case errors.As(err, &order):
			m.ID = model.NewIDAfter(order.Newest, m.CreatedAt)
		case err != nil:
			return nil, "", err
		case id != m.ID:
			m.ID = id
			return nil, "", nil
		default:
			return out, before, nil
		}
	}
	return nil, "", err
}

// deliver stores a message in its second copy, after those that come before it, and
// removes the hand-off.
func (c *Chat) deliver(ctx context.Context, out *inbox.OutboundMessage, before string) error {
	err := c.inbox.Outbound.StoreSecond(ctx, out, before)
	if err == nil {
		return c.inbox.Outbound.ClearPending(ctx, out)
	}
	if order := new(inbox.OrderError); errors.As(err, &order) {
		return c.CatchUp(ctx, out.First(), out.Conversation)
	}
	return err
}

// maxCatchUp is how many pending messages are read together.
const maxCatchUp = 50

// CatchUp stores the messages that are pending for a conversation's second copy, in order.
// first is the user with the first copy, the lower id of the two.
func (c *Chat) CatchUp(ctx context.Context, first int64, conversation string) error {
	for {
		handoffs, err := c.inbox.Outbound.Pending(ctx, first, conversation, maxCatchUp)
		if err != nil {
			return err
		}
		for _, text := range handoffs {
			if err := c.deliverPending(ctx, text); err != nil {
				return err
			}
		}
		if len(handoffs) < maxCatchUp {
			return nil
		}
	}
}

// deliverPending stores the first pending message of a conversation in its second copy.
func (c *Chat) deliverPending(ctx context.Context, text string) error {
	h, err := parseHandoff(text)
	if err != nil || h.Message == nil {
		return fmt.Errorf("pending message: %w", cmp.Or(err, errNoHandoff))
	}
	profiles, err := c.inbox.Profiles.GetAll(ctx, h.Message.Sender, h.Message.Receiver)
	if err != nil {
		return err
	}
	out, err := c.outbound(h.Message, profiles)
	if err != nil {
		return err
	}
	out.Handoff = text
	if err := c.inbox.Outbound.StorePending(ctx, out); err != nil {
		return err
	}
	return c.inbox.Outbound.ClearPending(ctx, out)
}
