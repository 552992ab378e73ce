package delivery

import (
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

func TestEvidenceOpensTheCircuit(t *testing.T) {
	for _, c := range []struct {
		name      string
		accepted  time.Time
		attempted int
		blaming   []int64
		opens     bool
	}{
		{"nothing was seen", time.Time{}, 0, nil, false},
		{"one user of many", time.Time{}, 40, []int64{1}, false},
		{"two users of many", time.Time{}, 40, []int64{1, 2}, false},
		{"three users of many", time.Time{}, 40, []int64{1, 2, 3}, true},
		{"the only user", time.Time{}, 1, []int64{1}, true},
		{"one user of two", time.Time{}, 2, []int64{1}, false},
		{"both users", time.Time{}, 2, []int64{1, 2}, true},
		{"three users, somebody's push was accepted just now", ago(time.Second), 40, []int64{1, 2, 3}, false},
		{"three users, nothing was accepted for a while", ago(contradicts + time.Second), 40, []int64{1, 2, 3}, true},
		{"pushes are accepted", ago(0), 40, nil, false},
	} {
		if opens := (evidence{c.accepted, c.attempted, c.blaming}).opens(noon); opens != c.opens {
			t.Errorf("%s: opens %v", c.name, opens)
		}
	}
}

// TestWhatCounts says for each kind of answer whether it is evidence against the app, for a
// token that was accepted before, for one that never was, and for one that never was while
// the app has accepted nothing; and whether it closes a half-open circuit.
func TestWhatCounts(t *testing.T) {
	for _, c := range []struct {
		result                     push.Result
		known, unknown, firstStart bool
		recognises                 bool
	}{
		{push.Result{Outcome: push.Accepted}, false, false, false, true},
		{push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"}, false, false, false, true},
		{push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"}, false, false, false, true},
		{push.Result{Outcome: push.DeadToken, Reason: "BadDeviceToken"}, true, false, true, false},
		{push.Result{Outcome: push.DeadToken, Reason: "DeviceTokenNotForTopic"}, true, false, true, false},
		{push.Result{Outcome: push.Unsendable, Reason: "SENDER_ID_MISMATCH"}, true, false, true, false},
		{push.Result{Outcome: push.Ambiguous, Reason: "NOT_FOUND"}, true, false, true, false},
		{push.Result{Outcome: push.Ambiguous, Reason: "http_302"}, true, false, true, false},
		{push.Result{Outcome: push.Later, Reason: "THIRD_PARTY_AUTH_ERROR"}, false, false, false, false},
		{push.Result{Outcome: push.Later, Reason: "UNAVAILABLE"}, false, false, false, false},
		{push.Result{Outcome: push.Later, Reason: "timeout", Lost: true}, false, false, false, false},
		{push.Result{Outcome: push.SlowDown, Scope: push.ScopeDevice}, false, false, false, true},
		{push.Result{Outcome: push.SlowDown, Scope: push.ScopeProject}, false, false, false, false},
		{push.Result{Outcome: push.CredentialsRefused}, false, false, false, false}, // opens it alone; see app.report
	} {
		r := c.result
		if blames(&r, true, true) != c.known || blames(&r, false, true) != c.unknown || blames(&r, false, false) != c.firstStart {
			t.Errorf("%s %s: evidence %v, %v, %v; want %v, %v, %v", r.Outcome, r.Reason,
				blames(&r, true, true), blames(&r, false, true), blames(&r, false, false), c.known, c.unknown, c.firstStart)
		}
		if recognises(&r) != c.recognises {
			t.Errorf("%s %s: recognises %v", r.Outcome, r.Reason, recognises(&r))
		}
	}
}

func TestProbesGetRarer(t *testing.T) {
	c := openCircuit(noon, "NOT_FOUND", []int64{1, 2, 3})
	first := time.UnixMilli(c.Probe).Sub(noon)
	if first < time.Second || first > 2*time.Second {
		t.Errorf("the first probe comes after %v", first)
	}
	if c.due(noon) || !c.due(noon.Add(first)) {
		t.Error("the probe is not due when it should be")
	}
	last := time.Duration(0)
	for range 20 {
		now := time.UnixMilli(c.Probe)
		if c.claimed(now).due(now.Add(probeTimeout)) {
			t.Fatal("two gateways may probe at the same time")
		}
		c = c.failed(now)
		wait := time.UnixMilli(c.Probe).Sub(now)
		if wait < last || wait > maxProbe {
			t.Errorf("a probe comes %v after the last one, which had waited %v", wait, last)
		}
		last = wait
	}
	if last != maxProbe || c.Since != noon.UnixMilli() {
		t.Errorf("%v between probes in the end; open since %v", last, c.Since)
	}
}

// One or two users who have opened the circuit do not keep pushes of others back.
func TestFewUsersDoNotStopOthers(t *testing.T) {
	for _, c := range []struct {
		name       string
		circuit    *circuit
		user       int64
		attemptNow bool
	}{
		{"the user who opened it", openCircuit(noon, "NOT_FOUND", []int64{1}), 1, false},
		{"another user", openCircuit(noon, "NOT_FOUND", []int64{1}), 2, true},
		{"another user, after three", openCircuit(noon, "NOT_FOUND", []int64{1, 2, 3}), 4, false},
		{"any user, after refused credentials", openCircuit(noon, "UNAUTHENTICATED", nil), 4, false},
	} {
		if got := c.circuit.contestable(c.user); got != c.attemptNow {
			t.Errorf("%s: attempted at once: %v", c.name, got)
		}
	}
}
