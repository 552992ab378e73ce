package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// sync tells Redis what this gateway has seen and judges what all have seen. It returns work
// that asks the provider, if there is any and free is true. The work takes seconds, and needs
// a goroutine of its own.
func (a *app) sync(ctx context.Context, free bool) (work func(context.Context), err error) {
	a.mu.Lock()
	o := a.observed
	a.observed = observed{asksProbe: o.asksProbe && !free}
	a.mu.Unlock()
	o.asksProbe = o.asksProbe && free
	s, err := a.observe(ctx, &o)
	if err == nil {
		a.mu.Lock()
		a.ahead, a.syncs = s.now.Sub(a.now()), a.syncs+1
		a.mu.Unlock()
		work, err = a.judge(ctx, &s, &o, free)
	}
	if err != nil {
		a.giveBack(&o)
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.circuit == nil && a.observed.refused != "" { // since observe
		s.circuit = a.shared.circuit
	}
	a.showCircuit(a.shared.circuit, s.circuit)
	a.showPauses(s.slowdown)
	a.shared, a.accepted = s, a.accepted || !s.evidence.accepted.IsZero()
	return work, nil
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
	now.accepted, now.recognised = now.accepted || o.accepted, now.recognised || o.recognised
	now.asksProbe = now.asksProbe || o.asksProbe
	now.slowProject = now.slowProject || o.slowProject
	if o.slowStarted.After(now.slowStarted) {
		now.slowLane, now.slowStarted, now.slowFor = o.slowLane, o.slowStarted, o.slowFor
	}
	if now.refused == "" {
		now.refused = o.refused
	}
	for to, from := range map[*map[string]bool]map[string]bool{&now.seen: o.seen, &now.dead: o.dead} {
		for device := range from {
			addDevice(to, device)
		}
	}
}

// judge opens the circuit or slows lanes down where the evidence says so, and returns work
// that asks the provider.
func (a *app) judge(ctx context.Context, s *sharedState, o *observed, free bool) (work func(context.Context), err error) {
	now := s.now
	switch c := s.circuit; {
	case c == nil && o.refused != "":
		err = a.change(ctx, s, openCircuit(now, o.refused, nil))
	case c == nil && s.evidence.opens(now) && !s.probe:
		// With the lease of a probe, the provider is asked first.
		err = a.change(ctx, s, openCircuit(now, a.newestWhy(), s.evidence.blaming))
	case c == nil && s.probe && free:
		work = a.ask
	case c != nil && !c.Credentials && s.recognised.UnixMilli() > c.Since:
		err = a.change(ctx, s, nil)
	case c != nil && !c.Credentials && len(c.Users) < min(quorum, len(s.evidence.blaming)):
		more := *c
		more.Users = s.evidence.blaming
		err = a.change(ctx, s, &more)
	case c != nil && free && c.due(now.Add(-a.defers())):
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
		a.share()
		return nil
	}
	s.circuit, s.circuitText = c, text
	return nil
}

// slow pauses a lane.
func (a *app) slow(ctx context.Context, s *sharedState, o *observed) error {
	next, lane, ok := s.slowdown.slowed(s.now, o.slowLane, o.slowStarted, o.slowFor)
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
	a.log.Warn("the provider asks to send less: the lane pauses", "lane", lane.String(),
		"for", time.Duration(p.Until-p.Since)*time.Millisecond)
	return nil
}

// ask asks the provider without a device after an answer that leaves open whose fault it is.
// A refusal of our credentials opens the circuit; anything else leaves it to the evidence.
func (a *app) ask(ctx context.Context) {
	if r := a.askProvider(ctx); r.Outcome == push.CredentialsRefused {
		a.mu.Lock()
		a.noteRefused(r.Reason, true)
		a.mu.Unlock()
	}
}

func (a *app) askProvider(ctx context.Context) push.Result {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return a.sender.Probe(ctx)
}

// probe finds out whether an open circuit may be closed: it asks the provider without a
// device and then, if evidence has opened the circuit, makes a few of the pushes due that
// wait. Any gateway may attempt them; see admit. An answer that recognises us closes the
// circuit; see judge.
func (a *app) probe(ctx context.Context, c *circuit) {
	r := a.askProvider(ctx)
	if r.Outcome == push.Accepted && c.Credentials {
		a.finishProbe(ctx, c, nil)
		return
	}
	tried := true
	if !c.Credentials && (r.Outcome == push.Accepted || r.Outcome == push.Ambiguous) {
		n, err := a.release(ctx, a.batcher, trials)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("no push can be tried", "error", err)
		}
		tried = n > 0
		if !rdb.Sleep(ctx, trialTime) || !a.open() {
			return
		}
	}
	a.mu.Lock()
	next := c.failed(a.clock(), tried)
	a.mu.Unlock()
	a.finishProbe(ctx, c, next)
}

// finishProbe replaces the claimed circuit, unless another gateway has changed it meanwhile.
func (a *app) finishProbe(ctx context.Context, c, next *circuit) {
	a.mu.Lock()
	s := a.shared
	a.mu.Unlock()
	if s.circuit == nil || s.circuit.Since != c.Since {
		return
	}
	if err := a.change(ctx, &s, next); err != nil {
		a.log.Warn("the outcome of a probe cannot be shared between gateways", "error", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if next == nil {
		a.opened, a.vouched = false, a.clock() // our credentials are accepted
	}
	a.showCircuit(a.shared.circuit, s.circuit)
	a.shared.circuit, a.shared.circuitText = s.circuit, s.circuitText
}

// defers returns how long this gateway leaves a due probe to others: if it has opened the
// circuit, its credentials may be bad and those of others good.
func (a *app) defers() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.opened {
		return 2 * watchEvery
	}
	return 0
}

// newestWhy returns the reason of the newest evidence that this gateway has seen.
func (a *app) newestWhy() push.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	return cmp.Or(a.why, push.ReasonOthers)
}

// showCircuit logs and shows a circuit that opens or closes. The caller holds mu.
func (a *app) showCircuit(was, is *circuit) {
	gauge := a.metrics.circuit.WithLabelValues(of(a.route)...)
	switch {
	case was == nil && is != nil:
		gauge.Set(1)
		a.log.Error("the provider does not accept our pushes: they wait, and single ones are tried",
			"reason", is.Why, "credentials_refused", is.Credentials)
	case was != nil && is == nil:
		gauge.Set(0)
		if a.opened { // another gateway has closed it
			a.opened, a.differs = false, a.clock()
			a.log.Error("the provider refuses the credentials of this gateway and accepts those of others: check its configuration and clock",
				"reason", was.Why)
		}
		a.log.Info("the provider accepts our pushes again",
			"after", a.clock().Sub(time.UnixMilli(was.Since)).Round(time.Second))
	}
}

// showPauses shows which lanes pause. The caller holds mu.
func (a *app) showPauses(s slowdown) {
	for _, l := range push.Lanes {
		v := 0.0
		if s.wait(l, a.clock()) > 0 {
			v = 1
		}
		a.metrics.paused.WithLabelValues(of(a.route, l.String())...).Set(v)
	}
}
