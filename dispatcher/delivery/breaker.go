package delivery

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	firstProbe = 15 * time.Second // how long an open circuit waits for its first probe
	maxProbe   = 5 * time.Minute  // how long it waits for a later one at most
	slowFor    = time.Minute      // how long a lane pauses when the provider does not say
	window     = 128              // answers from which the share of bad tokens is computed
	minAnswers = 20               // with fewer, bad tokens do not open the circuit
)

// A breaker is the circuit breaker of one provider, for all lanes. It opens on faults of
// ours, slows lanes down when the provider asks for it, and decides whether bad tokens
// are the devices' fault or ours. It is safe for concurrent use.
type breaker struct {
	name    string
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	mu         sync.Mutex
	open       bool
	probing    bool
	probeAt    time.Time
	probeDelay time.Duration

	paused [len(push.Lanes)]pause

	answers [window]answer // ring of the newest answers
	next    int
}

// A pause is the time in which a lane sends nothing, because the provider asked to slow
// down.
type pause struct{ since, until time.Time }

type answer uint8

const (
	noAnswer answer = iota
	goodAnswer
	badToken
)

func newBreaker(name string, log *slog.Logger, now func() time.Time, m *metrics) *breaker {
	m.circuit.WithLabelValues(name).Set(0)
	return &breaker{name: name, log: log, now: now, metrics: m}
}

// admit reports whether a push of a lane may be attempted now: 0 if so, otherwise how
// long it should wait, and why. An admitted push must be reported or released.
func (b *breaker) admit(l push.Lane) (time.Duration, push.Reason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.open {
		if b.probing || now.Before(b.probeAt) {
			return max(b.probeAt.Sub(now), firstProbe) + rand.N(firstProbe/2), push.ReasonCircuitOpen
		}
		b.probing = true
		return 0, ""
	}
	if until := b.paused[l].until; now.Before(until) {
		return until.Sub(now) + rand.N(slowFor/4), push.ReasonSlowedDown
	}
	return 0, ""
}

// release takes an admission back: the push was not attempted.
func (b *breaker) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

// report takes the answer to an attempt that started at the given time, and replaces the
// outcome of a bad token: by Forget, by Refused when the device is not to be forgotten,
// or by Broken when the fault is ours.
func (b *breaker) report(l push.Lane, started time.Time, r *push.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r.Outcome {
	case push.Accepted:
		b.record(goodAnswer)
		b.closeCircuit()
	case push.DeadToken:
		b.record(badToken)
		b.classifyBadToken(r)
	case push.Ambiguous, push.CredentialsRefused:
		b.trip(r.Reason)
	case push.SlowDown:
		b.slow(l, started, r.RetryAfter)
		b.probing = false
	case push.Later:
		b.probing = false // the provider does not answer: the circuit stays as it is
		if b.open {
			b.delayProbe()
		}
	default: // the provider recognised us
		b.closeCircuit()
	}
}

func (b *breaker) record(a answer) {
	b.answers[b.next] = a
	b.next = (b.next + 1) % window
}

// classifyBadToken blames a bad token on its device only while at least as many answers
// were successes. When most answers are bad tokens, our topic or environment is
// wrong.
func (b *breaker) classifyBadToken(r *push.Result) {
	var good, bad int
	for _, a := range b.answers {
		switch a {
		case goodAnswer:
			good++
		case badToken:
			bad++
		}
	}
	switch {
	case bad <= good:
		r.Outcome = push.DeadToken
		b.closeCircuit()
	case good+bad >= minAnswers:
		b.trip(r.Reason)
		r.Outcome, r.Backoff = push.Ambiguous, firstProbe
	default:
		r.Outcome = push.Refused
		b.probing = false
	}
}

// trip opens the circuit, or after a failed probe keeps it open for longer.
func (b *breaker) trip(reason push.Reason) {
	if !b.open {
		b.open = true
		b.probeDelay = 0
		b.metrics.circuit.WithLabelValues(b.name).Set(1)
		b.log.Error("the provider refuses our credentials or configuration: pushes wait, single ones try again slowly",
			"platform", b.name, "reason", reason)
	} else if !b.probing {
		return // an attempt from before
	}
	b.probing = false
	b.delayProbe()
}

func (b *breaker) delayProbe() {
	b.probeDelay = min(max(2*b.probeDelay, firstProbe), maxProbe)
	b.probeAt = b.now().Add(b.probeDelay)
}

// closeCircuit closes the circuit after a probe succeeded.
func (b *breaker) closeCircuit() {
	if b.open && b.probing {
		b.open = false
		b.answers = [window]answer{}
		b.metrics.circuit.WithLabelValues(b.name).Set(0)
		b.log.Info("the provider accepts our pushes again", "platform", b.name)
	}
	b.probing = false
}

// slow pauses lanes, bulk first and urgent never. When a push was sent after the lanes
// below its own were paused, and the provider still asks to slow down, the push's own lane
// is paused, too. An urgent push that was slowed down waits alone.
func (b *breaker) slow(l push.Lane, started time.Time, retryAfter time.Duration) {
	if retryAfter == 0 {
		retryAfter = slowFor
	}
	now := b.now()
	for lane := push.Bulk; lane > push.Urgent; lane-- {
		p := &b.paused[lane]
		already := !p.since.IsZero() && p.since.Before(started) && now.Before(p.until)
		if already && lane > l {
			continue
		}
		if !now.Before(p.until) {
			p.since = now
			b.log.Warn("the provider asks to slow down: the lane pauses", "platform", b.name, "lane", lane, "for", retryAfter)
		}
		if until := now.Add(retryAfter); until.After(p.until) {
			p.until = until
		}
		return
	}
}
