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

// Now returns the time by Redis' clock, as far as it is known: this machine's clock,
// corrected by the largest offset that Clock or the Monitor found last. So the times that
// gateways compute agree, although their clocks differ.
func (c *Checker) Now() time.Time { return c.now().Add(time.Duration(c.ahead.Load())) }

// Clock returns the largest offset between a master's clock and this machine's.
func (c *Checker) Clock(ctx context.Context) (time.Duration, error) {
	var mu sync.Mutex
	var largest time.Duration
	err := c.all(ctx, func(ctx context.Context, m master) error {
		offset, err := c.clock(ctx, m, c.now)
		mu.Lock()
		defer mu.Unlock()
		if offset.Abs() > largest.Abs() {
			largest = offset
		}
		return err
	})
	if err == nil {
		c.ahead.Store(int64(largest))
	}
	return largest, err
}
