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

// An app is one app and environment at its provider, with all that decides whether pushes
// to it may be attempted now. Gateways share the state through Redis: run tells Redis once
// a second at most what this gateway has seen, and at once what may open or close the
// circuit. It is safe for concurrent use.
type app struct {
	platform devices.Platform
	sender   push.Sender
	release  func(ctx context.Context, b *rdb.Batcher, n int) (int, error) // makes waiting pushes due, for trials
	keys     appKeys
	batcher  *rdb.Batcher
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics
	reach    *reach
	storms   stormCount
	kick     chan struct{} // has room for one: run shares at once

	mu       sync.Mutex
	observed observed
	shared   sharedState
	why      push.Reason          // of the newest evidence
	trial    *trial               // nil unless this gateway tries pushes for a half-open circuit
	second   int64                // of sent
	sent     [len(push.Lanes)]int // attempts in this second
}

// newApp returns an app. Run must run, so that gateways share what they see.
func newApp(w *Workers, platform devices.Platform, sender push.Sender) *app {
	name := string(platform)
	w.metrics.circuit.WithLabelValues(name).Set(0)
	w.metrics.storm.WithLabelValues(name).Set(0)
	for _, l := range push.Lanes {
		w.metrics.paused.WithLabelValues(name, l.String()).Set(0)
	}
	return &app{
		platform: platform, sender: sender, keys: appKeys{w.Partitions, name}, batcher: rdb.NewBatcher(w.Redis, 0),
		release: func(ctx context.Context, b *rdb.Batcher, n int) (int, error) {
			return w.Outbox.Release(ctx, b, name, n)
		},
		log: w.Log, now: w.Now, metrics: w.metrics, reach: newReach(w.metrics, name), kick: make(chan struct{}, 1),
	}
}

// A trial lets a few pushes through a half-open circuit, each to another user.
type trial struct {
	circuit *circuit
	anyone  bool // also those who have opened it
	left    int
	users   map[int64]bool
	done    chan bool // receives whether the provider recognised us; has room for all
}

// An admission is what admit has decided.
type admission struct {
	wait   time.Duration // 0: attempt it now
	reason push.Reason
	open   *circuit // the open circuit that it waits for
	trial  *trial   // it is tried for a half-open circuit
}

// admit reports whether a push may be attempted now.
func (a *app) admit(l push.Lane, user int64) admission {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if c := a.shared.circuit; c != nil {
		t := a.trial
		switch {
		case t != nil && t.left > 0 && !t.users[user] && (t.anyone || !t.circuit.excludes(user)):
			t.left--
			t.users[user] = true
			return admission{trial: t}
		case c.contestable(user):
			return admission{}
		}
		return admission{wait: maxProbe, reason: push.ReasonCircuitOpen, open: c}
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
	started time.Time
	trial   *trial
}

// report notes the answer to an attempt.
func (a *app) report(t attempt, r *push.Result) {
	a.reach.note(a.now(), r)
	a.mu.Lock()
	defer a.mu.Unlock()
	o := &a.observed
	if len(o.attempted) < maxAttempted {
		add(&o.attempted, t.user)
	}
	current := isCurrent(t.device, a.now(), a.shared.since)
	known, anyAccepted := current || t.device.AcceptedDay != 0, o.accepted || !a.shared.evidence.accepted.IsZero()
	if current {
		o.seen = append(o.seen, t.device.ID)
		if r.Outcome == push.DeadToken {
			o.dead = append(o.dead, t.device.ID)
		}
	}
	urgent := false
	switch {
	case r.Outcome == push.Accepted:
		o.accepted = true
		delete(o.blaming, t.user)
		if len(a.shared.evidence.blaming) > 0 {
			add(&o.cleared, t.user)
		}
	case r.Outcome == push.CredentialsRefused:
		o.refused = r.Reason
		if a.shared.circuit == nil { // before Redis knows, so that no more pushes try
			a.shared.circuit = openCircuit(a.now(), r.Reason, nil)
			a.showCircuit(nil, a.shared.circuit)
		}
		urgent = true
	case r.Outcome == push.SlowDown && r.Scope != push.ScopeDevice:
		urgent = a.noteSlow(t, r)
	case blames(r, known, anyAccepted):
		add(&o.blaming, t.user)
		a.why, o.asksProbe, urgent = r.Reason, true, true
	}
	if t.trial != nil {
		t.trial.done <- recognises(r)
	}
	if urgent {
		a.share()
	}
}

// noteSlow notes an answer that asks to slow down, unless the lane pauses since the push was
// sent. It reports whether to share it at once. The caller holds mu.
func (a *app) noteSlow(t attempt, r *push.Result) bool {
	if t.started.UnixMilli() <= a.shared.slowdown.Pauses[push.Bulk].Since {
		return false
	}
	o := &a.observed
	add(&o.slowed, t.user)
	o.slowLane, o.slowStarted, o.slowFor = t.lane, t.started, r.RetryAfter
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
	minPause   = 20 * time.Millisecond // between two calls to Redis
)

// run shares what this gateway sees, and probes the provider while the circuit is open,
// until ctx ends.
func (a *app) run(ctx context.Context) {
	var probing sync.WaitGroup
	defer probing.Wait()
	busy := make(chan struct{}, 1) // one probe at a time
	failing := false
	a.mu.Lock()
	a.observed.asksState = true
	a.mu.Unlock()
	for {
		work, err := a.sync(ctx, len(busy) == 0)
		if err != nil && !failing && ctx.Err() == nil {
			a.log.Warn("the state of a provider cannot be shared between gateways", "platform", a.platform, "error", err)
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
		a.reach.log(a.log, a.now(), a.platform)
		if !rdb.Sleep(ctx, minPause) {
			return
		}
		timer := time.NewTimer(shareEvery)
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
