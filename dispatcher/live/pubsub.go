package live

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// pubsub subscribes to the channels of users: over one connection, or on a cluster
// over one to each master that has channels of this process' users.
type pubsub struct {
	redis      redis.UniversalClient
	sharded    bool
	users      *registry
	router     *router
	goroutines *goroutines
	renewals   prometheus.Counter
	log        *slog.Logger

	mu    mutex[pubsubLock]
	conns map[string]*pubsubConn // by the address of the master; "" without a cluster
}

// A subscriber opens pub/sub connections.
type subscriber interface {
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
	SSubscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// connFor returns the connection that carries a channel, and starts it when there
// is none.
func (p *pubsub) connFor(ctx context.Context, channel string) (*pubsubConn, error) {
	client, address := subscriber(p.redis), ""
	if cluster, ok := p.redis.(*redis.ClusterClient); ok && p.sharded {
		node, err := cluster.MasterForKey(ctx, channel)
		if err != nil {
			return nil, fmt.Errorf("find the master of a channel: %w", err)
		}
		client, address = node, node.Options().Addr
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[address]
	if c == nil {
		c = &pubsubConn{pubsub: p, client: client, wake: make(chan struct{}, 1), changes: make(map[string]bool)}
		p.goroutines.start(c.run)
		p.conns[address] = c
	}
	return c, nil
}

// subscribe asks for a user's channel. u.ready is closed once Redis has confirmed.
func (p *pubsub) subscribe(ctx context.Context, u *userSockets) error {
	c, err := p.connFor(ctx, u.channel)
	if err != nil {
		return err
	}
	u.conn.Store(c)
	c.change(u.channel, true)
	return nil
}

// await waits until a user's channel is subscribed. It asks for the channel when
// nobody has.
func (p *pubsub) await(ctx context.Context, u *userSockets) error {
	if u.conn.Load() == nil {
		if err := p.subscribe(ctx, u); err != nil {
			return err
		}
	}
	select {
	case <-u.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("subscribe: %w", ctx.Err())
	}
}

func (p *pubsub) unsubscribe(u *userSockets) {
	if c := u.conn.Load(); c != nil {
		c.change(u.channel, false)
	}
}
