package provider

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// avoidFor is how long other connections are preferred to one that lost a request. It is
	// longer than delivery waits before its first retry.
	avoidFor = 5 * time.Second
	// dialPause is how long no connection is opened after one failed to open, as long as
	// there are others.
	dialPause = time.Second
)

// A limiter bounds the requests in flight and the connections, and chooses the connection
// of each request. Connections are opened ahead of requests and apart from them, so that a
// request never goes onto a connection that is still opening.
type limiter struct {
	perConn, maxConns int
	dial              func(context.Context) (*http.ClientConn, error)
	closed            context.Context
	wake              chan struct{}  // a connection may take more requests
	running           sync.WaitGroup // dials, and run

	// waiters counts the requests in acquire that may have to wait. It is read without mu.
	waiters atomic.Int32

	mu         sync.Mutex
	conns      []*connection // those that take requests
	opening    int           // how many more are being opened
	noDialTill time.Time
	retired    int                // how many retired connections still have requests
	ended      []*http.ClientConn // those that run is to close
	free       int                // how many more requests may be in flight
	waiting    []chan grant       // first come, first served; each has room for one grant
	picks      uint64             // counts the calls of pick
}

// A grant is the end of a wait: a permission, or why no connection could be opened.
type grant struct {
	permission
	err error
}

// A permission lets one request use a connection, on which a stream is reserved for it. It
// must be released.
type permission struct {
	conn    *connection
	answers uint64 // of the connection when the permission was granted
}

// A connResult is what a request showed about its connection.
type connResult uint8

const (
	unused   connResult = iota // no request was made; the reserved stream is given back
	answered                   // the connection works
	refused                    // the provider did not process the request
	gone                       // the same, and the connection takes no more requests
	lost                       // the request got no answer
)

// newLimiter returns a limiter without connections. It opens them with dial when requests
// need them, until closed ends.
func newLimiter(closed context.Context, dial func(context.Context) (*http.ClientConn, error), total, perConn int) *limiter {
	l := &limiter{
		perConn: perConn, maxConns: (total + perConn - 1) / perConn, free: total,
		dial: dial, closed: closed, wake: make(chan struct{}, 1),
	}
	l.running.Go(l.run)
	return l
}

// acquire waits until a request may start. Its error is that of ctx, ErrClosed, or why no
// connection could be opened.
func (l *limiter) acquire(ctx context.Context) (permission, error) {
	if err := ctx.Err(); err != nil {
		return permission{}, err
	}
	l.waiters.Add(1) // before pick, so that notify misses nothing that happens after it
	defer l.waiters.Add(-1)
	l.mu.Lock()
	if l.closed.Err() != nil {
		l.mu.Unlock()
		return permission{}, ErrClosed
	}
	if len(l.waiting) == 0 {
		if p, ok := l.pick(); ok {
			l.mu.Unlock()
			return p, nil
		}
	}
	granted := make(chan grant, 1)
	l.waiting = append(l.waiting, granted)
	l.grow()
	l.mu.Unlock()

	select {
	case g := <-granted:
		return g.permission, g.err
	case <-ctx.Done():
		l.cancel(granted)
		return permission{}, ctx.Err()
	}
}

// cancel removes a waiting request, and releases the permission if one was granted
// meanwhile.
func (l *limiter) cancel(granted chan grant) {
	l.mu.Lock()
	i := slices.Index(l.waiting, granted)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	l.mu.Unlock()
	if i >= 0 {
		return
	}
	if g := <-granted; g.err == nil {
		l.release(g.permission, unused)
	}
}

// release ends a request, notes what it showed about its connection, and starts waiting
// requests.
func (l *limiter) release(p permission, r connResult) {
	if r == unused {
		p.conn.cc.Release()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := p.conn
	c.inFlight--
	l.free++
	switch r {
	case answered:
		c.answers++
	case refused:
		l.avoid(c)
	case gone:
		l.retire(c)
	case lost:
		if c.answers == p.answers {
			l.retire(c) // it may still answer pings, but no requests
		} else {
			l.avoid(c)
		}
	}
	l.closeIfDone(c)
	l.dispatch()
}

// avoid makes others preferred to a connection for a while, and opens one if there is none,
// so that the next attempt does not meet the same fault. The caller holds mu.
func (l *limiter) avoid(c *connection) {
	c.avoidTill = time.Now().Add(avoidFor)
	fit := func(c *connection) bool { return !c.avoided() }
	if l.opening == 0 && l.mayGrow() && !slices.ContainsFunc(l.conns, fit) {
		l.startOpening()
	}
}

// retire keeps new requests from a connection. The caller holds mu and calls closeIfDone.
func (l *limiter) retire(c *connection) {
	if i := slices.Index(l.conns, c); i >= 0 {
		l.conns = slices.Delete(l.conns, i, i+1)
		c.retired = true
		l.retired++
	}
}

// closeIfDone has run close a retired connection that has no requests. The caller holds mu.
func (l *limiter) closeIfDone(c *connection) {
	if c.retired && c.inFlight == 0 {
		l.retired--
		l.ended = append(l.ended, c.cc)
		l.signal()
	}
}

// dispatch starts waiting requests, and opens the connections that the others need. The
// caller holds mu.
func (l *limiter) dispatch() {
	for len(l.waiting) > 0 {
		p, ok := l.pick()
		if !ok {
			break
		}
		l.answerFirst(grant{permission: p})
	}
	l.grow()
}

// answerFirst ends the longest wait. The caller holds mu.
func (l *limiter) answerFirst(g grant) {
	l.waiting[0] <- g
	l.waiting = slices.Delete(l.waiting, 0, 1)
}

// pick chooses the connection with the fewest requests, but prefers any other to one that
// lost a request a moment ago. It retires those that have ended. The caller holds mu.
func (l *limiter) pick() (permission, bool) {
	l.picks++
	for l.free > 0 {
		var best *connection
		for _, c := range l.conns {
			if c.inFlight < c.bound(l.perConn) && c.full != l.picks && (best == nil || c.better(best)) {
				best = c
			}
		}
		switch {
		case best == nil:
			return permission{}, false
		case best.cc.Reserve() == nil:
			best.inFlight++
			l.free--
			return permission{conn: best, answers: best.answers}, true
		case best.ended():
			l.retire(best)
			l.closeIfDone(best)
		default:
			best.full = l.picks
		}
	}
	return permission{}, false
}

// run starts waiting requests when connections report that they take more, and closes
// retired connections. It ends when the pool is closed and has no connection any more.
func (l *limiter) run() {
	for done := false; !done; {
		<-l.wake
		l.mu.Lock()
		l.dispatch()
		ended := l.ended
		l.ended = nil
		done = l.closed.Err() != nil && len(l.conns)+l.retired == 0
		l.mu.Unlock()
		for _, cc := range ended {
			cc.Close() // takes up to 250 ms if the provider is away
		}
	}
}

// notify is the state hook of all connections. It may be called with mu held.
func (l *limiter) notify(*http.ClientConn) {
	if l.waiters.Load() > 0 {
		l.signal()
	}
}

// signal wakes run.
func (l *limiter) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
