package dispatcher

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	probeFirst = 15 * time.Second // how long an open circuit waits for its first probe …
	probeMost  = 5 * time.Minute  // … and for the later ones at most
	slowFor    = time.Minute      // how long a lane pauses when the provider does not say
	window     = 128              // answers that the share of bad tokens is taken from
	fewAnswers = 20               // with fewer, bad tokens do not open the circuit
)

// A gate stands before one provider, for all lanes. It is a circuit breaker for
// faults of ours, slows lanes down when the provider asks for it, and judges
// whether bad tokens are the devices' fault or ours. Safe for concurrent use.
type gate struct {
	name    string
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	mu      sync.Mutex
	open    bool
	probing bool
	probeAt time.Time
	probeIn time.Duration

	paused [len(push.Lanes)]pausing

	answers [window]answer // ring of the newest answers
	next    int
}

// A pausing is a lane's pause because the provider asked to slow down.
type pausing struct{ since, until time.Time }

type answer uint8

const (
	noAnswer answer = iota
	goodAnswer
	badToken
)

func newGate(name string, log *slog.Logger, now func() time.Time, m *metrics) *gate {
	m.circuit.WithLabelValues(name).Set(0)
	return &gate{name: name, log: log, now: now, metrics: m}
}

// admit says whether a push of a lane may be attempted now; otherwise how long it
// should wait, and why. An admitted push must be reported or released.
func (g *gate) admit(l push.Lane) (time.Duration, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.open {
		if g.probing || now.Before(g.probeAt) {
			return max(g.probeAt.Sub(now), probeFirst) + rand.N(probeFirst/2), "circuit_open"
		}
		g.probing = true
		return 0, ""
	}
	if until := g.paused[l].until; now.Before(until) {
		return until.Sub(now) + rand.N(slowFor/4), "slowed_down"
	}
	return 0, ""
}

// release takes an admission back: the push was not attempted.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probing = false
}

// report notes the answer to an attempt that started at the given time, and
// settles what a bad token means: Forget, or Refused when nothing is to be
// forgotten.
func (g *gate) report(l push.Lane, started time.Time, r *push.Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.Outcome {
	case push.Accepted:
		g.note(goodAnswer)
		g.shut()
	case push.ForgetIfOthersSucceed:
		g.note(badToken)
		g.judge(r)
	case push.Broken:
		g.trip(r.Reason)
	case push.SlowDown:
		g.slow(l, started, r.RetryAfter)
		g.probing = false
	case push.Later:
		g.probing = false // the provider is away: the circuit stays as it is
		if g.open {
			g.delayProbe()
		}
	default: // the provider recognised us
		g.shut()
	}
}

func (g *gate) note(a answer) {
	g.answers[g.next] = a
	g.next = (g.next + 1) % window
}

// judge decides about a bad token: it is the device's fault only while most other
// pushes succeed. When most answers are this, our topic or environment is wrong.
func (g *gate) judge(r *push.Result) {
	var good, bad int
	for _, a := range g.answers {
		switch a {
		case goodAnswer:
			good++
		case badToken:
			bad++
		}
	}
	switch {
	case bad <= good:
		r.Outcome = push.Forget
		g.shut()
	case good+bad >= fewAnswers:
		g.trip(r.Reason)
		r.Outcome, r.Backoff = push.Broken, probeFirst
	default:
		r.Outcome = push.Refused
		g.probing = false
	}
}

// trip opens the circuit, or after a failed probe keeps it open for longer.
func (g *gate) trip(reason string) {
	if !g.open {
		g.open = true
		g.probeIn = 0
		g.metrics.circuit.WithLabelValues(g.name).Set(1)
		g.log.Error("the provider refuses our credentials or configuration: pushes wait, single ones try again slowly",
			"platform", g.name, "reason", reason)
	} else if !g.probing {
		return // an attempt from before
	}
	g.probing = false
	g.delayProbe()
}

func (g *gate) delayProbe() {
	g.probeIn = min(max(2*g.probeIn, probeFirst), probeMost)
	g.probeAt = g.now().Add(g.probeIn)
}

// shut closes the circuit after a probe succeeded.
func (g *gate) shut() {
	if g.open && g.probing {
		g.open = false
		g.answers = [window]answer{}
		g.metrics.circuit.WithLabelValues(g.name).Set(0)
		g.log.Info("the provider accepts our pushes again", "platform", g.name)
	}
	g.probing = false
}

// slow pauses lanes, bulk first and urgent never: one that answers a lane's push
// although the lanes below it were paused already pauses the lane itself. Urgent
// pushes only wait for themselves.
func (g *gate) slow(l push.Lane, started time.Time, retryAfter time.Duration) {
	if retryAfter == 0 {
		retryAfter = slowFor
	}
	now := g.now()
	for lane := push.Bulk; lane > push.Urgent; lane-- {
		p := &g.paused[lane]
		already := !p.since.IsZero() && p.since.Before(started) && now.Before(p.until)
		if already && lane > l {
			continue
		}
		if !now.Before(p.until) {
			p.since = now
			g.log.Warn("the provider asks to slow down: the lane pauses", "platform", g.name, "lane", lane, "for", retryAfter)
		}
		if until := now.Add(retryAfter); until.After(p.until) {
			p.until = until
		}
		return
	}
}
