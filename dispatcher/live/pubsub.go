package live

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// pubsub subscribes to the channels of users. It uses one connection, or on a cluster one
// to each master that has channels of this process' users.
//
// On a cluster a channel may move to another node at any time, because masters fail over
// and slots move. So pubsub checks where each user's channel is subscribed at every
// heartbeat, when Redis refuses or ends a subscription, and when a connection fails.
type pubsub struct {
	redis      redis.UniversalClient
	sharded    bool
	process    string // the id of this process
	heartbeat  time.Duration
	linger     time.Duration // how long a connection without channels is kept
	users      *registry
	router     *router
	goroutines *goroutines
	metrics    *metrics
	log        *slog.Logger
	suspect    chan struct{} // capacity 1: a check is due

	mu    mutex[pubsubLock]
	conns map[string]*pubsubConn // by the address of the master; "" without a cluster
}

// A subscriber opens pub/sub connections.
type subscriber interface {
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
	SSubscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// A cluster finds the master of a key. [redis.ClusterClient] is one.
type cluster interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// master returns the master of a channel and its address, which is empty without a
// cluster. The client may be used for one session only: go-redis closes it when the
// node leaves the cluster, and makes another one when the node returns.
func (p *pubsub) master(ctx context.Context, channel string) (client subscriber, address string, err error) {
	cluster, ok := p.redis.(cluster)
	if !ok || !p.sharded {
		return p.redis, "", nil
	}
	node, err := cluster.MasterForKey(ctx, channel)
	if err != nil {
		return nil, "", fmt.Errorf("find the master of a channel: %w", err)
	}
	return node, node.Options().Addr, nil
}

// reload makes go-redis reload the topology. It does not wait for the answer.
func (p *pubsub) reload(ctx context.Context) {
	if cluster, ok := p.redis.(cluster); ok {
		cluster.ReloadState(ctx)
	}
}

// subscribe asks for a user's channel. u.ready is closed once Redis has confirmed.
func (p *pubsub) subscribe(ctx context.Context, u *userSockets) error {
	_, address, err := p.master(ctx, u.channel)
	if err != nil {
		return err
	}
	p.assign(u, address)
	return nil
}

// assign makes the connection to an address carry a user's channel, and starts the
// connection if there is none. The connection that carried the channel before drops it.
func (p *pubsub) assign(u *userSockets, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.unsubscribed {
		return
	}
	c := p.conns[address]
	if c == nil {
		c = newPubsubConn(p, address)
		p.conns[address] = c
		p.goroutines.start(c.run)
	}
	if old := u.conn.Load(); old != c {
		c.hold(u.channel)
		u.conn.Store(c)
		if old != nil {
			old.release(u.channel)
		}
	}
	c.change(u.channel)
}

// unsubscribe drops the channel of a user who was removed from the registry. The channel
// stays subscribed if the same user is registered again.
func (p *pubsub) unsubscribe(u *userSockets) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u.unsubscribed = true
	if c := u.conn.Load(); c != nil {
		c.release(u.channel)
	}
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

// doubt requests a check, because a channel may have moved to another node. It does not
// wait.
func (p *pubsub) doubt() {
	select {
	case p.suspect <- struct{}{}:
	default:
	}
}

// run checks all channels at every heartbeat, and soon after each call of doubt, until ctx
// ends.
func (p *pubsub) run(ctx context.Context) {
	regular := time.NewTicker(p.heartbeat)
	defer regular.Stop()
	delay := minReconnectDelay
	for {
		select {
		case <-regular.C:
			delay = minReconnectDelay
		case <-p.suspect:
			p.reload(ctx)
			rdb.Sleep(ctx, delay+rand.N(delay))
			delay = min(2*delay, maxReconnectDelay)
		case <-ctx.Done():
			return
		}
		p.check(ctx)
		p.dropUnused()
	}
}

// check moves channels to the connections of their new masters, and requests again the
// channels that Redis has not confirmed. It waits for Redis only when go-redis knows no
// master yet.
func (p *pubsub) check(ctx context.Context) {
	masters := make(map[string]string) // address by slot tag
	for users := range p.users.byShard() {
		for _, u := range users {
			c := u.conn.Load()
			if c == nil {
				continue // await subscribes it
			}
			tag := slotTag(u.channel)
			address, known := masters[tag]
			if !known {
				var err error
				if _, address, err = p.master(ctx, u.channel); err != nil {
					p.log.Warn("channels cannot be checked", "error", err)
					return
				}
				masters[tag] = address
			}
			if address != c.address {
				p.assign(u, address)
			} else if s := c.session.Load(); s != nil && u.heard.Load() != s {
				c.change(u.channel)
			}
		}
	}
}

// dropUnused ends the connections that have carried no channel for Options.Linger.
func (p *pubsub) dropUnused() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if len(c.tags) == 0 && time.Since(c.unusedSince) > p.linger {
			p.end(c)
		}
	}
}

// end ends a connection that carries no channel. p.mu is held, so that none is added.
func (p *pubsub) end(c *pubsubConn) {
	delete(p.conns, c.address)
	c.cancel()
}

// count returns how many connections there are, and how many of them are silent.
func (p *pubsub) count() (all, silent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c.silent.Load() {
			silent++
		}
	}
	return len(p.conns), silent
}

// slotTag returns the beginning of a channel up to the end of its hash tag. Channels of
// one slot tag lie in one slot.
func slotTag(channel string) string {
	before, _, _ := strings.Cut(channel, "}")
	return before + "}"
}
