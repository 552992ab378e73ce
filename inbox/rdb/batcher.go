package rdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrClosed is returned for calls on a Batcher that is closing.
var ErrClosed = errors.New("store is closing")

// ErrReplicas reports that a write reached fewer replicas than redis.wait_replicas
// asks for. The write may have happened; repeating it is safe.
var ErrReplicas = errors.New("not enough replicas confirmed the write")

const (
	maxBatch     = 128              // commands in a pipeline; keeps Redis' other clients waiting a few milliseconds at most
	maxQueued    = 4096             // commands waiting for the next pipeline
	batchTimeout = 10 * time.Second // for a pipeline, retries included
	waitTimeout  = time.Second      // for the replicas
)

// A Batcher sends commands to Redis in pipelines: while one pipeline is under way, the
// commands of concurrent callers queue for the next one. A single caller does not wait.
// Scripts that Redis does not know (any more) are sent again with their source. Network
// failures are retried, so every command must be idempotent.
type Batcher struct {
	rdb      redis.UniversalClient
	replicas int
	queue    chan *group
	closing  chan struct{}
	once     sync.Once
	done     sync.WaitGroup
}

// A group is the commands of one call of Do. They stay together and in order.
type group struct {
	commands []*Command
	done     chan error
}

// NewBatcher starts a batcher that waits for the given number of replicas
// (0: none) after each pipeline. Close it.
func NewBatcher(rdb redis.UniversalClient, replicas int) *Batcher {
	b := &Batcher{rdb: rdb, replicas: replicas, queue: make(chan *group, maxQueued), closing: make(chan struct{})}
	b.done.Go(b.run)
	return b
}

// Close waits for the commands that were accepted and stops. It may be called twice.
func (b *Batcher) Close() {
	b.once.Do(func() { close(b.closing) })
	b.done.Wait()
}

// Do executes commands and waits for their replies, at most a little longer than
// batchTimeout. The error is the first one of the commands, or ErrClosed, or that of ctx if
// it ended before the commands were taken. redis.Nil is a reply, not an error.
func (b *Batcher) Do(ctx context.Context, commands ...*Command) error {
	g, err := b.enqueue(ctx, commands)
	if err != nil {
		return err
	}
	return <-g.done // not ctx: the commands are being written to until then
}

// Run executes one script and returns the command with its reply. When ctx ends, Run
// returns its error at once, and the script may still be executed.
func (b *Batcher) Run(ctx context.Context, s *Script, keys []string, args ...any) (*Command, error) {
	c := s.Command(ctx, keys, args...)
	g, err := b.enqueue(ctx, []*Command{c})
	if err != nil {
		return nil, err
	}
	select {
	case err := <-g.done:
		return c, err
	case <-ctx.Done():
		return nil, ctx.Err() // without the command: it is being written to
	}
}

// enqueue hands commands over to the batcher.
func (b *Batcher) enqueue(ctx context.Context, commands []*Command) (*group, error) {
	g := &group{commands: commands, done: make(chan error, 1)}
	select {
	case <-b.closing:
		return nil, ErrClosed
	default:
	}
	select {
	case b.queue <- g:
		return g, nil
	case <-b.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *Batcher) run() {
	var groups []*group
	for {
		select {
		case g := <-b.queue:
			groups = append(groups[:0], g)
		case <-b.closing:
			select { // what was accepted before closing is still carried out
			case g := <-b.queue:
				groups = append(groups[:0], g)
			default:
				return
			}
		}
		for n := len(groups[0].commands); n < maxBatch; {
			select {
			case g := <-b.queue:
				groups = append(groups, g)
				n += len(g.commands)
				continue
			default:
			}
			break
		}
		b.execute(groups)
	}
}

func (b *Batcher) execute(groups []*group) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	var commands []*Command
	for _, g := range groups {
		commands = append(commands, g.commands...)
	}
	err := b.pipeline(ctx, commands)
	for _, g := range groups {
		g.done <- errors.Join(err, firstError(g.commands))
	}
}

func firstError(commands []*Command) error {
	for _, c := range commands {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// pipeline executes commands, and waits for the replicas if there are any. The error is
// that of the replicas; each command holds its own.
func (b *Batcher) pipeline(ctx context.Context, commands []*Command) error {
	if b.replicas == 0 {
		b.send(ctx, b.rdb, commands)
		return nil
	}
	var errs []error
	for node, commands := range b.byMaster(ctx, commands) {
		errs = append(errs, b.sendAndWait(ctx, node, commands))
	}
	return errors.Join(errs...)
}

// byMaster groups commands by the Redis process that they go to, because WAIT counts the
// replicas of one process.
func (b *Batcher) byMaster(ctx context.Context, commands []*Command) map[redis.Cmdable][]*Command {
	cluster, ok := b.rdb.(*redis.ClusterClient)
	if !ok {
		return map[redis.Cmdable][]*Command{b.rdb: commands}
	}
	nodes := make(map[redis.Cmdable][]*Command)
	for _, c := range commands {
		node, err := cluster.MasterForKey(ctx, c.key())
		if err != nil {
			c.SetErr(fmt.Errorf("find the master: %w", err))
			continue
		}
		nodes[node] = append(nodes[node], c)
	}
	return nodes
}

func (b *Batcher) sendAndWait(ctx context.Context, node redis.Cmdable, commands []*Command) error {
	wait := redis.NewCmd(ctx, "wait", b.replicas, waitTimeout.Milliseconds())
	b.send(ctx, node, commands, wait)
	if n, err := wait.Int(); err != nil {
		return fmt.Errorf("wait for replicas: %w", err)
	} else if n < b.replicas {
		return fmt.Errorf("%w: %d of %d", ErrReplicas, n, b.replicas)
	}
	return nil
}

// send executes commands, and last after them, in one pipeline. The first round names
// scripts by their digests; a second one sends the source of those that Redis does not
// know.
func (b *Batcher) send(ctx context.Context, node redis.Cmdable, commands []*Command, last ...redis.Cmder) {
	for round := range 2 {
		pipe := node.Pipeline()
		var unknown []*Command
		for _, c := range commands {
			_ = pipe.Process(ctx, c.Cmd) // only queues
		}
		for _, c := range last {
			_ = pipe.Process(ctx, c)
		}
		_, _ = pipe.Exec(ctx) // each command holds its own error
		for _, c := range commands {
			if c.withSource != nil && round == 0 && redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
				c.Cmd = c.withSource()
				unknown = append(unknown, c)
			}
		}
		if commands = unknown; len(commands) == 0 {
			return
		}
	}
}
