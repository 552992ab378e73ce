package redischeck

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// MaxOffset is the largest permitted difference between the clocks of this machine and of
// Redis.
const MaxOffset = time.Second

// clock returns how far a master's clock is ahead of this machine's. The round trip makes
// the result uncertain: clock returns the smallest offset that fits.
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
	return 0, nil // the offset is smaller than the round trip
}

// Clock returns the largest offset between a master's clock and this machine's.
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
