package rdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// A shard is the queue of one Redis process. Its goroutine runs while groups are queued,
// and while the process is silent. Batcher.mu guards the fields.
type shard struct {
	b       *Batcher
	waits   bool // commands wait for replicas
	queue   []*group
	queued  int           // commands in the queue
	running bool          // the goroutine runs
	stuck   bool          // the queue stayed full for longer than limits.room
	room    chan struct{} // closed when the queue shrinks; nil when no group waits for room
	silent  error         // the error for new commands while the process does not answer
}

// errNoRoom reports that a group must wait for room in its shard's queue.
var errNoRoom = errors.New("no room")

// tryEnqueue queues a group at its shard, unless the queue is full.
func (b *Batcher) tryEnqueue(ctx context.Context, g *group) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shards[g.shard]
	if s == nil {
		s = &shard{b: b, waits: g.shard.waits}
		b.shards[g.shard] = s
	}
	switch {
	case b.closing.Err() != nil:
		return ErrClosed
	case s.silent != nil:
		return s.silent
	case s.queued > 0 && s.queued+len(g.commands) > b.limits.queued:
		if s.stuck {
			return ErrFull
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		g.room = s.room
		return errNoRoom
	}
	s.queue = append(s.queue, g)
	s.queued += len(g.commands)
	if !s.running {
		s.running = true
		b.working.Go(s.run)
	}
	return nil
}

// enqueue waits for room in the queue of the group's shard. After limits.room without room,
// this group and later ones fail with ErrFull until the queue shrinks.
func (b *Batcher) enqueue(ctx context.Context, g *group) error {
	timer := time.NewTimer(b.limits.room)
	defer timer.Stop()
	for late := false; ; {
		select {
		case <-g.room:
		case <-b.closing.Done():
		case <-ctx.Done():
		case <-timer.C:
			b.mu.Lock()
			b.shards[g.shard].stuck = true
			b.mu.Unlock()
			late = true
		}
		err := b.tryEnqueue(ctx, g)
		switch {
		case !errors.Is(err, errNoRoom):
			return err
		case late:
			return ErrFull
		}
	}
}

// run sends the queued groups in pipelines until the queue is empty.
func (s *shard) run() {
	var groups []*group
	for {
		if groups = s.take(groups[:0]); len(groups) == 0 {
			return
		}
		s.execute(groups)
		clear(groups)
	}
}

// take appends the groups of the next pipeline. If there are none, the goroutine ends.
func (s *shard) take(groups []*group) []*group {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	n := 0
	for _, g := range s.queue {
		if n >= s.b.limits.batch {
			break
		}
		groups = append(groups, g)
		n += len(g.commands)
	}
	left := copy(s.queue, s.queue[len(groups):])
	clear(s.queue[left:])
	s.queue = s.queue[:left]
	s.queued -= n
	s.running = len(groups) > 0
	s.moved()
	return groups
}

// moved wakes the groups that wait for room.
func (s *shard) moved() {
	s.stuck = false
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// execute sends a pipeline. If Redis answers none of its commands for limits.silent,
// execute fails all commands that wait for the shard, and blocks until the shard answers;
// new commands fail meanwhile.
func (s *shard) execute(groups []*group) {
	commands := groups[0].commands
	if len(groups) > 1 {
		commands = nil
		for _, g := range groups {
			commands = append(commands, g.commands...)
		}
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), s.b.limits.pipeline)
	s.executeJoint(ctx, commands)
	cancel()
	err := unanswered(commands)
	silent := err != nil && time.Since(started) >= s.b.limits.silent
	if silent {
		s.silence(err)
	}
	for _, g := range groups {
		g.finish()
	}
	if silent {
		s.awaitAnswer(commands[0].key())
	}
}

// unanswered returns the first error when Redis has answered none of the commands.
func unanswered(commands []*Command) error {
	for _, c := range commands {
		if answered(c.Err()) {
			return nil
		}
	}
	return commands[0].Err()
}

// answered reports whether an error, or nil, comes from a reply of Redis.
func answered(err error) bool {
	var reply redis.Error
	return err == nil || errors.Is(err, ErrReplicas) || errors.As(err, &reply)
}

// silence marks the shard as silent and fails everything in its queue.
func (s *shard) silence(cause error) {
	s.b.mu.Lock()
	s.silent = fmt.Errorf("%w: %w", ErrSilent, cause)
	groups := s.queue
	s.queue, s.queued = nil, 0
	s.moved()
	s.b.mu.Unlock()
	for _, g := range groups {
		g.fail(s.silent)
	}
}

// awaitAnswer pings a silent shard, which holds the key, until it answers or the batcher is
// closing.
func (s *shard) awaitAnswer(key string) {
	for s.b.ping(s.b.closing, key) != nil && Sleep(s.b.closing, s.b.limits.probe) {
	}
	s.b.mu.Lock()
	s.silent = nil
	s.b.mu.Unlock()
}
