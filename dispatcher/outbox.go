package dispatcher

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	readWait     = time.Second            // how long a blocking read waits for an entry
	pollEvery    = 200 * time.Millisecond // how often a cluster's streams are read without a nudge
	readMost     = 64                     // entries of one partition in one read
	claimMost    = 20                     // entries of one partition taken over at once
	dueMost      = 50                     // entries of one lane and partition returned by one script
	dueEvery     = 250 * time.Millisecond
	consumerGone = 10 * time.Minute    // an idle consumer is forgotten then
	deadFor      = 30 * 24 * time.Hour // how long dead letters are kept
)

var (
	//go:embed settle.lua
	settleSource string
	//go:embed due.lua
	dueSource string
	//go:embed renew.lua
	renewSource string
	//go:embed claim.lua
	claimSource string

	settleScript = rdb.NewScript(reportSource + settleSource)
	dueScript    = rdb.NewScript(dueSource)
	renewScript  = rdb.NewScript(renewSource)
	claimScript  = rdb.NewScript(claimSource)
)

// A message is an entry as it was read from the outbox.
type message struct {
	partition  int
	id         string
	deliveries int64 // how often it was given to a consumer, this time included
	value      string
}

// createGroups makes the streams of a lane and their consumer groups where they
// are missing. Groups start at 0: entries may have been written before.
func (d *Dispatcher) createGroups(ctx context.Context, l push.Lane) error {
	pipe := d.Redis.Pipeline()
	var replies []*redis.StatusCmd
	for p := range d.Partitions.Len() {
		replies = append(replies, pipe.XGroupCreateMkStream(ctx, d.outKey(p, l), group, "0"))
	}
	_, _ = pipe.Exec(ctx) // each reply holds its own error
	for _, r := range replies {
		if err := r.Err(); err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
			return fmt.Errorf("create consumer group: %w", err)
		}
	}
	return nil
}

// read waits for new entries of a lane, at most about most of them. It may return
// none.
func (d *Dispatcher) read(ctx context.Context, l push.Lane, most int) ([]message, error) {
	count := int64(min(max(1, most/d.Partitions.Len()), readMost))
	var streams []redis.XStream
	var err error
	if d.Cluster {
		streams, err = d.readShards(ctx, l, count)
	} else {
		streams, err = d.readAll(ctx, l, count)
	}
	if redis.HasErrorPrefix(err, "NOGROUP") { // Redis lost its data, or is new after a failover
		err = d.createGroups(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	partitions := make(map[string]int, d.Partitions.Len())
	for p := range d.Partitions.Len() {
		partitions[d.outKey(p, l)] = p
	}
	var messages []message
	for _, s := range streams {
		for _, m := range s.Messages {
			value, _ := m.Values["e"].(string)
			messages = append(messages, message{partition: partitions[s.Stream], id: m.ID, deliveries: 1, value: value})
		}
	}
	return messages, nil
}

// readAll reads the streams of all partitions in one blocking call.
func (d *Dispatcher) readAll(ctx context.Context, l push.Lane, count int64) ([]redis.XStream, error) {
	n := d.Partitions.Len()
	keys := make([]string, 2*n)
	for p := range n {
		keys[p], keys[n+p] = d.outKey(p, l), ">"
	}
	streams, err := d.Redis.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: d.consumer, Streams: keys, Count: count, Block: readWait,
	}).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return streams, err
}

// readShards reads the streams of all partitions of a cluster in one pipeline per
// shard, and waits for a nudge or a moment when they are empty.
func (d *Dispatcher) readShards(ctx context.Context, l push.Lane, count int64) ([]redis.XStream, error) {
	pipe := d.Redis.Pipeline()
	replies := make([]*redis.XStreamSliceCmd, d.Partitions.Len())
	for p := range replies {
		replies[p] = pipe.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: d.consumer, Streams: []string{d.outKey(p, l), ">"}, Count: count, Block: -1,
		})
	}
	_, _ = pipe.Exec(ctx) // each reply holds its own error
	var streams []redis.XStream
	var failed error
	for _, r := range replies {
		if err := r.Err(); err != nil && !errors.Is(err, redis.Nil) {
			failed = err
			continue
		}
		streams = append(streams, r.Val()...)
	}
	if len(streams) > 0 {
		return streams, nil // the others' errors come again
	}
	if failed == nil {
		select {
		case <-d.lanes[l].wake:
		case <-time.After(pollEvery):
		case <-ctx.Done():
		}
	}
	return nil, failed
}

// claim takes over entries of a lane whose consumers stopped.
func (d *Dispatcher) claim(ctx context.Context, b *rdb.Batcher, l push.Lane) ([]message, error) {
	commands := make([]*rdb.Command, d.Partitions.Len())
	for p := range commands {
		commands[p] = claimScript.Command(ctx, []string{d.outKey(p, l)},
			group, d.consumer, d.abandoned().Milliseconds(), claimMost, consumerGone.Milliseconds())
	}
	err := b.Do(ctx, commands...)
	var messages []message
	for p, c := range commands {
		reply, _ := c.Slice() // its error is in err
		for i := 0; i+2 < len(reply); i += 3 {
			m := message{partition: p}
			m.id, _ = reply[i].(string)
			m.deliveries, _ = reply[i+1].(int64)
			m.value, _ = reply[i+2].(string)
			messages = append(messages, m)
		}
	}
	if err != nil {
		err = fmt.Errorf("take over entries: %w", err)
	}
	return messages, err
}

// abandoned is how long an entry has been left alone when others take it over;
// with the interval of keepEvery it makes a lease at most.
func (d *Dispatcher) abandoned() time.Duration { return d.Lease * 3 / 4 }

// keepEvery is how often leases are renewed and other consumers' looked at.
func (d *Dispatcher) keepEvery() time.Duration { return d.Lease / 4 }

// attemptFor is the deadline of one attempt, shorter than half a lease (G3).
func (d *Dispatcher) attemptFor() time.Duration { return d.Lease / 3 }

// returnDue moves delayed entries that are due back to the outbox until ctx ends.
func (d *Dispatcher) returnDue(ctx context.Context, b *rdb.Batcher) {
	for wait(ctx, dueEvery) {
		commands := make([]*rdb.Command, d.Partitions.Len())
		for p := range commands {
			var keys []string
			for _, l := range push.Lanes {
				keys = append(keys, d.delayedKey(p, l), d.outKey(p, l))
			}
			commands[p] = dueScript.Command(ctx, keys, dueMost)
		}
		if err := b.Do(ctx, commands...); err != nil && ctx.Err() == nil {
			d.Log.Warn("delayed pushes cannot be returned to the outbox", "error", err)
			continue
		}
		for _, l := range d.lanes {
			l.nudge()
		}
	}
}

// trimDead drops dead letters that are older than deadFor, until ctx ends.
func (d *Dispatcher) trimDead(ctx context.Context) {
	for wait(ctx, time.Hour) {
		oldest := fmt.Sprint(d.Now().Add(-deadFor).UnixMilli())
		for p := range d.Partitions.Len() {
			if err := d.Redis.XTrimMinID(ctx, d.deadKey(p), oldest).Err(); err != nil && ctx.Err() == nil {
				d.Log.Warn("old dead letters cannot be dropped", "error", err)
				break
			}
		}
	}
}

// wait sleeps, and reports false when ctx ended first.
func wait(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
