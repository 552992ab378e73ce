package chat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A handoff is a change that a script in one user's partition leaves to be made in the
// partner's. It has one member.
type handoff struct {
	Message *inbox.Message     `json:"m,omitzero"` // pending for the second copy
	Pending *pending           `json:"p,omitzero"` // points to such messages
	Receipt *inbox.ReadReceipt `json:"r,omitzero"`
}

// pending names a conversation by its first copy.
type pending struct {
	First        int64  `json:"u"`
	Conversation string `json:"c"`
}

var errNoHandoff = errors.New("neither a message nor a reading")

// String returns the hand-off as it is stored.
func (h handoff) String() string {
	b, err := json.Marshal(h)
	if err != nil {
		panic(fmt.Sprintf("marshal hand-off: %v", err)) // plain strings and numbers always marshal
	}
	return string(b)
}

// parseHandoff reads what String wrote.
func parseHandoff(text string) (h handoff, err error) {
	err = json.Unmarshal([]byte(text), &h)
	return h, err
}

// Concerns reports whether a stored hand-off is from or to a user. One that cannot be
// read concerns nobody.
func Concerns(text string, user int64) bool {
	h, err := parseHandoff(text)
	if err != nil {
		return false
	}
	return h.Pending != nil && h.Pending.First == user ||
		h.Receipt != nil && (h.Receipt.User == user || h.Receipt.Partner == user)
}

// ValidHandoff reports whether a partition's hand-off can be read and is a pointer to pending
// messages or a read receipt.
func ValidHandoff(text string) bool {
	h, err := parseHandoff(text)
	return err == nil && (h.Pending != nil || h.Receipt != nil)
}

const (
	handoffEvery = time.Second
	handoffRetry = time.Minute // after a failure, so that others are not held up
	maxHandoffs  = 100         // of each partition, at a time
)

// Run carries out the hand-offs of requests that died, until ctx ends.
func (c *Chat) Run(ctx context.Context) {
	for rdb.Sleep(ctx, handoffEvery) {
		due, err := c.inbox.Handoffs.Due(ctx, maxHandoffs)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("hand-offs cannot be read", "error", err)
		}
		for _, h := range due {
			err := c.carryOut(ctx, h.Text)
			if err == nil || ctx.Err() != nil {
				continue
			}
			err = errors.Join(err, c.inbox.Handoffs.Postpone(ctx, h, handoffRetry))
			c.log.Error("a hand-off cannot be carried out", "error", err)
		}
	}
}

// carryOut carries out a hand-off, and removes it.
func (c *Chat) carryOut(ctx context.Context, text string) error {
	h, err := parseHandoff(text)
	if err != nil {
		return fmt.Errorf("hand-off: %w", err)
	}
	switch {
	case h.Receipt != nil:
		h.Receipt.Handoff = text
		return c.deliverReceipt(ctx, h.Receipt)
	case h.Pending != nil:
		if err := c.CatchUp(ctx, h.Pending.First, h.Pending.Conversation); err != nil {
			return err
		}
		return c.inbox.Outbound.ClearPointer(ctx, h.Pending.First, h.Pending.Conversation, text)
	}
	return fmt.Errorf("hand-off: %w", errNoHandoff)
}
