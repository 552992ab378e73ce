package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A pubsubConn is the pub/sub connection to one master. It reconnects after a failure, and
// ends when it carries no channel. Changes that are requested while a command is being
// written are sent together in the next one.
type pubsubConn struct {
	pubsub  *pubsub
	address string // of the master; "" without a cluster
	context func() context.Context
	cancel  context.CancelFunc
	wake    chan struct{} // capacity 1
	session atomic.Pointer[session]
	silent  atomic.Bool // it is down, or its last heartbeat was lost

	// Guarded by pubsub.mu.
	tags        map[string]int // number of channels that it carries, by slot tag
	unusedSince time.Time      // when the last channel left

	mu      mutex[pubsubConnLock]
	changes map[string]bool // channels that may have to be subscribed or unsubscribed
}

const (
	maxChannels       = 500 // in one command
	silenceTimeout    = 3 * time.Second
	minReconnectDelay = 20 * time.Millisecond
	maxReconnectDelay = time.Second
)

var (
	errSilent = errors.New("the pub/sub connection is silent")
	errDeaf   = errors.New("heartbeats do not come back through the pub/sub connection")
	errMoved  = errors.New("the channels have moved to another node")
	errUnused = errors.New("the pub/sub connection carries no channel")
)

func newPubsubConn(p *pubsub, address string) *pubsubConn {
	ctx, cancel := context.WithCancel(p.goroutines.context())
	return &pubsubConn{
		pubsub: p, address: address, context: func() context.Context { return ctx }, cancel: cancel,
		wake: make(chan struct{}, 1), tags: make(map[string]int), changes: make(map[string]bool),
	}
}

// hold counts a channel that this connection carries from now on. pubsub.mu is held.
func (c *pubsubConn) hold(channel string) {
	tag := slotTag(channel)
	if c.tags[tag]++; c.tags[tag] == 1 {
		c.change(c.pubsub.heartbeatChannel(tag))
	}
}

// release undoes one hold, and drops the channel. pubsub.mu is held.
func (c *pubsubConn) release(channel string) {
	tag := slotTag(channel)
	if c.tags[tag]--; c.tags[tag] == 0 {
		delete(c.tags, tag)
		c.unusedSince = time.Now()
		c.change(c.pubsub.heartbeatChannel(tag))
	}
	c.change(channel)
}

// change requests that a channel is subscribed or unsubscribed. Which of the two is decided
// by carries when the command is sent, so the order of requests does not matter. change
// does not wait.
func (c *pubsubConn) change(channel string) {
	c.mu.Lock()
	c.changes[channel] = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// takeChanges returns the changes that were requested since the last call.
func (c *pubsubConn) takeChanges() (add, remove []string) {
	c.mu.Lock()
	changes := c.changes
	c.changes = make(map[string]bool)
	c.mu.Unlock()
	for channel := range changes {
		if c.carries(channel) {
			add = append(add, channel)
		} else {
			remove = append(remove, channel)
		}
	}
	return add, remove
}

// carries reports whether this connection should be subscribed to a channel.
func (c *pubsubConn) carries(channel string) bool {
	if !c.pubsub.isHeartbeat(channel) {
		u := c.pubsub.users.find(channel)
		return u != nil && u.conn.Load() == c
	}
	c.pubsub.mu.Lock()
	defer c.pubsub.mu.Unlock()
	return c.tags[slotTag(channel)] > 0
}

// resubscribe requests all channels of this connection again.
func (c *pubsubConn) resubscribe() {
	for users := range c.pubsub.users.byShard() {
		for _, u := range users {
			if u.conn.Load() == c {
				c.change(u.channel)
			}
		}
	}
	for _, tag := range c.slotTags() {
		c.change(c.pubsub.heartbeatChannel(tag))
	}
}

// slotTags returns the slot tags of this connection's channels, in order.
func (c *pubsubConn) slotTags() []string {
	c.pubsub.mu.Lock()
	defer c.pubsub.mu.Unlock()
	tags := make([]string, 0, len(c.tags))
	for tag := range c.tags {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return tags
}

// run connects, and reconnects after failures, until the connection carries no channel or
// the hub ends.
func (c *pubsubConn) run() {
	defer c.cancel()
	ctx := c.context()
	delay := minReconnectDelay
	for {
		start := time.Now()
		client, err := c.locate(ctx)
		if err == nil {
			err = c.serve(ctx, client)
		}
		if ctx.Err() != nil {
			return
		}
		c.silent.Store(true)
		c.pubsub.metrics.renewals.WithLabelValues(renewalReason(err)).Inc()
		c.pubsub.log.Warn("the pub/sub connection has failed: reconnecting", "error", err)
		c.pubsub.reload(ctx)
		if time.Since(start) > maxReconnectDelay {
			delay = minReconnectDelay
		}
		rdb.Sleep(ctx, delay+rand.N(delay))
		delay = min(2*delay, maxReconnectDelay)
	}
}

// locate returns a client of the master. Before that it moves channels whose master has
// changed to other connections. If no channel is left, this connection ends.
func (c *pubsubConn) locate(ctx context.Context) (subscriber, error) {
	c.pubsub.check(ctx)
	tag, ok := c.tagOrEnd()
	if !ok {
		return nil, errUnused
	}
	client, address, err := c.pubsub.master(ctx, tag)
	if err != nil {
		return nil, err
	}
	if address != c.address {
		return nil, fmt.Errorf("%w, %s", errMoved, address)
	}
	return client, nil
}

// tagOrEnd returns a slot tag of this connection's channels. If there is none, it ends
// the connection.
func (c *pubsubConn) tagOrEnd() (tag string, ok bool) {
	c.pubsub.mu.Lock()
	defer c.pubsub.mu.Unlock()
	for tag := range c.tags {
		return tag, true
	}
	c.pubsub.end(c)
	return "", false
}

// renewalReason returns the reason label of kabar_live_bus_renewals_total.
func renewalReason(err error) string {
	switch {
	case errors.Is(err, errSilent):
		return "silent"
	case errors.Is(err, errDeaf):
		return "deaf"
	case errors.Is(err, errMoved):
		return "moved"
	default:
		return "lost"
	}
}
