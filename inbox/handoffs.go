package inbox

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Handoffs holds what is still to be handed to a partner, messages and read receipts.
// A request hands over itself what it has stored; what is left when it dies becomes
// due here.
type Handoffs struct{ *base }

// Clear takes a hand-off back that has been carried out. It is harmless to repeat.
func (h *Handoffs) Clear(ctx context.Context, user int64, handoff string) error {
	c := rdb.NewCommand(ctx, "zrem", h.handoffs(h.parts.OfUser(user)), handoff)
	if err := h.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("clear hand-off: %w", err)
	}
	return nil
}

// A Handoff is one that is due.
type Handoff struct {
	Partition int
	Text      string // OutboundMessage.Pointer or ReadReceipt.Handoff
}

// Postpone has a hand-off that cannot be carried out make room for others for a while.
func (h *Handoffs) Postpone(ctx context.Context, handoff Handoff, by time.Duration) error {
	at := h.now().Add(by).UnixMilli()
	if err := h.batcher.Do(ctx, rdb.NewCommand(ctx, "zadd", h.handoffs(handoff.Partition), "xx", at, handoff.Text)); err != nil {
		return fmt.Errorf("put hand-off off: %w", err)
	}
	return nil
}

// Due returns hand-offs that are due, at most the given number of each
// partition, in one round trip. They stay until Done or Delivered: carrying one out
// twice is harmless.
func (h *Handoffs) Due(ctx context.Context, most int) ([]Handoff, error) {
	now := strconv.FormatInt(h.now().UnixMilli(), 10)
	commands := make([]*rdb.Command, h.parts.Len())
	for p := range commands {
		commands[p] = rdb.NewCommand(ctx, "zrangebyscore", h.handoffs(p), "-inf", now, "limit", 0, most)
	}
	if err := h.batcher.Do(ctx, commands...); err != nil {
		return nil, fmt.Errorf("read hand-offs: %w", err)
	}
	var due []Handoff
	for p, c := range commands {
		texts, err := c.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("read hand-offs: %w", err)
		}
		for _, text := range texts {
			due = append(due, Handoff{p, text})
		}
	}
	return due, nil
}

// Drop drops the hand-offs of a partition that which approves of.
func (h *Handoffs) Drop(ctx context.Context, partition int, which func(handoff string) bool) error {
	return rdb.DropMembers(ctx, h.redis, h.handoffs(partition), which)
}
