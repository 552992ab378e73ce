package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Bodies resolves the bodies that entries of broadcasts refer to. [inbox.Texts] implements
// it and documents the method.
type Bodies interface {
	Get(ctx context.Context, user int64, keys ...string) (map[string]inbox.Text, error)
}

// Options configure an Outbox. All but Routes, Cluster and Fragments are required.
type Options struct {
	Redis redis.UniversalClient
	// Batcher carries the operator's commands.
	Batcher    *rdb.Batcher
	Partitions *rdb.Partitions
	Bodies     Bodies
	// Consumer is this process' name in the consumer groups.
	Consumer string
	// Lease is how long the entries of a process that died wait for another one.
	Lease time.Duration
	// RetryFor is how long a requeued dead letter is retried.
	RetryFor time.Duration
	// Routes are the names of the routes that entries may wait for; see Delayed. They are part
	// of keys. Entries that wait for a route which is not among them any more are found and
	// returned, too.
	Routes []string
	// Cluster says that one read cannot span the streams of all partitions.
	Cluster bool
	// Fragments are the Lua fragments that settling may run for packages above.
	Fragments []Fragment
	Log       *slog.Logger
	Now       func() time.Time
}

// An Outbox holds the entries of all partitions and lanes.
type Outbox struct {
	keys
	redis    redis.UniversalClient
	batcher  *rdb.Batcher
	bodies   Bodies
	consumer string
	lease    time.Duration
	retryFor time.Duration
	cluster  bool
	log      *slog.Logger
	now      func() time.Time
	settle   *rdb.Script
	wake     [len(push.Lanes)]waker // nudges: readers may find entries
}

// New returns an outbox. It does not talk to Redis yet.
func New(o Options) *Outbox {
	out := &Outbox{
		keys: keys{partitions: o.Partitions, routes: newRoutes(o.Routes)}, redis: o.Redis, batcher: o.Batcher, bodies: o.Bodies,
		consumer: o.Consumer, lease: o.Lease, retryFor: o.RetryFor, cluster: o.Cluster, log: o.Log, now: o.Now,
		settle: settleScript(o.Fragments),
	}
	for l := range out.wake {
		out.wake[l].next = make(chan struct{})
	}
	return out
}

// Nudge wakes the readers of a lane, which may have new entries. It never blocks.
func (o *Outbox) Nudge(l push.Lane) {
	if o.cluster { // without a cluster, reading blocks until there are entries
		o.wake[l].nudge()
	}
}

// NudgeAll nudges every lane.
func (o *Outbox) NudgeAll() {
	for _, l := range push.Lanes {
		o.Nudge(l)
	}
}

// A waker wakes everything that waits for a nudge.
type waker struct {
	mu   sync.Mutex
	next chan struct{}
}

func (w *waker) nudge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.next)
	w.next = make(chan struct{})
}

// nudged returns a channel that the next nudge closes.
func (w *waker) nudged() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// KeepDead is how long dead letters are kept.
const KeepDead = 30 * 24 * time.Hour

// trimDead is how often old dead letters are dropped.
const trimDead = time.Hour

// TrimDead drops dead letters that are older than 30 days until ctx ends.
func (o *Outbox) TrimDead(ctx context.Context) {
	for rdb.Sleep(ctx, trimDead) {
		oldest := fmt.Sprint(o.now().Add(-KeepDead).UnixMilli())
		for p := range o.partitions.Len() {
			if err := o.redis.XTrimMinID(ctx, o.deadKey(p), oldest).Err(); err != nil && ctx.Err() == nil {
				o.log.Warn("old dead letters cannot be dropped", "error", err)
				break
			}
		}
	}
}

// Backlog returns how many entries of a partition's lane are to be sent or due before a
// moment, and how many are delayed in all. Those that wait for a route are among the delayed
// ones only: nobody knows when they are sent.
func (o *Outbox) Backlog(ctx context.Context, partition int, l push.Lane, before time.Time) (soon, delayed int64, err error) {
	pipe := o.redis.Pipeline()
	queued := pipe.XLen(ctx, o.StreamKey(partition, l))
	due := pipe.ZCount(ctx, o.DelayedKey(partition, l), "-inf", fmt.Sprint(before.UnixMilli()))
	var all []*redis.IntCmd
	for _, key := range o.delayedKeys(partition, l, o.routes.all()) {
		all = append(all, pipe.ZCard(ctx, key))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, 0, fmt.Errorf("measure the outbox: %w", err)
	}
	return queued.Val() + due.Val(), sum(all), nil
}
