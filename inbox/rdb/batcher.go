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

// Errors of a Batcher, besides errors of Redis and of the network.
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

// limits are the limits of a Batcher. Tests shorten them.
type limits struct {
	batch    int           // commands in a pipeline; it blocks Redis' other clients for a few milliseconds at most
	queued   int           // commands that wait for a shard's next pipeline
	pipeline time.Duration // timeout of a pipeline, including retries
	replicas time.Duration // timeout of WAIT
	silent   time.Duration // a shard is silent when it has answered nothing for so long, including retries
	room     time.Duration // how long a caller waits for room before the queue counts as stuck
	probe    time.Duration // between two pings of a silent shard
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
// On a cluster each shard has its own queue and pipelines, so that a shard that is away
// delays only its own commands. While it is known not to answer, they fail at once.
// Commands follow their keys when slots move to another master.
//
// The source of a script is sent when Redis does not know its digest. Commands are retried
// after network failures, so every command must be idempotent.
type Batcher struct {
	rdb      redis.UniversalClient
	cluster  *redis.ClusterClient // nil on a single Redis
	replicas int
	limits   limits
	closing  context.Context
	close    context.CancelFunc
	working  sync.WaitGroup // goroutines of the shards

	mu     sync.Mutex // also guards the shards
	shards map[shardKey]*shard
}

// A shardKey identifies a queue. Commands that wait for replicas have their own queue, so
// that reads do not wait behind them.
type shardKey struct {
	addr  string // of the master; "" on a single Redis
	waits bool   // its commands wait for replicas
}

// NewBatcher starts a batcher whose writes wait for the given number of replicas (0: none).
// The caller must close it.
func NewBatcher(rdb redis.UniversalClient, replicas int) *Batcher {
	cluster, _ := rdb.(*redis.ClusterClient)
	b := &Batcher{rdb: rdb, cluster: cluster, replicas: replicas, limits: defaultLimits, shards: make(map[shardKey]*shard)}
	b.closing, b.close = context.WithCancel(context.Background())
	return b
}

// Close waits for the commands that were accepted and stops. It may be called twice.
func (b *Batcher) Close() {
	b.mu.Lock()
	b.close() // under the lock: no command is accepted after it
	b.mu.Unlock()
	b.working.Wait()
}

// Do executes commands and waits for their replies, at most a little longer than the
// timeout of a pipeline. Each command holds its own error, and Do returns the first of
// them. ErrClosed, ErrSilent, ErrFull and the error of an ended ctx mean that the command
// was not sent; ErrReplicas means that too few replicas confirmed the write. redis.Nil is a
// reply, not an error. Commands for one shard stay together and in order, apart from those
// of joint scripts.
func (b *Batcher) Do(ctx context.Context, commands ...*Command) error {
	c := b.start(ctx, commands)
	<-c.done // not ctx: until then the commands are written to
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

// ShardOf returns the address of the master that holds a key, or "" on a single Redis.
// Callers use it to handle each shard in its own goroutine.
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

// A call holds the state of one Do.
type call struct {
	left atomic.Int32 // groups that are not finished
	done chan struct{}
}

// A group holds the commands of a call for one shard.
type group struct {
	shard    shardKey
	commands []*Command
	call     *call
	room     <-chan struct{} // after errNoRoom: closed when the queue shrinks
}

// finish reports to the caller that the group's commands hold their replies or errors.
func (g *group) finish() {
	if g.call.left.Add(-1) == 0 {
		close(g.call.done)
	}
}

// fail finishes a group that was not sent.
func (g *group) fail(err error) {
	for _, c := range g.commands {
		c.SetErr(err)
	}
	g.finish()
}

// start queues commands for their shards.
func (b *Batcher) start(ctx context.Context, commands []*Command) *call {
	c := &call{done: make(chan struct{})}
	groups := b.split(ctx, commands)
	if len(groups) == 0 {
		close(c.done)
		return c
	}
	c.left.Store(int32(len(groups)))
	var full []*group // wait for their shards after all others are queued
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

// split groups commands by shard. Commands without a known shard get an error.
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
