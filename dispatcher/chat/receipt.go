package chat

import (
	"context"
	"errors"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/inbox"
)

// ReadConversation marks the messages that a user received in a conversation as read, up to
// the message upTo or, when that is "", all of them, and tells the partner. The error is
// inbox.ErrNotFound when the user has no such conversation.
func (c *Chat) ReadConversation(ctx context.Context, user int64, conversation, upTo string) error {
	newest, err := c.inbox.Conversations.NewestUnread(ctx, user, conversation)
	if err != nil || newest == "" {
		return err // nothing is unread
	}
	if upTo == "" || upTo > newest {
		upTo = newest
	}
	_, err = c.markRead(ctx, inbox.ReadReceipt{User: user, Conversation: conversation, UpTo: upTo})
	return err
}

// ReadMessage marks one message as read when the user is its receiver, in m too, and tells
// the sender.
func (c *Chat) ReadMessage(ctx context.Context, user int64, m *inbox.Message) error {
	if m.Receiver != user {
		return nil
	}
	at, err := c.markRead(ctx, inbox.ReadReceipt{User: user, Conversation: m.Conversation, Message: m.ID})
	if err != nil {
		return err
	}
	m.Read = true
	if !at.IsZero() {
		m.ReadAt = at
	}
	return nil
}

// markRead marks messages as read, which leaves a hand-off, and delivers the receipt. It
// returns when they were read; the zero time when all had been read before.
func (c *Chat) markRead(ctx context.Context, receipt inbox.ReadReceipt) (at time.Time, err error) {
	partner, err := c.inbox.Conversations.Partner(ctx, receipt.User, receipt.Conversation)
	if err != nil {
		return at, err
	}
	receipt.Partner, receipt.At = partner, c.now().Truncate(time.Second)
	receipt.Handoff = handoff{Receipt: &receipt}.String()
	n, err := c.inbox.Conversations.MarkRead(ctx, receipt)
	if err != nil || n == 0 {
		return at, err
	}
	if err := c.deliverReceipt(ctx, &receipt); err != nil {
		c.log.Warn("a read receipt is handed over later", "error", err)
	}
	return receipt.At, nil
}

// deliverReceipt applies a receipt to the sender's copy, and removes the hand-off. If the
// sender's copy lacks the message, it is stored there first.
func (c *Chat) deliverReceipt(ctx context.Context, receipt *inbox.ReadReceipt) error {
	frame := receiptFrame(receipt)
	err := c.inbox.Conversations.ApplyReceipt(ctx, receipt.Partner, *receipt, frame, false)
	if errors.Is(err, inbox.ErrPending) {
		if err = c.CatchUp(ctx, min(receipt.User, receipt.Partner), receipt.Conversation); err == nil {
			err = c.inbox.Conversations.ApplyReceipt(ctx, receipt.Partner, *receipt, frame, true)
		}
	}
	if err != nil {
		return err
	}
	return c.inbox.Handoffs.Clear(ctx, receipt.User, receipt.Handoff)
}

// receiptFrame returns the members of the live frame that tells a sender what was read.
func receiptFrame(receipt *inbox.ReadReceipt) []byte {
	upTo := receipt.UpTo
	if receipt.Message != "" {
		upTo = receipt.Message
	}
	return content.ReadMembers(receipt.Conversation, receipt.User, upTo)
}
