package inbox

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Done takes a hand-off back that has been carried out. It is harmless to repeat.
func (s *Store) Done(ctx context.Context, user int64, handoff string) error {
	c := rdb.NewCommand(ctx, "zrem", s.handoffs(s.parts.OfUser(user)), handoff)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("clear hand-off: %w", err)
	}
	return nil
}

// A Handoff is one that is due.
type Handoff struct {
	Partition int
	Text      string // Sending.Pointer or Reading.Handoff
}

// PutOff has a hand-off that cannot be carried out make room for others for a while.
func (s *Store) PutOff(ctx context.Context, h Handoff, by time.Duration) error {
	at := s.Now().Add(by).UnixMilli()
	if err := s.Batcher.Do(ctx, rdb.NewCommand(ctx, "zadd", s.handoffs(h.Partition), "xx", at, h.Text)); err != nil {
		return fmt.Errorf("put hand-off off: %w", err)
	}
	return nil
}

// Handoffs returns hand-offs that are due, at most the given number of each
// partition, in one round trip. They stay until Done or Delivered: carrying one out
// twice is harmless.
func (s *Store) Handoffs(ctx context.Context, most int) ([]Handoff, error) {
	now := strconv.FormatInt(s.Now().UnixMilli(), 10)
	commands := make([]*rdb.Command, s.parts.Len())
	for p := range commands {
		commands[p] = rdb.NewCommand(ctx, "zrangebyscore", s.handoffs(p), "-inf", now, "limit", 0, most)
	}
	if err := s.Batcher.Do(ctx, commands...); err != nil {
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
