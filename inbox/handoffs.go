package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed due.lua
	dueSource string
	//go:embed postpone.lua
	postponeSource string

	dueScript      = script(dueSource)
	postponeScript = script(postponeSource)
)

// handoffDelay is how long the request that left a hand-off has to carry it out, before
// it becomes due for other processes.
const handoffDelay = 5 * time.Second

// Handoffs holds the changes of one user's copy of a conversation that the partner's copy
// still lacks: messages and read receipts. The request that stores a change carries the
// hand-off out itself. When it dies before that, the hand-off becomes due here.
type Handoffs struct{ *base }

// A Handoff is a hand-off that is due.
type Handoff struct {
	Partition int
	Text      string // OutboundMessage.Pointer or ReadReceipt.Handoff
}

// Due returns hand-offs that are due, at most limit of each partition, in one round trip.
// With an error it may also return hand-offs, from the partitions that answered. Hand-offs
// stay until Clear, Outbound.ClearPending or Outbound.ClearPointer: carrying one out twice
// is harmless.
func (h *Handoffs) Due(ctx context.Context, limit int) ([]Handoff, error) {
	commands := make([]*rdb.Command, h.parts.Len())
	for p := range commands {
		commands[p] = dueScript.Command(ctx, []string{h.handoffs(p)}, limit, h.testTime())
	}
	_ = h.batcher.Do(ctx, commands...) // each command holds its own error
	var due []Handoff
	var failed error
	for p, c := range commands {
		texts, err := c.StringSlice()
		if err != nil {
			failed = fmt.Errorf("read hand-offs: %w", err)
		}
		for _, text := range texts {
			due = append(due, Handoff{Partition: p, Text: text})
		}
	}
	return due, failed
}

// Postpone makes a hand-off due later, so that one that fails does not keep others
// waiting.
func (h *Handoffs) Postpone(ctx context.Context, handoff Handoff, delay time.Duration) error {
	_, err := h.batcher.Run(ctx, postponeScript, []string{h.handoffs(handoff.Partition)}, handoff.Text, delay.Milliseconds(), h.testTime())
	if err != nil {
		return fmt.Errorf("postpone hand-off: %w", err)
	}
	return nil
}

// Clear removes a hand-off that has been carried out. It may be repeated.
func (h *Handoffs) Clear(ctx context.Context, user int64, handoff string) error {
	c := rdb.NewCommand(ctx, "zrem", h.handoffs(h.parts.OfUser(user)), handoff)
	if err := h.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("clear hand-off: %w", err)
	}
	return nil
}

// Drop removes the hand-offs of a partition for which drop returns true.
func (h *Handoffs) Drop(ctx context.Context, partition int, drop func(handoff string) bool) error {
	return rdb.DropMembers(ctx, h.redis, h.handoffs(partition), drop)
}
