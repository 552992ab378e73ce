package provider

import (
	"context"
	"net/http"
	"slices"
	"sync"
)

// A limiter bounds the requests in flight and chooses the connection of each. It does so
// ahead of the transports: a transport would dial a connection for every waiting request.
type limiter struct {
	perConn int

	mu      sync.Mutex
	slots   []*slot
	free    int               // how many more requests the pool may have in flight
	waiting []chan permission // first come, first served; each has room for one permission
}

// A slot is one connection of the pool. The limiter's mutex guards it.
type slot struct {
	conn http.RoundTripper

	// open is true once the connection has answered. Until then it carries a single
	// request, the probe: APNs allows one stream until the first push succeeded, and
	// requests should not depend on a connection that may fail to open.
	open    bool
	probing bool // the probe is in flight
	// generation counts the probes. The result of a request says nothing about the
	// connection when a newer probe has started since.
	generation uint64
	inFlight   int
}

// A permission lets one request use a slot's connection. It must be released.
type permission struct {
	slot       *slot
	generation uint64
	probe      bool
}

// A connResult is what a request showed about its connection.
type connResult uint8

const (
	unknown  connResult = iota // the request was given up before there was an answer
	answered                   // the connection works
	lost                       // the connection is closed, or takes no more requests
)

// newLimiter returns a limiter with one slot for each of conns, which allows total
// requests in flight, and perConn on each connection.
func newLimiter(conns []http.RoundTripper, total, perConn int) *limiter {
	l := &limiter{perConn: perConn, free: total}
	for _, c := range conns {
		l.slots = append(l.slots, &slot{conn: c})
	}
	return l
}

// acquire waits until a request may start. Its error is that of ctx.
func (l *limiter) acquire(ctx context.Context) (permission, error) {
	if err := ctx.Err(); err != nil {
		return permission{}, err
	}
	l.mu.Lock()
	if len(l.waiting) == 0 {
		if p, ok := l.pick(); ok {
			l.mu.Unlock()
			return p, nil
		}
	}
	granted := make(chan permission, 1)
	l.waiting = append(l.waiting, granted)
	l.mu.Unlock()

	select {
	case p := <-granted:
		return p, nil
	case <-ctx.Done():
		l.cancel(granted)
		return permission{}, ctx.Err()
	}
}

// cancel removes a waiting request, and releases the permission if one was granted
// meanwhile.
func (l *limiter) cancel(granted chan permission) {
	l.mu.Lock()
	i := slices.Index(l.waiting, granted)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	l.mu.Unlock()
	if i < 0 {
		l.release(<-granted, unknown)
	}
}

// release ends a request, notes what it showed about its connection, and starts waiting
// requests.
func (l *limiter) release(p permission, r connResult) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := p.slot
	s.inFlight--
	l.free++
	if p.generation == s.generation {
		switch {
		case r == answered && p.probe:
			s.open, s.probing = true, false
		case r == lost, p.probe:
			s.open, s.probing = false, false
		}
	}
	for len(l.waiting) > 0 {
		next, ok := l.pick()
		if !ok {
			return
		}
		l.waiting[0] <- next
		l.waiting = slices.Delete(l.waiting, 0, 1)
	}
}

// pick chooses the open connection with the fewest requests. It probes another one only
// when the open ones are full, so that there are no more connections than the load
// needs. The caller holds mu.
func (l *limiter) pick() (permission, bool) {
	if l.free == 0 {
		return permission{}, false
	}
	var best *slot
	for _, s := range l.slots {
		switch {
		case s.open && s.inFlight < l.perConn:
			if best == nil || !best.open || s.inFlight < best.inFlight {
				best = s
			}
		case !s.open && !s.probing && best == nil:
			best = s
		}
	}
	if best == nil {
		return permission{}, false
	}
	p := permission{slot: best, probe: !best.open}
	if p.probe {
		best.probing = true
		best.generation++
	}
	p.generation = best.generation
	best.inFlight++
	l.free--
	return p, true
}
