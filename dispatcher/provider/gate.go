package provider

import (
	"context"
	"net/http"
	"slices"
	"sync"
)

// A gate decides which connection a request takes, and when. Bounding the
// requests here, and not in the transport, is what keeps a burst from dialling a
// connection for every request that waits.
type gate struct {
	perConn int

	mu      sync.Mutex
	slots   []*slot
	free    int          // requests that may still start in the whole pool
	waiting []chan entry // in order; each takes one entry without blocking
}

// A slot is the place of one connection. The gate's mutex guards it.
type slot struct {
	conn http.RoundTripper

	// open says that the connection answered. Until then it takes one request,
	// the probe: APNs allows a single stream until the first push succeeded, and
	// the dial is worth waiting for before more is staked on it.
	open    bool
	probing bool // the probe is under way
	// round counts the probes, so that a request of an earlier connection tells
	// nothing of this one.
	round    uint64
	inFlight int
}

// An entry is leave for one request, to be given back with gate.leave.
type entry struct {
	slot  *slot
	round uint64
	probe bool
}

// A fate is what became of an entry's request.
type fate uint8

const (
	undecided fate = iota // given up before there was an answer
	answered
	lost // the connection is gone, or takes no more
)

// newGate returns a gate to n slots on which at most total requests are under
// way, and at most perConn on each.
func newGate(conns []http.RoundTripper, total, perConn int) *gate {
	g := &gate{perConn: perConn, free: total}
	for _, c := range conns {
		g.slots = append(g.slots, &slot{conn: c})
	}
	return g
}

// enter waits for a place, at most until ctx ends.
func (g *gate) enter(ctx context.Context) (entry, error) {
	if err := ctx.Err(); err != nil {
		return entry{}, err
	}
	g.mu.Lock()
	if len(g.waiting) == 0 {
		if e, ok := g.pick(); ok {
			g.mu.Unlock()
			return e, nil
		}
	}
	turn := make(chan entry, 1)
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()

	select {
	case e := <-turn:
		return e, nil
	case <-ctx.Done():
		g.cancel(turn)
		return entry{}, ctx.Err()
	}
}

// cancel takes a waiting request out of the queue, or gives its place back if it
// had just been given one.
func (g *gate) cancel(turn chan entry) {
	g.mu.Lock()
	i := slices.Index(g.waiting, turn)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		g.leave(<-turn, undecided)
	}
}

// leave gives a place back, tells what was learned of the connection, and lets
// the next ones in.
func (g *gate) leave(e entry, f fate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := e.slot
	s.inFlight--
	g.free++
	if e.round == s.round {
		switch {
		case f == answered && e.probe:
			s.open, s.probing = true, false
		case f == lost, e.probe:
			s.open, s.probing = false, false
		}
	}
	for len(g.waiting) > 0 {
		next, ok := g.pick()
		if !ok {
			return
		}
		g.waiting[0] <- next
		g.waiting = slices.Delete(g.waiting, 0, 1)
	}
}

// pick takes a place on the least busy open connection. Only when those are full
// does a cold one get its probe, so that there are no more connections than the
// load needs. The caller holds mu.
func (g *gate) pick() (entry, bool) {
	if g.free == 0 {
		return entry{}, false
	}
	var best *slot
	for _, s := range g.slots {
		switch {
		case s.open && s.inFlight < g.perConn:
			if best == nil || !best.open || s.inFlight < best.inFlight {
				best = s
			}
		case !s.open && !s.probing && best == nil:
			best = s
		}
	}
	if best == nil {
		return entry{}, false
	}
	e := entry{slot: best, probe: !best.open}
	if e.probe {
		best.probing = true
		best.round++
	}
	e.round = best.round
	best.inFlight++
	g.free--
	return e, true
}
