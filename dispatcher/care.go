package dispatcher

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed care.lua
var careSource string
var careScript = rdb.NewScript(careSource)

const (
	careEvery   = time.Second
	carePage    = 200           // users that are swept at a time
	careRound   = 6 * time.Hour // from the beginning of a walk over all users to that of the next
	erasureMost = 10            // of each partition, at a time
)

// A walk says how far the sweep over all users has come. It lies in Redis, so that
// another process goes on where one has stopped.
type walk struct {
	partition int
	after     int64 // the last user that was swept there
	next      int64 // when the next walk begins, ms
}

// String returns the walk as it lies in Redis.
func (w walk) String() string { return fmt.Sprintf("%d %d %d", w.partition, w.after, w.next) }

// takeCare sweeps what users have kept for too long, and goes on with erasures whose
// process died, until ctx ends. One process at a time does so.
func (d *Dispatcher) takeCare(ctx context.Context, b *rdb.Batcher) {
	for wait(ctx, careEvery) {
		if err := d.careOnce(ctx, b); err != nil && ctx.Err() == nil {
			d.Log.Warn("what users keep cannot be taken care of", "error", err)
		}
	}
}

// careOnce does what is due, up to one page of users. An erasure that fails does not
// keep it from the rest.
func (d *Dispatcher) careOnce(ctx context.Context, b *rdb.Batcher) error {
	held, w, now, err := d.holdCare(ctx, b, "")
	if err != nil || !held {
		return err
	}
	return errors.Join(d.finishErasures(ctx), d.sweepOnce(ctx, b, w, now))
}

// sweepOnce sweeps the next page of users, and notes that it has.
func (d *Dispatcher) sweepOnce(ctx context.Context, b *rdb.Batcher, w walk, now int64) error {
	if w.partition == d.Partitions.Len() { // the walk is over
		if now < w.next {
			return nil
		}
		w = walk{}
	}
	if w == (walk{}) {
		w.next = now + careRound.Milliseconds()
	}
	users, err := d.Inbox.Users.After(ctx, w.partition, w.after, carePage)
	if err != nil {
		return err
	}
	swept, err := d.Inbox.Sweeper.Sweep(ctx, users)
	d.metrics.swept.WithLabelValues("notification").Add(float64(swept.Notifications))
	d.metrics.swept.WithLabelValues("message").Add(float64(swept.Messages))
	d.metrics.swept.WithLabelValues("subject").Add(float64(swept.Subjects))
	if err != nil {
		return err
	}
	if len(users) < carePage {
		w.partition, w.after = w.partition+1, 0
	} else {
		w.after = users[len(users)-1]
	}
	_, _, _, err = d.holdCare(ctx, b, w.String())
	return err
}

// holdCare makes this process the one that takes care, unless another one does, and
// notes how far it has come.
func (d *Dispatcher) holdCare(ctx context.Context, b *rdb.Batcher, at string) (held bool, w walk, now int64, err error) {
	c := careScript.Command(ctx, []string{d.careKey()}, d.consumer, d.Lease.Milliseconds(), at)
	if err := b.Do(ctx, c); err != nil {
		return false, w, 0, fmt.Errorf("take care: %w", err)
	}
	reply, err := c.Slice()
	if err != nil || len(reply) != 3 {
		return false, w, 0, fmt.Errorf("take care: reply %v: %w", reply, err)
	}
	holds, _ := reply[0].(int64)
	text, _ := reply[1].(string)
	now, _ = reply[2].(int64)
	if text != "" {
		if _, err := fmt.Sscanf(text, "%d %d %d", &w.partition, &w.after, &w.next); err != nil {
			return false, w, 0, fmt.Errorf("take care: how far: %w", err)
		}
	}
	return holds == 1, w, now, nil
}
