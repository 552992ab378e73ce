package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// routes are the routes that entries may wait for: those of this process, and those that
// gateways with another configuration, or this one's former configuration, have told Redis.
// They are safe for concurrent use.
type routes struct {
	own   []string
	known atomic.Pointer[[]string] // own ones first; replaced whole
}

func newRoutes(own []string) *routes {
	r := &routes{own: own}
	r.known.Store(&own)
	return r
}

// all returns the routes. A later call may return more, in the same order.
func (r *routes) all() []string { return *r.known.Load() }

// know reports whether there is a route of that name.
func (r *routes) know(route string) bool { return slices.Contains(r.all(), route) }

// share tells Redis the routes of this process, and learns those of others.
func (r *routes) share(ctx context.Context, b *rdb.Batcher, key string) error {
	var commands []*rdb.Command
	if len(r.own) > 0 {
		args := []any{"sadd", key}
		for _, route := range r.own {
			args = append(args, route)
		}
		commands = append(commands, rdb.NewCommand(ctx, args...))
	}
	members := rdb.NewCommand(ctx, "smembers", key)
	if err := b.Do(ctx, append(commands, members)...); err != nil {
		return fmt.Errorf("share routes: %w", err)
	}
	names, err := members.StringSlice()
	if err != nil {
		return fmt.Errorf("share routes: %w", err)
	}
	known := slices.Clone(r.all())
	slices.Sort(names)
	for _, name := range names {
		if !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	r.known.Store(&known)
	return nil
}
