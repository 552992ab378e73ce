package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox"
)

// The bus is this process' side of Redis' pub/sub: one line, or on a cluster one
// to each master that has channels of ours.
type bus struct {
	hub   *Hub
	mu    mutex[busLock]
	lines map[string]*line // by address; "" when there is one only
}

// A subscriber opens pub/sub connections.
type subscriber interface {
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
	SSubscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// A line is one pub/sub connection, renewed as needed. Subscriptions that are
// asked for while others are being written go out together.
type line struct {
	hub    *Hub
	client subscriber
	wake   chan struct{} // capacity 1

	mu      mutex[lineLock]
	changes map[string]bool // channel to whether it is to be subscribed
}

const (
	maxChannels = 500 // in one command
	quiet       = 3 * time.Second
	renewFirst  = 20 * time.Millisecond
	renewMost   = time.Second
)

var (
	errSilent = errors.New("the pub/sub connection is silent")
	errMoved  = errors.New("a channel has moved to another node")
)

// line returns the line that carries a channel.
func (b *bus) line(ctx context.Context, channel string) (*line, error) {
	client, address := subscriber(b.hub.Redis), ""
	if cluster, ok := b.hub.Redis.(*redis.ClusterClient); ok && b.hub.Sharded {
		node, err := cluster.MasterForKey(ctx, channel)
		if err != nil {
			return nil, fmt.Errorf("find the master of a channel: %w", err)
		}
		client, address = node, node.Options().Addr
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[address]
	if l == nil {
		l = &line{hub: b.hub, client: client, wake: make(chan struct{}, 1), changes: make(map[string]bool)}
		b.hub.start(l.run)
		b.lines[address] = l
	}
	return l, nil
}

// subscribe sees to it that an audience's channel is subscribed; its confirmation
// closes a.ready.
func (b *bus) subscribe(ctx context.Context, a *audience) error {
	l, err := b.line(ctx, a.channel)
	if err != nil {
		return err
	}
	a.line.Store(l)
	l.change(a.channel, true)
	return nil
}

// await returns when an audience's channel is subscribed, and asks for it where
// nobody has done so.
func (b *bus) await(ctx context.Context, a *audience) error {
	if a.line.Load() == nil {
		if err := b.subscribe(ctx, a); err != nil {
			return err
		}
	}
	select {
	case <-a.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("subscribe: %w", ctx.Err())
	}
}

func (b *bus) unsubscribe(a *audience) {
	if l := a.line.Load(); l != nil {
		l.change(a.channel, false)
	}
}

func (l *line) change(channel string, subscribe bool) {
	l.mu.Lock()
	l.changes[channel] = subscribe
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run keeps the line connected until the hub is over.
func (l *line) run() {
	ctx, cancel := l.hub.context()
	defer cancel()
	delay := renewFirst
	for ctx.Err() == nil {
		start := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		l.hub.metrics.renewals.Inc()
		l.hub.Log.Warn("the pub/sub connection is renewed", "error", err)
		if cluster, ok := l.hub.Redis.(*redis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
		if time.Since(start) > renewMost {
			delay = renewFirst
		}
		pause(ctx, delay+rand.N(delay))
		delay = min(2*delay, renewMost)
	}
}

// session subscribes to what belongs to the line, and hands on what it carries
// until the connection fails.
func (l *line) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	open := l.client.Subscribe
	if l.hub.Sharded {
		open = l.client.SSubscribe
	}
	ps := open(ctx)
	var writer sync.WaitGroup
	defer writer.Wait()
	defer ps.Close()
	defer cancel()
	// A blocked read does not heed the context.
	defer context.AfterFunc(ctx, func() { _ = ps.Close() })()
	if err := l.claim(ctx); err != nil {
		return err
	}
	writer.Go(func() {
		if err := l.write(ctx, ps); err != nil {
			_ = ps.Close() // ends the reader below
		}
	})
	return l.receive(ctx, ps)
}

// claim asks for the channels of the audiences whose line this is, or on a
// cluster hands them to the line that they belong to by now.
func (l *line) claim(ctx context.Context) error {
	for _, a := range l.hub.audiences() {
		if a.line.Load() == l {
			if err := l.hub.bus.subscribe(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// write subscribes and unsubscribes as it is asked to.
func (l *line) write(ctx context.Context, ps *redis.PubSub) error {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		}
		l.mu.Lock()
		changes := l.changes
		l.changes = make(map[string]bool)
		l.mu.Unlock()
		var join, leave []string
		for channel, subscribe := range changes {
			if subscribe {
				join = append(join, channel)
			} else {
				leave = append(leave, channel)
			}
		}
		on, off := ps.Subscribe, ps.Unsubscribe
		if l.hub.Sharded {
			on, off = ps.SSubscribe, ps.SUnsubscribe
		}
		for _, step := range []struct {
			channels []string
			do       func(context.Context, ...string) error
		}{{leave, off}, {join, on}} {
			for _, channels := range l.commands(step.channels) {
				if err := step.do(ctx, channels...); err != nil {
					return fmt.Errorf("subscribe: %w", err)
				}
			}
		}
	}
}

// commands divides channels into commands. Those of sharded pub/sub must not span
// slots.
func (l *line) commands(channels []string) [][]string {
	if !l.hub.Sharded {
		return slices.Collect(slices.Chunk(channels, maxChannels))
	}
	byTag := make(map[string][]string)
	for _, channel := range channels {
		_, tag, _ := strings.Cut(channel, "{")
		tag, _, _ = strings.Cut(tag, "}")
		byTag[tag] = append(byTag[tag], channel)
	}
	var all [][]string
	for _, channels := range byTag {
		all = slices.AppendSeq(all, slices.Chunk(channels, maxChannels))
	}
	return all
}

// receive reads until the connection fails. One that is silent is asked for a sign
// of life.
func (l *line) receive(ctx context.Context, ps *redis.PubSub) error {
	asked := false
	for {
		got, err := ps.ReceiveTimeout(ctx, quiet)
		var network net.Error
		if errors.As(err, &network) && network.Timeout() && ctx.Err() == nil {
			if asked {
				return errSilent
			}
			asked = true
			err = ps.Ping(ctx)
		} else if err == nil {
			asked = false
		}
		if err != nil {
			return err
		}
		switch m := got.(type) {
		case *redis.Message:
			l.hub.deliver(m.Channel, m.Payload)
		case *redis.Subscription:
			if err := l.hub.subscribed(m, l); err != nil {
				return err
			}
		}
	}
}

// subscribed handles Redis' answer to a subscription.
func (h *Hub) subscribed(m *redis.Subscription, l *line) error {
	a := h.find(m.Channel)
	switch m.Kind {
	case "subscribe", "ssubscribe":
		if a != nil && a.confirm() {
			a.each((*socket).renewed)
			h.count(a)
		}
	case "sunsubscribe": // by us, or because the slot went elsewhere
		if a != nil && a.line.Load() == l {
			select {
			case <-a.ready:
				return errMoved
			default:
			}
		}
	}
	return nil
}

// deliver hands what a channel carries to the user's sockets.
func (h *Hub) deliver(channel, payload string) {
	a := h.find(channel)
	if a == nil || a.empty() {
		return
	}
	kind, _, _ := strings.Cut(payload, " ")
	switch kind {
	case kindRevoked:
		if f, err := inbox.ParseFrame(payload); err == nil {
			a.each(func(s *socket) { s.revoke(f.Seq) })
		}
		return
	case kindTyping, kindPresence:
		_, body, _ := strings.Cut(payload, "\n")
		frame := []byte(`{"op":"` + kind + `",` + body + `}`)
		a.each(func(s *socket) { s.notify(frame) })
		return
	case inbox.FrameUnreads:
		h.count(a)
		return
	}
	f, err := h.Dispatcher.ParseFrame(a.user, payload)
	if err != nil {
		h.Log.Error("a frame cannot be read", "kind", kind, "error", err)
		return
	}
	if f.Seq == 0 {
		a.each(func(s *socket) { s.notify(f.Text) })
		return
	}
	a.each(func(s *socket) { s.offer(&f) })
	h.count(a)
}
