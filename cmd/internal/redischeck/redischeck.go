// Package redischeck connects to Redis and checks that it meets Kabar's needs: the kind
// that the URL names, a supported version, durability, all rights, and accepted writes.
// Start checks once, a Monitor keeps checking, and the doctor makes each check separately.
package redischeck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// ErrNotYet reports a Redis that is configured correctly, but is not ready for a first
// start: it is full, a replica or loading, or one of its shards is away. A retry may
// succeed.
var ErrNotYet = errors.New("this Redis is not ready")

const (
	nodeTimeout = 5 * time.Second // for the checks of one master
	probeName   = "probe"         // a key and a channel for checks of rights; never used
)

// Options configure a Checker. All are required.
type Options struct {
	Client     redis.UniversalClient
	Config     config.Redis
	Partitions *rdb.Partitions
	Log        *slog.Logger
}

// A Checker checks Redis. It is safe for concurrent use.
type Checker struct {
	Options
	address config.RedisAddress
	now     func() time.Time // this machine's clock
	ahead   atomic.Int64     // nanoseconds; see Now
}

// New returns a Checker. It does not connect.
func New(o Options) (*Checker, error) {
	a, err := o.Config.Address()
	if err != nil {
		return nil, fmt.Errorf("redis.url %w", err)
	}
	return &Checker{Options: o, address: a, now: time.Now}, nil
}

func (c *Checker) cluster() bool { return c.address.Kind == config.RedisCluster }

// A master is a Redis process that accepts writes. Each shard has one.
type master struct {
	name   string // host:port, or its name at Sentinel
	client redis.UniversalClient
}

// masters returns the masters of Redis, sorted by name.
func (c *Checker) masters(ctx context.Context) ([]master, error) {
	cluster, ok := c.Client.(*redis.ClusterClient)
	if !ok {
		return []master{{c.name(), c.Client}}, nil
	}
	var mu sync.Mutex
	var all []master
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, master{node.Options().Addr, node})
		return nil
	})
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	slices.SortFunc(all, func(a, b master) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// name returns the name of the only master, without a cluster.
func (c *Checker) name() string {
	if c.address.Kind == config.RedisSentinel {
		return c.address.Master
	}
	return c.address.Hosts[0]
}

// Start makes all checks before the first request, and claims the partitions. It skips
// shards that are away, and logs their names. The error is ErrNotYet when a retry may
// succeed; other errors are faults of the configuration, or mean that Redis cannot be
// reached.
func (c *Checker) Start(ctx context.Context) error {
	away := 0
	checked, err := c.each(ctx, c.fit)
	if err != nil {
		return fmt.Errorf("reach Redis at %s: %w", c.Config.URL, err)
	}
	for m, err := range checked {
		switch {
		case err == nil:
		case !isAway(err):
			return err
		default:
			away++
			if away == len(checked) {
				return fmt.Errorf("reach Redis at %s: %w", c.Config.URL, err)
			}
			c.Log.Warn("a shard of Redis is away and was not checked", "shard", m.name, "error", err)
		}
	}
	if err := c.Partitions.Claim(ctx, c.Client); err != nil {
		if passes(err) {
			return fmt.Errorf("%w: %w", ErrNotYet, err)
		}
		return err
	}
	return nil
}

// Layout describes the layout of the keys in Redis, and writes nothing. The errors are those
// of rdb.Partitions.Claim.
func (c *Checker) Layout(ctx context.Context) (string, error) {
	known, err := c.Partitions.Claimed(ctx, c.Client)
	text := fmt.Sprintf("version %d with %d partitions", rdb.Layout, c.Partitions.Len())
	if !known {
		text = "this Redis is new: the first start writes " + text
	}
	return text, err
}

// each calls ask for all masters concurrently. It fails when there is no master to ask.
func (c *Checker) each(ctx context.Context, ask func(context.Context, master) error) (map[master]error, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	masters, err := c.masters(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := make(map[master]error, len(masters))
	for _, m := range masters {
		wg.Go(func() {
			err := ask(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			answers[m] = err
		})
	}
	wg.Wait()
	return answers, nil
}

// all joins the errors of each.
func (c *Checker) all(ctx context.Context, ask func(context.Context, master) error) error {
	answers, err := c.each(ctx, ask)
	for _, e := range answers {
		err = errors.Join(err, e)
	}
	return err
}

// fit makes all checks of one master.
func (c *Checker) fit(ctx context.Context, m master) error {
	about, err := c.about(ctx, m)
	if err != nil {
		return err
	}
	if err := c.kind(m, about); err != nil {
		return err
	}
	if err := c.rights(ctx, m); err != nil {
		return err
	}
	if c.Config.AllowVolatile {
		return nil
	}
	if err := durable(m, about); err != nil {
		return fmt.Errorf("%w (or set redis.allow_volatile to accept that)", err)
	}
	return nil
}
