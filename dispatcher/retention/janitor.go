package retention

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed janitor.lua
var leaseSource string
var leaseScript = rdb.NewScript(leaseSource)

const (
	stepEvery    = time.Second
	sweepPage    = 200 // users that are swept in a step
	sweepSlice   = 10  // users that are swept at a time: about a millisecond of Redis
	slicePause   = 40 * time.Millisecond
	sweepEvery   = 6 * time.Hour // from the beginning of one sweep over all users to that of the next
	maxErasures  = 10            // of each partition, at a time
	positionForm = "%d %d %d"
)

// A position says how far the sweep over all users has come. It is stored in Redis, so
// that another process continues where one has stopped.
type position struct {
	partition int
	after     int64 // the last user of the partition who was swept
	next      int64 // when the next sweep begins, ms
}

// String returns the position as it is stored.
func (p position) String() string { return fmt.Sprintf(positionForm, p.partition, p.after, p.next) }

// Run sweeps users' old data, and resumes erasures whose process died, until ctx ends. One
// process at a time does so.
func (j *Janitor) Run(ctx context.Context) {
	tick := time.NewTicker(stepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := j.step(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn("what users keep cannot be taken care of", "error", err)
		}
	}
}

// step does what is due, up to one page of users. An erasure that fails does not keep it
// from the rest.
func (j *Janitor) step(ctx context.Context) error {
	held, at, now, err := j.hold(ctx, "")
	if err != nil || !held {
		return err
	}
	return errors.Join(j.ResumeErasures(ctx), j.sweep(ctx, at, now))
}

// sweep sweeps the next page of users, and stores the new position.
func (j *Janitor) sweep(ctx context.Context, at position, now int64) error {
	if at.partition == j.partitions.Len() { // all users were swept
		if now < at.next {
			return nil
		}
		at = position{}
	}
	if at == (position{}) {
		at.next = now + sweepEvery.Milliseconds()
	}
	users, err := j.inbox.Users.After(ctx, at.partition, at.after, sweepPage)
	if err == nil {
		err = j.sweepPage(ctx, users, now)
	}
	if ctx.Err() != nil { // the next janitor starts with these users
		return err
	}
	// Errors are left to the next sweep: a shard that is away, a key that cannot be read or a
	// failing bucket must not delay the other users.
	if len(users) < sweepPage {
		at.partition, at.after = at.partition+1, 0
	} else {
		at.after = users[len(users)-1]
	}
	_, _, _, holdErr := j.hold(ctx, at.String())
	return errors.Join(err, holdErr)
}

// sweepPage sweeps a page of users in slices, with pauses between them: what is urgent waits
// for a slice at most.
func (j *Janitor) sweepPage(ctx context.Context, users []int64, now int64) error {
	var errs []error
	for slice := range slices.Chunk(users, sweepSlice) {
		if errs != nil && !rdb.Sleep(ctx, slicePause) {
			break
		}
		errs = append(errs, j.sweepUsers(ctx, slice), j.expireFiles(ctx, slice, now), j.forgetStale(ctx, slice, now))
	}
	return errors.Join(errs...)
}

// sweepUsers drops data of users that is too old.
func (j *Janitor) sweepUsers(ctx context.Context, users []int64) error {
	swept, err := j.inbox.Sweeper.Sweep(ctx, users)
	j.swept.WithLabelValues("notification").Add(float64(swept.Notifications))
	j.swept.WithLabelValues("message").Add(float64(swept.Messages))
	j.swept.WithLabelValues("subject").Add(float64(swept.Subjects))
	return err
}

// expireFiles deletes the files of users that are older than messages may be.
func (j *Janitor) expireFiles(ctx context.Context, users []int64, now int64) error {
	keep := j.inbox.Options().KeepMessages
	if j.files == nil || keep == 0 || len(users) == 0 {
		return nil
	}
	deleted, err := j.files.Expire(ctx, users, time.UnixMilli(now).Add(-keep))
	j.swept.WithLabelValues("attachment").Add(float64(deleted))
	return err
}

// hold takes or renews the lease, unless another process holds it, and returns the stored
// position and Redis' time in milliseconds. With a position it stores that.
func (j *Janitor) hold(ctx context.Context, store string) (held bool, at position, now int64, err error) {
	c, err := j.inbox.Options().Batcher.Run(ctx, leaseScript, []string{j.leaseKey()}, j.consumer, j.lease.Milliseconds(), store)
	if err != nil {
		return false, at, 0, fmt.Errorf("take the janitor's lease: %w", err)
	}
	reply, err := c.Values(3)
	if err != nil {
		return false, at, 0, fmt.Errorf("take the janitor's lease: %w", err)
	}
	holds, _ := reply[0].(int64)
	stored, _ := reply[1].(string)
	now, _ = reply[2].(int64)
	if stored != "" {
		if _, err := fmt.Sscanf(stored, positionForm, &at.partition, &at.after, &at.next); err != nil {
			return false, at, 0, fmt.Errorf("take care: how far: %w", err)
		}
	}
	return holds == 1, at, now, nil
}
