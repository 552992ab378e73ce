package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/inbox"
)

// A handoff is what the script in one user's partition leaves to be done in
// their partner's: one of these.
type handoff struct {
	Message *inbox.Message     `json:"m,omitzero"` // pending for the second copy
	Pending *pending           `json:"p,omitzero"` // points to such messages
	Reading *inbox.ReadReceipt `json:"r,omitzero"`
}

// pending names a conversation by its first copy.
type pending struct {
	First        int64  `json:"u"`
	Conversation string `json:"c"`
}

var errNoHandoff = errors.New("neither a message nor a reading")

// String returns the hand-off as it lies in Redis.
func (h handoff) String() string {
	b, err := json.Marshal(h)
	if err != nil {
		panic(fmt.Sprintf("marshal hand-off: %v", err)) // plain strings and numbers always marshal
	}
	return string(b)
}

const (
	handoffEvery = time.Second
	handoffAgain = time.Minute // after a failure, so that others are not held up
	handoffMost  = 100         // of each partition, at a time
)

// handOver carries out what requests that died have left, until ctx ends.
func (d *Dispatcher) handOver(ctx context.Context) {
	for wait(ctx, handoffEvery) {
		due, err := d.Inbox.Handoffs.Due(ctx, handoffMost)
		if err != nil && ctx.Err() == nil {
			d.Log.Warn("hand-offs cannot be read", "error", err)
		}
		for _, h := range due {
			err := d.carryOut(ctx, h.Text)
			if err == nil || ctx.Err() != nil {
				continue
			}
			err = errors.Join(err, d.Inbox.Handoffs.Postpone(ctx, h, handoffAgain))
			d.Log.Error("a hand-off cannot be carried out", "error", err)
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
	case h.Pending != nil:
		if err := d.catchUp(ctx, h.Pending.First, h.Pending.Conversation); err != nil {
			return err
		}
		return d.Inbox.Outbound.ClearPointer(ctx, h.Pending.First, h.Pending.Conversation, text)
	}
	return fmt.Errorf("hand-off: %w", errNoHandoff)
}
