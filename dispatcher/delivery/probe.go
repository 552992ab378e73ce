package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// sync tells Redis what this gateway has seen and judges what all have seen. It returns work
// that asks the provider, if there is any and free is true. The work takes seconds, and needs
// a goroutine of its own.
func (a *app) sync(ctx context.Context, free bool) (work func(context.Context), err error) {
	o, idle := a.take()
	if idle {
		return nil, nil
	}
	s, err := a.observe(ctx, &o)
	if err != nil {
		a.giveBack(&o)
		return nil, err
	}
	work, err = a.judge(ctx, &s, &o, free)
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.circuit == nil && a.observed.refused != "" { // since observe
		s.circuit = a.shared.circuit
	}
	a.showCircuit(a.shared.circuit, s.circuit)
	a.showPauses(s.slowdown)
	a.shared = s
	return work, err
}

// take returns what was seen since the last call. idle is true if there is nothing to tell
// and nothing to wait for.
func (a *app) take() (o observed, idle bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.observed.empty() && a.shared.circuit == nil && a.shared.slowdown.over(a.now()) {
		return o, true
	}
	o, a.observed = a.observed, observed{}
	return o, false
}

// giveBack keeps what could not be told, for the next time.
func (a *app) giveBack(o *observed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := &a.observed
	for to, from := range map[*map[int64]bool]map[int64]bool{
		&now.attempted: o.attempted, &now.blaming: o.blaming, &now.cleared: o.cleared, &now.slowed: o.slowed,
	} {
		for user := range from {
			add(to, user)
		}
	}
	now.accepted = now.accepted || o.accepted
	now.asksProbe, now.asksState = now.asksProbe || o.asksProbe, true
	now.slowProject = now.slowProject || o.slowProject
	now.slowLane, now.slowStarted, now.slowFor = o.slowLane, o.slowStarted, o.slowFor
	if now.refused == "" {
		now.refused = o.refused
	}
	if len(now.seen)+len(o.seen) <= maxKept { // else the shares are what counts, and they stay
		now.seen, now.dead = append(now.seen, o.seen...), append(now.dead, o.dead...)
	}
}

// maxKept is how many devices a gateway keeps for the count of a storm while Redis is away.
const maxKept = 100_000

// judge opens the circuit or slows lanes down where the evidence says so, and returns work
// that asks the provider.
func (a *app) judge(ctx context.Context, s *sharedState, o *observed, free bool) (work func(context.Context), err error) {
	now := a.now()
	switch c := s.circuit; {
	case c == nil && o.refused != "":
		err = a.change(ctx, s, openCircuit(now, o.refused, nil))
	case c == nil && s.evidence.opens(now) && !s.probe:
		// With the lease of a probe, the provider is asked first.
		err = a.change(ctx, s, openCircuit(now, a.newestWhy(), s.evidence.blaming))
	case c == nil && s.probe && free:
		work = a.ask
	case c != nil && !c.Credentials && s.evidence.accepted.UnixMilli() > c.Since:
		err = a.change(ctx, s, nil)
	case c != nil && !c.Credentials && len(c.Users) < min(quorum, len(s.evidence.blaming)):
		more := *c
		more.Users = s.evidence.blaming
		err = a.change(ctx, s, &more)
	case c != nil && free && c.due(now):
		claimed := c.claimed(now)
		if err = a.change(ctx, s, claimed); err == nil && s.circuit == claimed {
			work = func(ctx context.Context) { a.probe(ctx, claimed) }
		}
	}
	if err == nil && (o.slowProject || len(o.slowed) > 0 && s.slowed >= quorum) {
		err = a.slow(ctx, s, o)
	}
	return work, err
}

// change replaces the circuit in Redis; nil closes it. If another gateway was faster, the
// next call of sync reads what it has written.
func (a *app) change(ctx context.Context, s *sharedState, c *circuit) error {
	text := ""
	var evidence []string
	if c == nil {
		evidence = []string{a.keys.blaming(), a.keys.attempted()}
	} else {
		b, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("circuit: %w", err)
		}
		text = string(b)
	}
	swapped, err := a.swap(ctx, a.keys.circuit(), s.circuitText, text, evidence...)
	if err != nil {
		return err
	}
	if !swapped {
		a.askState()
		return nil
	}
	s.circuit, s.circuitText = c, text
	return nil
}

// askState has run read the shared state soon.
func (a *app) askState() {
	a.mu.Lock()
	a.observed.asksState = true
	a.mu.Unlock()
	a.share()
}

// slow pauses a lane, because the provider asks to send less.
func (a *app) slow(ctx context.Context, s *sharedState, o *observed) error {
	next, lane, ok := s.slowdown.slowed(a.now(), o.slowLane, o.slowStarted, o.slowFor)
	if !ok {
		return nil
	}
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("slowdown: %w", err)
	}
	swapped, err := a.swap(ctx, a.keys.slowdown(), s.slowdownText, string(b), a.keys.slowed())
	if err != nil || !swapped {
		return err
	}
	s.slowdown, s.slowdownText = next, string(b)
	p := next.Pauses[lane]
	a.log.Warn("the provider asks to send less: the lane pauses", "platform", a.platform, "lane", lane.String(),
		"for", time.Duration(p.Until-p.Since)*time.Millisecond)
	return nil
}

// ask asks the provider without a device after an answer that leaves open whose fault it is.
// A refusal of our credentials opens the circuit; anything else leaves it to the evidence.
func (a *app) ask(ctx context.Context) {
	if r := a.askProvider(ctx); r.Outcome == push.CredentialsRefused {
		a.mu.Lock()
		a.observed.refused = r.Reason
		a.mu.Unlock()
	}
	a.askState()
}

func (a *app) askProvider(ctx context.Context) push.Result {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return a.sender.Probe(ctx)
}

// probe finds out whether an open circuit may be closed: it asks the provider without a
// device and then, if evidence has opened the circuit, tries a few of the pushes that wait.
func (a *app) probe(ctx context.Context, c *circuit) {
	r := a.askProvider(ctx)
	var next *circuit // nil: closed
	switch {
	case r.Outcome == push.Accepted && c.Credentials:
	case r.Outcome == push.Accepted, r.Outcome == push.Ambiguous && !c.Credentials:
		recognised, tried := a.try(ctx, c)
		switch {
		case recognised:
		case tried:
			next = c.failed(a.now())
		default: // nothing waits: be ready for what comes
			next = c.failed(a.now())
			next.Delay = c.Delay
			next.Probe = a.now().Add(2 * firstProbe).UnixMilli()
		}
	default:
		next = c.failed(a.now())
	}
	a.finishProbe(ctx, c, next)
}

// finishProbe replaces the claimed circuit.
func (a *app) finishProbe(ctx context.Context, c, next *circuit) {
	a.mu.Lock()
	s := a.shared
	a.mu.Unlock()
	if s.circuit == nil || s.circuit.Since != c.Since {
		return // another gateway took over
	}
	if err := a.change(ctx, &s, next); err != nil {
		a.log.Warn("the outcome of a probe cannot be shared between gateways", "platform", a.platform, "error", err)
		return
	}
	a.mu.Lock()
	a.showCircuit(a.shared.circuit, s.circuit)
	a.shared.circuit, a.shared.circuitText = s.circuit, s.circuitText
	a.mu.Unlock()
	a.askState()
}

// newestWhy returns the reason of the newest evidence that this gateway has seen.
func (a *app) newestWhy() push.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	return cmp.Or(a.why, push.ReasonOthers)
}

// try lets a few pushes through a half-open circuit, each to another user; to those who have
// opened it only when there is nobody else. It reports whether one of the answers shows that
// the provider recognises us, and whether any push was tried.
func (a *app) try(ctx context.Context, c *circuit) (recognised, tried bool) {
	t := &trial{circuit: c, left: trials, users: make(map[int64]bool), done: make(chan bool, trials)}
	a.setTrial(t)
	defer a.setTrial(nil)
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if recognised, tried = a.tryFor(ctx, t, othersFirst); tried {
		return recognised, true
	}
	a.mu.Lock()
	t.anyone = true
	a.mu.Unlock()
	return a.tryFor(ctx, t, probeTimeout)
}

func (a *app) setTrial(t *trial) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trial = t
}

// tryFor makes some of the pushes due that wait, and waits for the answers to those that
// were let through: for the first one for a while at most.
func (a *app) tryFor(ctx context.Context, t *trial, first time.Duration) (recognised, tried bool) {
	n, err := a.release(ctx, a.batcher, 2*trials) // some may be to users who are not tried
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("no push can be tried", "platform", a.platform, "error", err)
		}
		return false, false
	}
	timeout := time.NewTimer(first)
	defer timeout.Stop()
	for answers := 0; answers < min(trials, max(n, 1)); answers++ {
		select {
		case recognised := <-t.done:
			if tried = true; recognised {
				return true, true
			}
		case <-timeout.C:
			return false, tried
		case <-ctx.Done():
			return false, tried
		}
	}
	return false, tried
}

// showCircuit logs and shows a circuit that opens or closes. The caller holds mu.
func (a *app) showCircuit(was, is *circuit) {
	gauge := a.metrics.circuit.WithLabelValues(string(a.platform))
	switch {
	case was == nil && is != nil:
		gauge.Set(1)
		a.log.Error("the provider does not accept our pushes: they wait, and single ones are tried",
			"platform", a.platform, "reason", is.Why, "credentials_refused", is.Credentials)
	case was != nil && is == nil:
		gauge.Set(0)
		a.log.Info("the provider accepts our pushes again", "platform", a.platform,
			"after", a.now().Sub(time.UnixMilli(was.Since)).Round(time.Second))
	}
}

// showPauses shows which lanes pause. The caller holds mu.
func (a *app) showPauses(s slowdown) {
	for _, l := range push.Lanes {
		v := 0.0
		if s.wait(l, a.now()) > 0 {
			v = 1
		}
		a.metrics.paused.WithLabelValues(string(a.platform), l.String()).Set(v)
	}
}
