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

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A pubsubConn is one pub/sub connection. It reconnects when it fails. Changes that
// are requested while a command is being written are sent together in the next one.
type pubsubConn struct {
	pubsub *pubsub
	client subscriber
	wake   chan struct{} // capacity 1

	mu      mutex[pubsubConnLock]
	changes map[string]bool // by channel: true subscribes, false unsubscribes
}

const (
	maxChannels       = 500 // in one command
	silenceTimeout    = 3 * time.Second
	minReconnectDelay = 20 * time.Millisecond
	maxReconnectDelay = time.Second
)

var (
	errSilent = errors.New("the pub/sub connection is silent")
	errMoved  = errors.New("a channel has moved to another node")
)

// change requests that a channel is subscribed or unsubscribed. It does not wait.
func (c *pubsubConn) change(channel string, subscribe bool) {
	c.mu.Lock()
	c.changes[channel] = subscribe
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run connects, and reconnects after failures, until the hub is done.
func (c *pubsubConn) run() {
	ctx := c.pubsub.goroutines.context()
	delay := minReconnectDelay
	for ctx.Err() == nil {
		start := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		c.pubsub.renewals.Inc()
		c.pubsub.log.Warn("the pub/sub connection has failed: reconnecting", "error", err)
		if cluster, ok := c.pubsub.redis.(*redis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
		if time.Since(start) > maxReconnectDelay {
			delay = minReconnectDelay
		}
		rdb.Sleep(ctx, delay+rand.N(delay))
		delay = min(2*delay, maxReconnectDelay)
	}
}

// session connects once. It subscribes to the channels of this connection, and
// delivers what is published until the connection fails.
func (c *pubsubConn) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	open := c.client.Subscribe
	if c.pubsub.sharded {
		open = c.client.SSubscribe
	}
	ps := open(ctx)
	var writer sync.WaitGroup
	defer writer.Wait()
	defer ps.Close()
	defer cancel()
	// Only closing the connection ends a blocked read.
	defer context.AfterFunc(ctx, func() { _ = ps.Close() })()
	if err := c.resubscribe(ctx); err != nil {
		return err
	}
	writer.Go(func() {
		if err := c.write(ctx, ps); err != nil {
			if ctx.Err() == nil {
				c.pubsub.log.Warn("channels cannot be subscribed", "error", err)
			}
			_ = ps.Close() // ends receive below
		}
	})
	return c.receive(ctx, ps)
}

// resubscribe requests the channels of the users that use this connection. On a
// cluster, a channel whose slot has moved is requested from its new master instead.
func (c *pubsubConn) resubscribe(ctx context.Context) error {
	for _, u := range c.pubsub.users.all() {
		if u.conn.Load() == c {
			if err := c.pubsub.subscribe(ctx, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// write sends the requested changes until ctx ends.
func (c *pubsubConn) write(ctx context.Context, ps *redis.PubSub) error {
	subscribe, unsubscribe := ps.Subscribe, ps.Unsubscribe
	if c.pubsub.sharded {
		subscribe, unsubscribe = ps.SSubscribe, ps.SUnsubscribe
	}
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
		add, remove := c.takeChanges()
		for _, channels := range c.batches(remove) {
			if err := unsubscribe(ctx, channels...); err != nil {
				return fmt.Errorf("unsubscribe: %w", err)
			}
		}
		for _, channels := range c.batches(add) {
			if err := subscribe(ctx, channels...); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
		}
	}
}

// takeChanges returns the changes that were requested since the last call.
func (c *pubsubConn) takeChanges() (add, remove []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel, subscribe := range c.changes {
		if subscribe {
			add = append(add, channel)
		} else {
			remove = append(remove, channel)
		}
	}
	c.changes = make(map[string]bool)
	return add, remove
}

// batches splits channels into batches, one for each command. A sharded command
// must not span slots.
func (c *pubsubConn) batches(channels []string) [][]string {
	if !c.pubsub.sharded {
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

// receive delivers what is published until the connection fails. It pings a
// connection that is silent, and gives up when no answer comes.
func (c *pubsubConn) receive(ctx context.Context, ps *redis.PubSub) error {
	pinged := false
	for {
		got, err := ps.ReceiveTimeout(ctx, silenceTimeout)
		var network net.Error
		if errors.As(err, &network) && network.Timeout() && ctx.Err() == nil {
			if pinged {
				return errSilent
			}
			pinged = true
			err = ps.Ping(ctx)
		} else if err == nil {
			pinged = false
		}
		if err != nil {
			return err
		}
		switch m := got.(type) {
		case *redis.Message:
			c.pubsub.router.deliver(m.Channel, m.Payload)
		case *redis.Subscription:
			if err := c.onSubscription(m); err != nil {
				return err
			}
		}
	}
}

// onSubscription handles Redis' confirmation of a command.
func (c *pubsubConn) onSubscription(m *redis.Subscription) error {
	u := c.pubsub.users.find(m.Channel)
	switch m.Kind {
	case "subscribe", "ssubscribe":
		if u != nil && u.confirm() {
			c.pubsub.router.renewed(u)
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
