package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// A session lasts from one connect of a pubsubConn to its failure.
type session struct {
	conn   *pubsubConn
	redis  *redis.PubSub
	echoes chan string // capacity 1: the last heartbeat channel through which a message came
}

// serve connects once. It subscribes to the channels of this connection, and delivers
// published frames until the connection fails.
func (c *pubsubConn) serve(ctx context.Context, client subscriber) error {
	ctx, cancel := context.WithCancelCause(ctx)
	open := client.Subscribe
	if c.pubsub.sharded {
		open = client.SSubscribe
	}
	s := &session{conn: c, redis: open(ctx), echoes: make(chan string, 1)}
	c.session.Store(s)
	defer c.session.Store(nil)
	var others sync.WaitGroup
	defer others.Wait()
	defer s.redis.Close()
	defer cancel(nil)
	// Only closing the connection interrupts a blocked read.
	defer context.AfterFunc(ctx, func() { _ = s.redis.Close() })()
	c.resubscribe()
	others.Go(func() { cancel(s.write(ctx)) })
	others.Go(func() { cancel(s.beat(ctx)) })
	err := s.receive(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// write sends the requested changes until ctx ends.
func (s *session) write(ctx context.Context) error {
	subscribe, unsubscribe := s.redis.Subscribe, s.redis.Unsubscribe
	if s.conn.pubsub.sharded {
		subscribe, unsubscribe = s.redis.SSubscribe, s.redis.SUnsubscribe
	}
	for {
		select {
		case <-s.conn.wake:
		case <-ctx.Done():
			return nil
		}
		add, remove := s.conn.takeChanges()
		for _, channels := range s.batches(remove) {
			if err := unsubscribe(ctx, channels...); err != nil {
				return fmt.Errorf("unsubscribe: %w", err)
			}
		}
		for _, channels := range s.batches(add) {
			if err := subscribe(ctx, channels...); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
		}
	}
}

// batches splits channels into batches, one for each command. A sharded command
// must not span slots.
func (s *session) batches(channels []string) [][]string {
	if !s.conn.pubsub.sharded {
		return slices.Collect(slices.Chunk(channels, maxChannels))
	}
	byTag := make(map[string][]string)
	for _, channel := range channels {
		tag := slotTag(channel)
		byTag[tag] = append(byTag[tag], channel)
	}
	var all [][]string
	for _, channels := range byTag {
		all = slices.AppendSeq(all, slices.Chunk(channels, maxChannels))
	}
	return all
}

// receive delivers published frames until the connection fails. It pings a silent
// connection, and returns when no answer comes.
func (s *session) receive(ctx context.Context) error {
	pinged := false
	for {
		got, err := s.redis.ReceiveTimeout(ctx, silenceTimeout)
		switch {
		case err == nil:
			pinged = false
			s.handle(got)
		case isTimeout(err) && ctx.Err() == nil && !pinged:
			pinged = true
			if err := s.redis.Ping(ctx); err != nil {
				return err
			}
		case isTimeout(err) && ctx.Err() == nil:
			return errSilent
		case isElsewhere(err): // concerns one command: the other channels still work
			s.conn.pubsub.log.Info("a channel is not at this node", "node", s.conn.address, "error", err)
			s.conn.pubsub.doubt()
		default:
			return err
		}
	}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// isElsewhere reports whether Redis refused a command because another node, or none, has
// the slot of its channels.
func isElsewhere(err error) bool {
	_, moved := redis.IsMovedError(err)
	return moved || redis.IsClusterDownError(err)
}

// handle handles a message from the connection.
func (s *session) handle(got any) {
	switch m := got.(type) {
	case *redis.Message:
		if s.conn.pubsub.isHeartbeat(m.Channel) {
			s.echo(m.Channel)
			return
		}
		s.conn.pubsub.router.deliver(m.Channel, m.Payload)
	case *redis.Subscription:
		s.onSubscription(m)
	}
}

// onSubscription handles Redis' confirmation of a command, or its message that the slot of
// a channel has left the node.
func (s *session) onSubscription(m *redis.Subscription) {
	p := s.conn.pubsub
	if p.isHeartbeat(m.Channel) {
		return
	}
	u := p.users.find(m.Channel)
	if u == nil || u.conn.Load() != s.conn {
		return
	}
	switch m.Kind {
	case "subscribe", "ssubscribe":
		u.heard.Store(s)
		if u.confirm() {
			p.router.renewed(u)
		}
	case "unsubscribe", "sunsubscribe":
		u.heard.CompareAndSwap(s, nil)
		p.doubt()
	}
}
