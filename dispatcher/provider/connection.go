package provider

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"
)

// A connection is an open connection of the pool. The limiter's mutex guards it.
type connection struct {
	cc       *http.ClientConn
	inFlight int
	// answers counts the requests that were answered. Until there is one, the connection
	// carries a single request: APNs allows one stream until the first push succeeded, and
	// many requests should not depend on a connection that may not work.
	answers   uint64
	retired   bool      // it takes no more requests
	avoidTill time.Time // others are preferred until then; zero if it lost no request
	full      uint64    // the pick that found no free stream
}

// bound returns how many requests the connection may carry.
func (c *connection) bound(perConn int) int {
	if c.answers == 0 {
		return 1
	}
	return perConn
}

// ended reports whether a connection on which no stream could be reserved is closed or got a
// GOAWAY. Otherwise the provider allows no more streams than the connection has; while it
// has some, a connection with a GOAWAY looks the same, and closes after the last of them.
func (c *connection) ended() bool {
	return c.cc.Err() != nil || c.cc.InFlight() == 0 && c.cc.Available() == 0
}

// avoided reports whether the connection lost a request a moment ago.
func (c *connection) avoided() bool {
	if c.avoidTill.IsZero() {
		return false
	}
	if time.Now().Before(c.avoidTill) {
		return true
	}
	c.avoidTill = time.Time{}
	return false
}

// better reports whether c should take a request rather than other.
func (c *connection) better(other *connection) bool {
	if a, b := c.avoided(), other.avoided(); a != b {
		return b
	}
	return c.inFlight < other.inFlight
}

// mayGrow reports whether another connection may be opened. The caller holds mu.
func (l *limiter) mayGrow() bool {
	return len(l.conns)+l.opening < l.maxConns && l.closed.Err() == nil &&
		(len(l.conns) == 0 || !time.Now().Before(l.noDialTill))
}

// grow opens connections for the waiting requests. The caller holds mu.
func (l *limiter) grow() {
	for l.opening < min(len(l.waiting), l.free) && l.mayGrow() {
		l.startOpening()
	}
}

// startOpening opens a connection in the background. The caller holds mu.
func (l *limiter) startOpening() {
	l.opening++
	l.running.Go(func() { l.open() })
}

// open opens a connection and starts the requests that wait for it. If that fails and there
// is no other connection, it ends the longest wait with the error.
func (l *limiter) open() error {
	cc, err := l.dial(l.closed)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opening--
	if err == nil {
		c := &connection{cc: cc}
		l.conns = append(l.conns, c)
		cc.SetStateHook(l.notify)
		if l.closed.Err() != nil {
			l.retire(c)
			l.closeIfDone(c)
		} else if c.ended() {
			err = errUnprocessed // the provider has closed it at once
			l.retire(c)
			l.closeIfDone(c)
		}
	}
	if l.closed.Err() != nil {
		return ErrClosed
	}
	if err != nil {
		l.noDialTill = time.Now().Add(dialPause)
		if len(l.waiting) > 0 && len(l.conns) == 0 {
			l.answerFirst(grant{err: err})
		}
	}
	l.dispatch()
	return err
}

// warm opens all connections and waits for them until ctx ends. Its error joins those of the
// connections that could not be opened.
func (l *limiter) warm(ctx context.Context) error {
	l.mu.Lock()
	errs := make(chan error, l.maxConns)
	dials := 0
	for l.mayGrow() {
		l.opening++
		dials++
		l.running.Go(func() { errs <- l.open() })
	}
	l.mu.Unlock()
	var err error
	for range dials {
		select {
		case e := <-errs:
			err = errors.Join(err, e)
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
	return err
}

// close ends all waits, and all connections when their requests have ended. It waits for
// that. The pool's context has ended before.
func (l *limiter) close() {
	l.mu.Lock()
	for len(l.waiting) > 0 {
		l.answerFirst(grant{err: ErrClosed})
	}
	for _, c := range slices.Clone(l.conns) {
		l.retire(c)
		l.closeIfDone(c)
	}
	l.mu.Unlock()
	l.signal()
	l.running.Wait()
}
