package outbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	dueEvery = 250 * time.Millisecond
	maxDue   = 50 // entries of one lane and partition returned by one script
)

var (
	//go:embed due.lua
	dueSource string
	dueScript = rdb.NewScript(dueSource)
)

// ReturnDue moves delayed entries that are due back to their streams until ctx ends, and so
// it does with everything that waits for a route while open says that the route's circuit is
// closed. It asks open for each route several times a second.
func (o *Outbox) ReturnDue(ctx context.Context, b *rdb.Batcher, open func(route string) bool) {
	failing := false
	for round := 0; rdb.Sleep(ctx, dueEvery); round++ {
		err := o.returnDue(ctx, b, open)
		if round%int(sweepEvery/dueEvery) == 0 {
			err = errors.Join(err, o.routes.share(ctx, b, o.routesKey()))
			if round > 0 {
				err = errors.Join(err, o.sweepUnsent(ctx, b))
			}
		}
		if err != nil && !failing && ctx.Err() == nil {
			o.log.Warn("delayed pushes cannot be returned to the outbox", "error", err)
		}
		failing = err != nil
		o.NudgeAll() // for the partitions that answered
	}
}

// returnDue runs one script for each partition.
func (o *Outbox) returnDue(ctx context.Context, b *rdb.Batcher, open func(route string) bool) error {
	routes := o.routes.all()
	args := []any{maxDue, 1 + len(routes), 0}
	for _, route := range routes {
		all := 1
		if open(route) {
			all = 0
		}
		args = append(args, all)
	}
	commands := make([]*rdb.Command, o.partitions.Len())
	for p := range commands {
		var keys []string
		for _, l := range push.Lanes {
			keys = append(keys, o.StreamKey(p, l))
			keys = append(keys, o.delayedKeys(p, l, routes)...)
		}
		commands[p] = dueScript.Command(ctx, keys, args...)
	}
	return b.Do(ctx, commands...)
}

// Release moves up to n entries of each lane that wait for a route to their streams, although
// the route's circuit is open, and returns how many it has moved: for the probes of a
// half-open circuit. It takes urgent entries first, then chat, then bulk, of each lane from as
// many partitions as possible, and from each set those that would be returned first. With an
// error it may also have moved some, in the partitions that answered.
func (o *Outbox) Release(ctx context.Context, b *rdb.Batcher, route string, n int) (int, error) {
	waiting, err := o.waiting(ctx, b, route)
	var commands []*rdb.Command
	start := rand.IntN(o.partitions.Len())
	for _, l := range push.Lanes {
		take := shares(waiting[l], start, n)
		for p, count := range take {
			if count == 0 {
				continue
			}
			keys := []string{o.StreamKey(p, l), o.WaitingKey(p, l, route)}
			commands = append(commands, dueScript.Command(ctx, keys, count, 1, 1))
		}
	}
	if len(commands) == 0 {
		return 0, err
	}
	err = errors.Join(err, b.Do(ctx, commands...))
	moved := 0
	for _, c := range commands {
		if counts, failed := c.Int64s(1); failed == nil {
			moved += int(counts[0])
		}
	}
	o.NudgeAll()
	if err != nil {
		return moved, fmt.Errorf("release pushes that wait for a provider: %w", err)
	}
	return moved, nil
}

// waiting returns how many entries wait for a route, by lane and partition. With an error it
// counts the partitions that answered.
func (k *keys) waiting(ctx context.Context, b *rdb.Batcher, route string) (counts [len(push.Lanes)][]int, err error) {
	var commands []*rdb.Command
	for _, l := range push.Lanes {
		for p := range k.partitions.Len() {
			commands = append(commands, rdb.NewCommand(ctx, "zcard", k.WaitingKey(p, l, route)))
		}
	}
	err = b.Do(ctx, commands...)
	for _, l := range push.Lanes {
		counts[l] = make([]int, k.partitions.Len())
		for p := range counts[l] {
			counts[l][p], _ = commands[int(l)*k.partitions.Len()+p].Int()
		}
	}
	return counts, err
}

// shares divides n among those that have something, one by one, beginning at start.
func shares(have []int, start, n int) []int {
	take := make([]int, len(have))
	for taken := true; taken && n > 0; {
		taken = false
		for i := range have {
			if p := (start + i) % len(have); take[p] < have[p] && n > 0 {
				take[p]++
				n--
				taken = true
			}
		}
	}
	return take
}
