package rdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	maxSends  = 4                     // attempts of a command whose slot moves or whose master is away
	sendAgain = 10 * time.Millisecond // pause before the second attempt; doubled before each further one
)

// pipeline executes the commands of one shard. Each of them holds its own error.
func (b *Batcher) pipeline(ctx context.Context, waits bool, commands []*Command) {
	if b.cluster == nil { // the client retries, and finds a new master
		b.send(ctx, target{node: b.rdb}, waits, commands)
		return
	}
	var masters map[string]*redis.Client
	for n := range maxSends {
		for t, commands := range b.targets(ctx, commands, masters) {
			b.send(ctx, t, waits, commands)
		}
		commands = repeatable(commands)
		if len(commands) == 0 || !Sleep(ctx, sendAgain<<n) {
			return
		}
		masters = b.reload(ctx)
	}
}

// A target is a node that commands are sent to.
type target struct {
	node   redis.Cmdable
	asking bool // send ASKING: the node is importing the slot
}

// targets groups commands by the master of their key, or by the node of their last MOVED or
// ASK. masters are the cluster's masters by address; it may be nil.
func (b *Batcher) targets(ctx context.Context, commands []*Command, masters map[string]*redis.Client) map[target][]*Command {
	targets := make(map[target][]*Command, 1)
	for _, c := range commands {
		var t target
		if addr, ok := redis.IsMovedError(c.Err()); ok && masters[addr] != nil {
			t = target{node: masters[addr]}
		} else if addr, ok := redis.IsAskError(c.Err()); ok && masters[addr] != nil {
			t = target{masters[addr], true}
		} else if node, err := b.cluster.MasterForKey(ctx, c.key()); err == nil {
			t = target{node: node}
		} else {
			c.SetErr(fmt.Errorf("find the master: %w", err))
			continue
		}
		targets[t] = append(targets[t], c)
	}
	return targets
}

// reload reloads the cluster's topology and returns its masters by address.
func (b *Batcher) reload(ctx context.Context) map[string]*redis.Client {
	var mu sync.Mutex
	masters := make(map[string]*redis.Client)
	_ = b.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters[node.Options().Addr] = node
		return nil
	}) // after an error the previous topology stays
	return masters
}

// repeatable returns the commands to retry.
func repeatable(commands []*Command) []*Command {
	var again []*Command
	for _, c := range commands {
		err := c.Err()
		_, moved := redis.IsMovedError(err)
		_, ask := redis.IsAskError(err)
		if moved || ask || !answered(err) || redis.IsTryAgainError(err) || redis.IsClusterDownError(err) ||
			redis.IsReadOnlyError(err) || redis.IsLoadingError(err) || redis.IsMasterDownError(err) {
			again = append(again, c)
		}
	}
	return again
}

// send executes commands in one pipeline. It names scripts by their digests, and sends a
// second pipeline with the source of the scripts that Redis does not know.
func (b *Batcher) send(ctx context.Context, t target, waits bool, commands []*Command) {
	for round := range 2 {
		pipe := t.node.Pipeline()
		for _, c := range commands {
			if t.asking {
				_ = pipe.Process(ctx, redis.NewCmd(ctx, "asking")) // queues only; Exec sends
			}
			_ = pipe.Process(ctx, c.Cmd)
		}
		var wait *redis.Cmd
		if waits {
			wait = redis.NewCmd(ctx, "wait", b.replicas, b.limits.replicas.Milliseconds())
			_ = pipe.Process(ctx, wait)
		}
		_, _ = pipe.Exec(ctx) // each command holds its own error
		if waits {
			b.confirm(commands, wait)
		}
		var unknown []*Command
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

// confirm sets ErrReplicas on the writes of a pipeline when too few replicas have confirmed
// them, or when the master became a replica itself while WAIT was waiting (UNBLOCKED). WAIT
// counts the replicas of one Redis process.
func (b *Batcher) confirm(commands []*Command, wait *redis.Cmd) {
	for _, c := range commands {
		c.unconfirmed = nil // left by an earlier attempt
	}
	n, err := wait.Int()
	var reply redis.Error
	switch {
	case errors.As(err, &reply) && !redis.HasErrorPrefix(err, "NOPERM"):
		err = fmt.Errorf("%w: %w", ErrReplicas, err)
	case err != nil:
		err = fmt.Errorf("wait for replicas: %w", err)
	case n < b.replicas:
		err = fmt.Errorf("%w: %d of %d", ErrReplicas, n, b.replicas)
	default:
		return
	}
	for _, c := range commands {
		if c.writes() {
			c.unconfirmed = err
		}
	}
}

// ping pings the master that holds a key.
func (b *Batcher) ping(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, b.limits.silent)
	defer cancel()
	if b.cluster == nil {
		return b.rdb.Ping(ctx).Err()
	}
	b.cluster.ReloadState(ctx) // another master may hold the key by now
	node, err := b.cluster.MasterForKey(ctx, key)
	if err != nil {
		return err
	}
	return node.Ping(ctx).Err()
}
