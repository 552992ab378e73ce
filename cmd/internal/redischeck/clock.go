package redischeck

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// MaxOffset is by how much the clocks of this machine and of Redis may differ.
const MaxOffset = time.Second

// clock returns by how much a master's clock is ahead of this machine's, as far as that is
// certain: the time that the question took is taken off.
func (c *Checker) clock(ctx context.Context, m master, now func() time.Time) (time.Duration, error) {
	before := now()
	at, err := m.client.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("ask Redis for the time: %w", err)
	}
	after := now()
	switch {
	case at.Before(before):
		return at.Sub(before), nil
	case at.After(after):
		return at.Sub(after), nil
	}
	return 0, nil // Redis answered between the two
}

// Clock returns the largest offset of a master's clock from this machine's.
func (c *Checker) Clock(ctx context.Context) (time.Duration, error) {
	var mu sync.Mutex
	var largest time.Duration
	err := c.all(ctx, func(ctx context.Context, m master) error {
		offset, err := c.clock(ctx, m, time.Now)
		mu.Lock()
		defer mu.Unlock()
		if offset.Abs() > largest.Abs() {
			largest = offset
		}
		return err
	})
	return largest, err
}
