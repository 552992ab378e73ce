package live

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// pubsub subscribes to the channels of users: over one connection, or on a cluster
// over one to each master that has channels of this process' users.
type pubsub struct {
	hub   *Hub
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
	client, address := subscriber(p.hub.Redis), ""
	if cluster, ok := p.hub.Redis.(*redis.ClusterClient); ok && p.hub.Sharded {
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
		c = &pubsubConn{hub: p.hub, client: client, wake: make(chan struct{}, 1), changes: make(map[string]bool)}
		p.hub.start(c.run)
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

// onSubscription handles Redis' confirmation of a command of c.
func (h *Hub) onSubscription(m *redis.Subscription, c *pubsubConn) error {
	u := h.find(m.Channel)
	switch m.Kind {
	case "subscribe", "ssubscribe":
		if u != nil && u.confirm() {
			u.each((*socket).onRenewal)
			h.count(u)
		}
	case "sunsubscribe": // we asked for it, or the slot has moved
		if u != nil && u.conn.Load() == c {
			select {
			case <-u.ready:
				return errMoved
			default:
			}
		}
	}
	return nil
}

// deliver passes a published message to the sockets of the channel's user.
func (h *Hub) deliver(channel, payload string) {
	u := h.find(channel)
	if u == nil || u.empty() {
		return
	}
	kind, _, _ := strings.Cut(payload, " ")
	switch kind {
	case kindRevoked:
		f, err := model.ParseFrame(payload)
		if err != nil {
			h.Log.Error("a frame cannot be parsed", "kind", kind, "error", err)
			return
		}
		u.each(func(s *socket) { s.revoke(f.Seq) })
		return
	case kindTyping, kindPresence:
		_, body, _ := strings.Cut(payload, "\n")
		frame := []byte(`{"op":"` + kind + `",` + body + `}`)
		u.each(func(s *socket) { s.notify(frame) })
		return
	case model.FrameUnreads:
		h.count(u)
		return
	}
	published, err := model.ParseFrame(payload)
	if err != nil {
		h.Log.Error("a frame cannot be parsed", "kind", kind, "error", err)
		return
	}
	f, err := h.newFrame(u.id, published)
	if err != nil {
		h.Log.Error("a frame cannot be parsed", "kind", kind, "error", err)
		return
	}
	if f.Seq == 0 {
		u.each(func(s *socket) { s.notify(f.Text) })
		return
	}
	u.each(func(s *socket) { s.offer(&f) })
	h.count(u)
}
