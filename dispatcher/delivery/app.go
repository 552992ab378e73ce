package delivery

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// An app is one app and environment at its provider (a route), with all that decides whether
// pushes to it may be attempted now. Gateways share the state through Redis: run tells Redis once
// a second at most what this gateway has seen, and at once what may open or close the
// circuit. It is safe for concurrent use.
type app struct {
	route   push.Route
	sender  push.Sender
	release func(ctx context.Context, b *rdb.Batcher, n int) (int, error) // makes waiting pushes due, for trials
	keys    appKeys
	batcher *rdb.Batcher
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	reach   *reach
	storms  stormCount
	kick    chan struct{} // has room for one: run shares at once

	mu       sync.Mutex
	observed observed
	shared   sharedState
	syncs    int64                // with Redis
	ahead    time.Duration        // Redis' clock minus this process'
	why      push.Reason          // of the newest evidence
	accepted bool                 // some push was accepted, as far as this process knows
	opened   bool                 // this gateway has opened the circuit: its credentials were refused
	differs  time.Time            // when others were accepted with credentials that this gateway lacks
	vouched  time.Time            // when a probe of this gateway was accepted, after its credentials were refused
	second   int64                // of sent
	sent     [len(push.Lanes)]int // attempts in this second
}

// newApp returns an app. Run must run, so that gateways share what they see.
func newApp(w *Workers, route push.Route, sender push.Sender) *app {
	name := route.String()
	w.metrics.circuit.WithLabelValues(of(route)...).Set(0)
	w.metrics.storm.WithLabelValues(of(route)...).Set(0)
	for _, l := range push.Lanes {
		w.metrics.paused.WithLabelValues(of(route, l.String())...).Set(0)
	}
	return &app{
		route: route, sender: sender, keys: appKeys{w.Partitions, name}, batcher: rdb.NewBatcher(w.Redis, 0),
		release: func(ctx context.Context, b *rdb.Batcher, n int) (int, error) {
			return w.Outbox.Release(ctx, b, name, n)
		},
		log: w.Log.With("", route), now: w.Now, metrics: w.metrics, reach: newReach(w.metrics, route), kick: make(chan struct{}, 1),
	}
}

// An admission is what admit has decided.
type admission struct {
	wait   time.Duration // 0: attempt it now
	reason push.Reason
}

// admit reports whether a push may be attempted now. released says that it has waited for
// the circuit: a gateway that probes, or knows that the circuit is closed, has made it due.
func (a *app) admit(l push.Lane, user int64, released bool) admission {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	if c := a.shared.circuit; c != nil {
		if released && c.tries(user) || c.contestable(user) {
			return admission{}
		}
		return admission{wait: maxProbe, reason: push.ReasonCircuitOpen}
	}
	if wait := a.shared.slowdown.wait(l, now); wait > 0 {
		return admission{wait: wait + rand.N(reopenFor), reason: push.ReasonSlowedDown}
	}
	if n, limited := a.shared.slowdown.allowance(l, now); limited {
		if second := now.Unix(); a.second != second {
			a.second, a.sent = second, [len(push.Lanes)]int{}
		}
		if a.sent[l] >= n {
			return admission{wait: time.Second + rand.N(reopenFor), reason: push.ReasonSlowedDown}
		}
		a.sent[l]++
	}
	return admission{}
}

// open reports whether the circuit is open.
func (a *app) open() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shared.circuit != nil
}

// An attempt is a push that was attempted.
type attempt struct {
	lane    push.Lane
	user    int64
	device  devices.Device
	started time.Time // by this process' clock
	silent  bool      // the answer shows nothing but that the provider answers
}

// clock returns the time by Redis' clock, which all gateways share. The caller holds mu.
func (a *app) clock() time.Time { return a.now().Add(a.ahead) }

// report notes the answer to an attempt.
func (a *app) report(t attempt, r *push.Result) {
	a.reach.note(a.now(), r)
	if t.silent {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	o := &a.observed
	if len(o.attempted) < maxAttempted {
		add(&o.attempted, t.user)
	}
	current := isCurrent(t.device, a.clock(), a.shared.since)
	known, anyAccepted := wasAccepted(t.device, a.shared.since), a.accepted
	if current {
		addDevice(&o.seen, t.device.ID)
		if r.Outcome == push.DeadToken {
			addDevice(&o.dead, t.device.ID)
		}
	}
	urgent := false
	switch {
	case r.Outcome == push.Accepted:
		o.accepted, a.accepted = true, true
		delete(o.blaming, t.user)
		if len(a.shared.evidence.blaming) > 0 {
			add(&o.cleared, t.user)
		}
	case r.Outcome == push.CredentialsRefused:
		urgent = a.noteRefused(r.Reason, false)
	case r.Outcome == push.SlowDown && r.Scope != push.ScopeDevice:
		urgent = a.noteSlow(t, r)
	case blames(r, known, anyAccepted):
		add(&o.blaming, t.user)
		a.why, o.asksProbe, urgent = r.Reason, true, true
	}
	if recognises(r) {
		o.recognised = true
		urgent = urgent || a.shared.circuit != nil
	}
	if urgent {
		a.share()
	}
}

// doubtFor is how long a refusal of our credentials does not open the circuit alone, after
// others' were accepted, or a probe with ours.
const doubtFor = 10 * time.Minute

// noteRefused notes that our credentials were refused; probed says that a probe was, not a
// push. It reports whether to share that at once. The caller holds mu.
func (a *app) noteRefused(reason push.Reason, probed bool) bool {
	switch now := a.clock(); {
	case now.Sub(a.differs) < doubtFor:
		return false
	case now.Sub(a.vouched) < doubtFor && !probed: // a single token, perhaps
		a.observed.asksProbe = true
		return true
	}
	a.observed.refused = reason
	if a.shared.circuit == nil { // before Redis knows, so that no more pushes try
		a.shared.circuit, a.opened = openCircuit(a.clock(), reason, nil), true
		a.showCircuit(nil, a.shared.circuit)
	}
	return true
}

// noteSlow notes an answer that asks to slow down, unless the lane pauses since the push was
// sent. It reports whether to share it at once. The caller holds mu.
func (a *app) noteSlow(t attempt, r *push.Result) bool {
	started := t.started.Add(a.ahead)
	if started.UnixMilli() <= a.shared.slowdown.Pauses[push.Bulk].Since {
		return false
	}
	o := &a.observed
	add(&o.slowed, t.user)
	o.slowLane, o.slowStarted, o.slowFor = t.lane, started, r.RetryAfter
	o.slowProject = o.slowProject || r.Scope == push.ScopeProject
	return true
}

// share wakes run.
func (a *app) share() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

const (
	shareEvery = time.Second
	watchEvery = 250 * time.Millisecond // while the circuit is open
	minPause   = 20 * time.Millisecond  // between two calls to Redis
)

// run shares what this gateway sees, and probes the provider while the circuit is open,
// until ctx ends.
func (a *app) run(ctx context.Context) {
	var probing sync.WaitGroup
	defer probing.Wait()
	busy := make(chan struct{}, 1) // one probe at a time
	failing := false
	for {
		work, err := a.sync(ctx, len(busy) == 0)
		if err != nil && !failing && ctx.Err() == nil {
			a.log.Warn("the state of a provider cannot be shared between gateways", "error", err)
		}
		failing = err != nil
		if work != nil {
			select {
			case busy <- struct{}{}:
				probing.Go(func() { work(ctx); <-busy; a.share() })
			default:
			}
		}
		a.watchStorm(ctx)
		a.reach.log(a.log, a.now())
		if !rdb.Sleep(ctx, minPause) {
			return
		}
		every := shareEvery
		if a.open() {
			every = watchEvery
		}
		timer := time.NewTimer(every)
		select {
		case <-a.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// openSince returns when the circuit opened, in ms, and why; 0 if it is closed.
func (a *app) openSince() (since int64, why push.Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.shared.circuit; c != nil {
		return c.Since, c.Why
	}
	return 0, ""
}
