package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// handshakes is how many sockets are opened at a time. It is less than the backlog of a
// listener (net.core.somaxconn, 4,096), beyond which clients retry after a second.
const handshakes = 512

var errSilentGateway = errors.New("a socket did not begin with hello")

// A crowd holds the clients of the users 1 to n, with one socket each. Its methods are not
// safe for concurrent use. Drop it when done.
type crowd struct {
	at      endpoint
	base    int64 // the id before that of user 1: 0, save elsewhere
	greeted bool  // the server says hello, as the gateway does

	links   []*link // by user; nil: not open
	seqs    []int64 // the newest frame of each user
	readers sync.WaitGroup
	leaving atomic.Bool // sockets end because we drop them
	failed  chan error  // capacity 1: the first socket that ended by itself
	tally   atomic.Pointer[tally]
	sample  []byte // the last event of user 1; written by that user's reader
}

func newCrowd(c *client, n int, greeted bool) *crowd {
	return &crowd{
		at: c.endpoint(), greeted: greeted,
		links: make([]*link, n), seqs: make([]int64, n), failed: make(chan error, 1),
	}
}

// connect opens the sockets of all users, and returns when all have got their first frame.
// query returns the query of a user's URL.
func (c *crowd) connect(ctx context.Context, query func(user int64) string) error {
	group, ctx := errgroup.WithContext(ctx)
	var last atomic.Int64
	for range min(handshakes, len(c.links)) {
		group.Go(func() error {
			for {
				user := last.Add(1)
				if user > int64(len(c.links)) {
					return nil
				}
				if err := c.connectOne(ctx, user, query(user)); err != nil {
					return fmt.Errorf("socket of user %d: %w", user, err)
				}
			}
		})
	}
	return group.Wait()
}

func (c *crowd) connectOne(ctx context.Context, user int64, query string) error {
	l, err := dialLink(ctx, c.at, query, c.base+user)
	if err != nil {
		return err
	}
	if c.greeted {
		hello, err := l.next()
		if err == nil && !bytes.HasPrefix(hello, helloHead) {
			err = errSilentGateway
		}
		if err != nil {
			l.drop()
			return err
		}
		c.seqs[user-1], _ = digits(hello[len(helloHead):])
	}
	c.links[user-1] = l
	c.readers.Go(func() { c.read(user, l) })
	return nil
}

// receivers is everyone of the crowd.
func (c *crowd) receivers() receivers {
	to := everyone(len(c.links))
	to.base = c.base
	return to
}

// afresh is the query of a socket that does not resume.
func afresh(int64) string { return "" }

// resume is the query of a socket that resumes.
func (c *crowd) resume(user int64) string {
	return "since=" + strconv.FormatInt(c.seqs[user-1], 10)
}

// read records what a user's socket receives until it closes.
func (c *crowd) read(user int64, l *link) {
	for {
		frame, err := l.next()
		if err == nil {
			err = c.note(user, frame)
		}
		if err != nil {
			if !c.leaving.Load() {
				select {
				case c.failed <- fmt.Errorf("socket of user %d: %w", user, err):
				default:
				}
			}
			return
		}
	}
}

func (c *crowd) note(user int64, frame []byte) error {
	switch {
	case bytes.HasPrefix(frame, eventHead):
		now := time.Now()
		n, _, _, ok := number(frame)
		if !ok {
			return fmt.Errorf("an event without a number: %s", frame)
		}
		c.seqs[user-1], _ = digits(frame[len(eventHead):])
		if user == 1 {
			c.sample = append(c.sample[:0], frame...)
		}
		if t := c.tally.Load(); t != nil {
			t.event(user, n, now)
		}
	case bytes.HasPrefix(frame, numbersHead):
		if t := c.tally.Load(); t != nil {
			t.numbers(user)
		}
	case bytes.HasPrefix(frame, resyncHead):
		return fmt.Errorf("the log does not reach back: %s", frame)
	}
	return nil
}

// expect sets the tally of what the sockets receive from now on.
func (c *crowd) expect(first int64, each int, numbers bool) *tally {
	t := newTally(first, len(c.links), each, numbers)
	c.tally.Store(t)
	return t
}

// drop closes all connections at once, and waits for their readers.
func (c *crowd) drop() {
	c.leaving.Store(true)
	for i, l := range c.links {
		if l != nil {
			l.drop()
			c.links[i] = nil
		}
	}
	c.readers.Wait()
	c.leaving.Store(false)
}
