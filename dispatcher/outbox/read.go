package outbox

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
	maxRead      = 64                     // entries of one partition in one read
	maxClaim     = 20                     // entries of one partition taken over at once
	maxRenew     = 64                     // leases renewed by one script
	consumerIdle = 10 * time.Minute       // how long a consumer without entries is kept
)

var (
	//go:embed due.lua
	dueSource string
	//go:embed renew.lua
	renewSource string
	//go:embed claim.lua
	claimSource string

	dueScript   = rdb.NewScript(dueSource)
	renewScript = rdb.NewScript(renewSource)
	claimScript = rdb.NewScript(claimSource)
)

// A Key names an entry of a lane.
type Key struct {
	Partition int
	ID        string // in the stream
}

// A Message is an entry as it was read.
type Message struct {
	Key
	Deliveries int64  // how often it was given to a consumer, this time included
	Value      string // see ParseEntry
}

// MaxRead bounds how many more messages than its limit one Read may return.
func (o *Outbox) MaxRead() int { return maxRead * o.partitions.Len() }

// CreateGroups makes the streams of a lane and their consumer groups where they are
// missing. Groups start at 0: entries may have been written before.
func (o *Outbox) CreateGroups(ctx context.Context, l push.Lane) error {
	pipe := o.redis.Pipeline()
	var replies []*redis.StatusCmd
	for p := range o.partitions.Len() {
		replies = append(replies, pipe.XGroupCreateMkStream(ctx, o.StreamKey(p, l), group, "0"))
	}
	_, _ = pipe.Exec(ctx) // each reply holds its own error
	for _, r := range replies {
		if err := r.Err(); err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
			return fmt.Errorf("create consumer group: %w", err)
		}
	}
	return nil
}

// Read waits for new entries of a lane, about limit of them at most. It may return none.
func (o *Outbox) Read(ctx context.Context, l push.Lane, limit int) ([]Message, error) {
	count := int64(min(max(1, limit/o.partitions.Len()), maxRead))
	var streams []redis.XStream
	var err error
	if o.cluster {
		streams, err = o.readShards(ctx, l, count)
	} else {
		streams, err = o.readAll(ctx, l, count)
	}
	if redis.HasErrorPrefix(err, "NOGROUP") { // Redis lost its data, or is new after a failover
		err = o.CreateGroups(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	partitions := make(map[string]int, o.partitions.Len())
	for p := range o.partitions.Len() {
		partitions[o.StreamKey(p, l)] = p
	}
	var messages []Message
	for _, s := range streams {
		for _, m := range s.Messages {
			value, _ := m.Values[EntryField].(string)
			messages = append(messages, Message{Key{partitions[s.Stream], m.ID}, 1, value})
		}
	}
	return messages, nil
}

// readAll reads the streams of all partitions in one blocking call.
func (o *Outbox) readAll(ctx context.Context, l push.Lane, count int64) ([]redis.XStream, error) {
	n := o.partitions.Len()
	keys := make([]string, 2*n)
	for p := range n {
		keys[p], keys[n+p] = o.StreamKey(p, l), ">"
	}
	streams, err := o.redis.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: o.consumer, Streams: keys, Count: count, Block: readWait,
	}).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return streams, err
}

// readShards reads the streams of all partitions of a cluster in one pipeline per shard.
// When they are empty it waits for a nudge, pollEvery at most.
func (o *Outbox) readShards(ctx context.Context, l push.Lane, count int64) ([]redis.XStream, error) {
	pipe := o.redis.Pipeline()
	replies := make([]*redis.XStreamSliceCmd, o.partitions.Len())
	for p := range replies {
		replies[p] = pipe.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: o.consumer, Streams: []string{o.StreamKey(p, l), ">"}, Count: count, Block: -1,
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
		return streams, nil // an error of the others comes again with the next read
	}
	if failed == nil {
		timer := time.NewTimer(pollEvery)
		defer timer.Stop()
		select {
		case <-o.wake[l]:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return nil, failed
}

// Claim takes over entries of a lane whose consumers stopped. With an error there may be
// messages, too: those of the partitions that answered.
func (o *Outbox) Claim(ctx context.Context, b *rdb.Batcher, l push.Lane) ([]Message, error) {
	commands := make([]*rdb.Command, o.partitions.Len())
	for p := range commands {
		commands[p] = claimScript.Command(ctx, []string{o.StreamKey(p, l)},
			group, o.consumer, o.claimAfter().Milliseconds(), maxClaim, consumerIdle.Milliseconds())
	}
	err := b.Do(ctx, commands...)
	var messages []Message
	for p, c := range commands {
		reply, _ := c.Slice() // its error is in err
		if len(reply)%3 != 0 {
			err = errors.Join(err, rdb.ErrReply)
			continue
		}
		for i := 0; i < len(reply); i += 3 {
			m := Message{Key: Key{Partition: p}}
			m.ID, _ = reply[i].(string)
			m.Deliveries, _ = reply[i+1].(int64)
			m.Value, _ = reply[i+2].(string)
			messages = append(messages, m)
		}
	}
	if err != nil {
		err = fmt.Errorf("take over entries: %w", err)
	}
	return messages, err
}

// claimAfter returns how long an entry must have been left alone before others take it
// over. With RenewEvery it adds up to a lease.
func (o *Outbox) claimAfter() time.Duration { return o.lease * 3 / 4 }

// RenewEvery is how often a worker renews its leases and claims the entries of others.
func (o *Outbox) RenewEvery() time.Duration { return o.lease / 4 }

// Lease is how long the entries of a process that died wait for another one.
func (o *Outbox) Lease() time.Duration { return o.lease }

// Renew renews the leases of entries of a lane that this consumer still holds.
func (o *Outbox) Renew(ctx context.Context, b *rdb.Batcher, l push.Lane, held []Key) error {
	ids := make(map[int][]any)
	for _, k := range held {
		ids[k.Partition] = append(ids[k.Partition], k.ID)
	}
	var commands []*rdb.Command
	for p, ids := range ids {
		for len(ids) > 0 {
			n := min(len(ids), maxRenew)
			commands = append(commands, renewScript.Command(ctx, []string{o.StreamKey(p, l)},
				append([]any{group, o.consumer}, ids[:n]...)...))
			ids = ids[n:]
		}
	}
	if len(commands) == 0 {
		return nil
	}
	return b.Do(ctx, commands...)
}
