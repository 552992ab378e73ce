package rdb

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Errors of a Batcher besides those of Redis and of the network.
var (
	// ErrClosed is returned for calls on a Batcher that is closing.
	ErrClosed = errors.New("store is closing")
	// ErrReplicas reports that a write reached fewer replicas than redis.wait_replicas
	// asks for. The write may have happened; repeating it is safe.
	ErrReplicas = errors.New("not enough replicas confirmed the write")
	// ErrSilent reports that a shard of Redis does not answer. The commands were not sent.
	ErrSilent = errors.New("this shard of Redis does not answer")
	// ErrFull reports that too many commands wait for a shard of Redis. The commands were
	// not sent.
	ErrFull = errors.New("too many commands wait for this shard of Redis")
)

// limits bound what a Batcher waits for. Tests shorten them.
type limits struct {
	batch    int           // commands in a pipeline; keeps Redis' other clients waiting a few milliseconds at most
	queued   int           // commands of a shard that wait for the next pipeline
	pipeline time.Duration // for a pipeline, retries included
	replicas time.Duration // for the replicas
	silent   time.Duration // a shard that has answered nothing for so long, retries included, is silent
	room     time.Duration // how long a caller waits for a full queue, once
	probe    time.Duration // between two attempts to reach a silent shard
}

var defaultLimits = limits{
	batch:    128,
	queued:   16384,
	pipeline: 10 * time.Second,
	replicas: time.Second,
	silent:   2 * time.Second,
	room:     500 * time.Millisecond,
	probe:    250 * time.Millisecond,
}

// A Batcher sends commands to Redis in pipelines: while one pipeline is under way, the
// commands of concurrent callers queue for the next one. A single caller does not wait.
//
// On a cluster each shard has a queue and pipelines of its own, so that one that is away
// delays only the commands that concern it: they fail at once while it is known not to
// answer. Commands follow their keys when these move to another master.
//
// Scripts that Redis does not know (any more) are sent again with their source. Network
// failures are retried, so every command must be idempotent.
type Batcher struct {
	rdb      redis.UniversalClient
	cluster  *redis.ClusterClient // nil on a single Redis
	replicas int
	limits   limits
	closing  context.Context
	close    context.CancelFunc
	working  sync.WaitGroup // goroutines of shards

	mu     sync.Mutex // also guards the shards
	shards map[shardKey]*shard
}

// A shardKey names a queue. Commands that wait for replicas have one of their own, so that
// reads do not wait with them.
type shardKey struct {
	addr  string // of the master; "" on a single Redis
	waits bool   // for replicas
}

// NewBatcher starts a batcher whose writes wait for the given number of replicas (0: none).
// Close it.
func NewBatcher(rdb redis.UniversalClient, replicas int) *Batcher {
	cluster, _ := rdb.(*redis.ClusterClient)
	b := &Batcher{rdb: rdb, cluster: cluster, replicas: replicas, limits: defaultLimits, shards: make(map[shardKey]*shard)}
	b.closing, b.close = context.WithCancel(context.Background())
	return b
}

// Close waits for the commands that were accepted and stops. It may be called twice.
func (b *Batcher) Close() {
	b.mu.Lock()
	b.close() // under the lock: whoever takes it later accepts nothing
	b.mu.Unlock()
	b.working.Wait()
}

// Do executes commands and waits for their replies, for little longer than a pipeline may
// take. Each command holds its own error, and Do returns the first one of them. It is
// ErrClosed, ErrSilent, ErrFull or that of ctx, which ended before, for commands that were
// not sent, and ErrReplicas for writes that too few replicas confirmed. redis.Nil is a
// reply, not an error. Commands for one shard stay together and in order.
func (b *Batcher) Do(ctx context.Context, commands ...*Command) error {
	c := b.start(ctx, commands)
	<-c.done // not ctx: the commands are being written to until then
	return firstError(commands)
}

// Run executes one script and returns the command with its reply. When ctx ends, Run
// returns its error at once, and the script may still be executed.
func (b *Batcher) Run(ctx context.Context, s *Script, keys []string, args ...any) (*Command, error) {
	commands := []*Command{s.Command(ctx, keys, args...)}
	c := b.start(ctx, commands)
	select {
	case <-c.done:
		return commands[0], firstError(commands)
	case <-ctx.Done():
		return nil, ctx.Err() // without the command: it is being written to
	}
}

// ShardOf returns the address of the master that has a key, or "" on a single Redis. It is
// for callers who give the work of each shard a goroutine of its own.
func (b *Batcher) ShardOf(ctx context.Context, key string) (string, error) {
	if b.cluster == nil {
		return "", nil
	}
	node, err := b.cluster.MasterForKey(ctx, key)
	if err != nil {
		return "", err
	}
	return node.Options().Addr, nil
}

// A call is the commands of one Do.
type call struct {
	left atomic.Int32 // groups without replies
	done chan struct{}
}

// A group is the commands of a call for one shard.
type group struct {
	shard    shardKey
	commands []*Command
	call     *call
	room     <-chan struct{} // after errNoRoom: closed when there may be some
}

// finish tells the caller that the group's commands hold their replies or errors.
func (g *group) finish() {
	if g.call.left.Add(-1) == 0 {
		close(g.call.done)
	}
}

// fail finishes a group whose commands were not sent.
func (g *group) fail(err error) {
	for _, c := range g.commands {
		c.SetErr(err)
	}
	g.finish()
}

// start queues commands at their shards.
func (b *Batcher) start(ctx context.Context, commands []*Command) *call {
	c := &call{done: make(chan struct{})}
	groups := b.split(ctx, commands)
	if len(groups) == 0 {
		close(c.done)
		return c
	}
	c.left.Store(int32(len(groups)))
	var full []*group // they are waited for after the others
	for i := range groups {
		g := &groups[i]
		g.call = c
		if err := b.tryEnqueue(ctx, g); errors.Is(err, errNoRoom) {
			full = append(full, g)
		} else if err != nil {
			g.fail(err)
		}
	}
	for _, g := range full {
		if err := b.enqueue(ctx, g); err != nil {
			g.fail(err)
		}
	}
	return c
}

// split groups commands by shard. Those whose shard is not known get an error.
func (b *Batcher) split(ctx context.Context, commands []*Command) []group {
	if b.cluster == nil && len(commands) > 0 {
		waits := b.replicas > 0 && slices.ContainsFunc(commands, (*Command).writes)
		return []group{{shard: shardKey{waits: waits}, commands: commands}}
	}
	var groups []group
	for _, c := range commands {
		addr, err := b.ShardOf(ctx, c.key())
		if err != nil {
			c.SetErr(err)
			continue
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.shard.addr == addr })
		if i < 0 {
			i, groups = len(groups), append(groups, group{shard: shardKey{addr: addr}})
		}
		g := &groups[i]
		g.commands = append(g.commands, c)
		g.shard.waits = g.shard.waits || b.replicas > 0 && c.writes()
	}
	return groups
}

func firstError(commands []*Command) error {
	for _, c := range commands {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}
