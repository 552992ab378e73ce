package outbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	readWait  = time.Second            // how long a blocking read waits for an entry
	pollEvery = 200 * time.Millisecond // how often a cluster's streams are read without a nudge
	maxRead   = 64                     // entries of one partition in one read
	maxRenew  = 64                     // leases renewed by one script
)

var (
	//go:embed renew.lua
	renewSource string
	//go:embed create_group.lua
	createGroupSource string

	renewScript = rdb.NewScript(renewSource)
)

// A Key names an entry of a lane.
type Key struct {
	Partition int
	ID        string // in the stream
}

// A Message is an entry as it was read.
type Message struct {
	Key
	Deliveries int64  // number of consumers that received it, including this one
	Value      string // see ParseEntry
}

// MaxRead bounds how many more messages than its limit one Read may return.
func (o *Outbox) MaxRead() int { return maxRead * o.partitions.Len() }

// CreateGroups creates the streams of a lane and their consumer groups if they are missing.
func (o *Outbox) CreateGroups(ctx context.Context, l push.Lane) error {
	streams := make([]string, o.partitions.Len())
	for p := range streams {
		streams[p] = o.StreamKey(p, l)
	}
	return createGroups(ctx, o.redis, streams)
}

func createGroups(ctx context.Context, client redis.UniversalClient, streams []string) error {
	pipe := client.Pipeline()
	for _, stream := range streams {
		pipe.Eval(ctx, createGroupSource, []string{stream}, group)
	}
	if _, err := pipe.Exec(ctx); err != nil { // the other commands were executed
		return fmt.Errorf("create consumer group: %w", err)
	}
	return nil
}

// Shards returns the partitions of each shard of a cluster, or all partitions as one shard
// without a cluster. A reader for each shard does not wait for another shard that does not
// answer. A partition may move later: its reader then reads from two shards at once, which
// is harmless.
func (o *Outbox) Shards(ctx context.Context) [][]int {
	cluster, _ := o.redis.(*redis.ClusterClient)
	var shards [][]int
	index := make(map[string]int)
	for p := range o.partitions.Len() {
		var addr string
		if cluster != nil {
			if master, err := cluster.MasterForKey(ctx, o.StreamKey(p, push.Urgent)); err == nil {
				addr = master.Options().Addr
			}
		}
		i, ok := index[addr]
		if !ok {
			i = len(shards)
			index[addr], shards = i, append(shards, nil)
		}
		shards[i] = append(shards[i], p)
	}
	return shards
}

// Read waits for new entries of a lane, and returns about limit at most, perhaps none. It
// leaves out the given partitions. With an error it may also return messages, from the
// partitions that answered.
func (o *Outbox) Read(ctx context.Context, l push.Lane, limit int, without ...int) ([]Message, error) {
	count := int64(min(max(1, limit/o.partitions.Len()), maxRead))
	var keys []string
	partitions := make(map[string]int, o.partitions.Len())
	for p := range o.partitions.Len() {
		key := o.StreamKey(p, l)
		partitions[key] = p
		if !slices.Contains(without, p) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		rdb.Sleep(ctx, readWait)
		return nil, nil
	}
	var streams []redis.XStream
	var err error
	if o.cluster {
		streams, err = o.readShards(ctx, l, keys, count)
	} else {
		streams, err = o.readAll(ctx, keys, count)
	}
	if redis.HasErrorPrefix(err, "NOGROUP") { // Redis is new, or has lost its data
		err = createGroups(ctx, o.redis, keys)
	}
	if err != nil {
		err = fmt.Errorf("read outbox: %w", err)
	}
	var messages []Message
	for _, s := range streams {
		for _, m := range s.Messages {
			value, _ := m.Values[EntryField].(string)
			messages = append(messages, Message{Key{partitions[s.Stream], m.ID}, 1, value})
		}
	}
	return messages, err
}

// readAll reads streams in one blocking call.
func (o *Outbox) readAll(ctx context.Context, keys []string, count int64) ([]redis.XStream, error) {
	streams, err := o.redis.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: o.consumer, Streams: append(slices.Clip(keys), slices.Repeat([]string{">"}, len(keys))...),
		Count: count, Block: readWait,
	}).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return streams, err
}

// readShards reads streams of a cluster in one pipeline for each shard. When they are
// empty, it waits for a nudge or for pollEvery.
func (o *Outbox) readShards(ctx context.Context, l push.Lane, keys []string, count int64) ([]redis.XStream, error) {
	nudged := o.wake[l].nudged()
	pipe := o.redis.Pipeline()
	replies := make([]*redis.XStreamSliceCmd, len(keys))
	for i, key := range keys {
		replies[i] = pipe.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: o.consumer, Streams: []string{key, ">"}, Count: count, Block: -1,
		})
	}
	_, _ = pipe.Exec(ctx) // each reply holds its own error
	var streams []redis.XStream
	var failed error
	for _, r := range replies {
		if err := r.Err(); err != nil && !errors.Is(err, redis.Nil) {
			if failed == nil || redis.HasErrorPrefix(err, "NOGROUP") {
				failed = err
			}
			continue
		}
		streams = append(streams, r.Val()...)
	}
	if len(streams) > 0 && !redis.HasErrorPrefix(failed, "NOGROUP") {
		return streams, nil // an error of the others comes again with the next read
	}
	if len(streams) == 0 && failed == nil {
		timer := time.NewTimer(pollEvery)
		defer timer.Stop()
		select {
		case <-nudged:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return streams, failed
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
