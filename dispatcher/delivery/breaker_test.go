package delivery

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// A clock is a clock that a test sets.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func testBreaker() (*breaker, *clock) {
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	m := newMetrics(prometheus.NewRegistry())
	return newBreaker("ios", slog.New(slog.DiscardHandler), func() time.Time { return c.now }, m), c
}

func admitted(g *breaker, l push.Lane) bool {
	wait, _ := g.admit(l)
	return wait == 0
}

func (c *clock) answer(g *breaker, l push.Lane, r push.Result) push.Result {
	g.report(l, c.now, &r)
	return r
}

func TestCircuitOpensAndProbesSlowly(t *testing.T) {
	g, c := testBreaker()
	for range 50 {
		c.answer(g, push.Urgent, push.Result{Outcome: push.Accepted})
	}
	c.answer(g, push.Urgent, push.Result{Outcome: push.Ambiguous, Reason: "InvalidProviderToken"})
	if admitted(g, push.Urgent) || admitted(g, push.Bulk) {
		t.Error("pushes go on although our credentials are refused")
	}
	if testutil.ToFloat64(g.metrics.circuit.WithLabelValues("ios")) != 1 {
		t.Error("the metric does not say so")
	}
	probes := 0
	for range 3600 {
		c.pass(time.Second)
		if admitted(g, push.Urgent) {
			probes++
			if admitted(g, push.Urgent) {
				t.Fatal("two probes at once")
			}
			c.answer(g, push.Urgent, push.Result{Outcome: push.Ambiguous, Reason: "InvalidProviderToken"})
		}
	}
	if probes < 10 || probes > 20 {
		t.Errorf("%d probes in an hour", probes)
	}
	c.pass(maxProbe)
	if !admitted(g, push.Urgent) {
		t.Fatal("no probe")
	}
	c.answer(g, push.Urgent, push.Result{Outcome: push.Accepted})
	if !admitted(g, push.Urgent) || !admitted(g, push.Bulk) {
		t.Error("the circuit stays open after a probe was accepted")
	}
}

// The circuit breaker admits another probe when a probe was released without an attempt, or
// when it timed out.
func TestCircuitProbesAgainAfterALostProbe(t *testing.T) {
	g, c := testBreaker()
	c.answer(g, push.Urgent, push.Result{Outcome: push.Ambiguous})
	c.pass(maxProbe)
	if !admitted(g, push.Urgent) {
		t.Fatal("no probe")
	}
	g.release()
	if !admitted(g, push.Urgent) {
		t.Fatal("no probe after one was released")
	}
	c.answer(g, push.Urgent, push.Result{Outcome: push.Later, Reason: "timeout"})
	c.pass(maxProbe)
	if !admitted(g, push.Urgent) {
		t.Error("no probe after one timed out")
	}
}

func TestBadTokensAreTheDevicesFaultOnlyWhileOthersSucceed(t *testing.T) {
	bad := push.Result{Outcome: push.DeadToken, Reason: "BadDeviceToken"}
	g, c := testBreaker()
	if r := c.answer(g, push.Urgent, bad); r.Outcome != push.Refused {
		t.Errorf("the first answer of all: %v", r.Outcome)
	}
	for range 5 {
		c.answer(g, push.Urgent, push.Result{Outcome: push.Accepted})
	}
	if r := c.answer(g, push.Urgent, bad); r.Outcome != push.DeadToken {
		t.Errorf("among pushes that succeed: %v", r.Outcome)
	}

	g, c = testBreaker() // in the wrong environment, every answer is this one
	forgotten := 0
	for range 200 {
		if !admitted(g, push.Urgent) {
			break
		}
		if r := c.answer(g, push.Urgent, bad); r.Outcome == push.DeadToken {
			forgotten++
		}
	}
	if forgotten > 0 || admitted(g, push.Urgent) {
		t.Errorf("%d devices forgotten, circuit open: %v", forgotten, g.open)
	}
}

func TestBulkSlowsFirstAndUrgentLast(t *testing.T) {
	g, c := testBreaker()
	slow := push.Result{Outcome: push.SlowDown, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute}
	lanes := func() [3]bool {
		return [3]bool{admitted(g, push.Urgent), admitted(g, push.Chat), admitted(g, push.Bulk)}
	}

	c.answer(g, push.Urgent, slow)
	if got := lanes(); got != [3]bool{true, true, false} {
		t.Errorf("after the first: %v", got)
	}
	c.answer(g, push.Urgent, slow) // was sent before the pause
	if got := lanes(); got != [3]bool{true, true, false} {
		t.Errorf("after one that started before the pause: %v", got)
	}
	c.pass(time.Second)
	c.answer(g, push.Urgent, slow)
	if got := lanes(); got != [3]bool{true, false, false} {
		t.Errorf("after one although bulk pauses: %v", got)
	}
	c.pass(time.Second)
	c.answer(g, push.Urgent, slow)
	if got := lanes(); got != [3]bool{true, false, false} {
		t.Errorf("urgent pushes only wait for themselves: %v", got)
	}
	c.pass(2 * time.Minute)
	if got := lanes(); got != [3]bool{true, true, true} {
		t.Errorf("afterwards: %v", got)
	}
	c.answer(g, push.Bulk, slow)
	c.pass(time.Second)
	c.answer(g, push.Bulk, slow)
	if got := lanes(); got != [3]bool{true, true, false} {
		t.Errorf("bulk pushes slow bulk alone: %v", got)
	}
}

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		r        push.Result
		attempts int
		least    time.Duration
	}{
		{push.Result{RetryAfter: 7 * time.Second, Backoff: time.Hour}, 5, 7 * time.Second},
		{push.Result{Backoff: 10 * time.Second}, 1, 10 * time.Second},
		{push.Result{Backoff: 10 * time.Second}, 2, 20 * time.Second},
		{push.Result{Backoff: 10 * time.Second}, 4, 80 * time.Second},
		{push.Result{Backoff: 10 * time.Second}, 1000, MaxBackoff},
		{push.Result{}, 3, 0},
	} {
		if got := backoff(c.r, c.attempts); got < c.least || got > c.least*5/4+1 {
			t.Errorf("%+v after %d attempts: %v, want from %v", c.r, c.attempts, got, c.least)
		}
	}
}
