package delivery

import (
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// TestDecide reads like the tables of providers in docs/design.md.
func TestDecide(t *testing.T) {
	registered := ago(24 * time.Hour)
	plain := devices.Device{ID: "d", Generation: registered.UnixMicro(), AcceptedDay: devices.Day(noon)}
	suspect := plain
	suspect.Suspect = suspectSince(ago(2*time.Minute), 0).Suspect
	suspended := plain
	suspended.Suspended, suspended.TriedAt = "SENDER_ID_MISMATCH", ago(25*time.Hour).UnixMilli()
	dead := push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"}
	old := push.Result{Outcome: push.DeadToken, Reason: "Unregistered", At: registered.Add(-time.Hour)}
	newer := push.Result{Outcome: push.DeadToken, Reason: "Unregistered", At: registered.Add(time.Hour)}
	unavailable := push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", Backoff: 10 * time.Second}
	lost := push.Result{Outcome: push.Later, Reason: "timeout", Lost: true, Backoff: 10 * time.Second}
	for _, c := range []struct {
		name     string
		result   push.Result
		device   devices.Device
		attempts int
		fate     fate
		outcome  string
		from, to time.Duration // bounds of the delay
	}{
		{"accepted", push.Result{Outcome: push.Accepted}, plain, 1, done, "accepted", 0, 0},
		{"accepted again", push.Result{Outcome: push.Accepted}, suspect, 1, done, "accepted", 0, 0},
		{"a trial was accepted", push.Result{Outcome: push.Accepted}, suspended, 1, done, "accepted", 0, 0},
		{"bad payload", push.Result{Outcome: push.Refused, Reason: "INVALID_ARGUMENT"}, plain, 1, bury, "refused", 0, 0},
		{"another project", push.Result{Outcome: push.Unsendable, Reason: "SENDER_ID_MISMATCH"}, plain, 1, bury, "unsendable", 0, 0},
		{"dead, first verdict", dead, plain, 1, retry, "suspect", recheckAfter, recheckAfter},
		{"dead, second verdict", dead, suspect, 2, forget, "forgotten", 0, 0},
		{"410 newer than the registration", newer, plain, 1, retry, "suspect", recheckAfter, recheckAfter},
		{"410 older than the registration", old, plain, 1, retry, "retrying", recheckAfter, recheckAfter},
		{"410 older than the registration, after another failure", old, plain, 2, retry, "retrying", recheckAfter, recheckAfter},
		{"unavailable", unavailable, plain, 1, retry, "retrying", 10 * time.Second, 13 * time.Second},
		{"unavailable again", unavailable, plain, 3, retry, "retrying", 40 * time.Second, 50 * time.Second},
		{"unavailable for long", unavailable, plain, 30, retry, "retrying", MaxBackoff, MaxBackoff * 5 / 4},
		{"no answer", lost, plain, 1, retry, "retrying", time.Second, 1250 * time.Millisecond},
		{"no answer again", lost, plain, 2, retry, "retrying", 10 * time.Second, 13 * time.Second},
		{"Retry-After", push.Result{Outcome: push.Later, RetryAfter: time.Minute}, plain, 1, retry, "waiting_for_retry_after", time.Minute, 75 * time.Second},
		{"too many", push.Result{Outcome: push.SlowDown, Backoff: time.Minute}, plain, 1, retry, "retrying", time.Minute, 75 * time.Second},
		{"ambiguous", push.Result{Outcome: push.Ambiguous, Backoff: 10 * time.Second}, plain, 1, retry, "retrying", 10 * time.Second, 13 * time.Second},
		{"credentials", push.Result{Outcome: push.CredentialsRefused}, plain, 1, wait, "circuit_open", 0, 0},
	} {
		d := decide(&c.result, facts{device: c.device, attempts: c.attempts, started: noon, now: noon, storm: storm{attempted: 100, dead: 1, accepted: ago(time.Second)}})
		if d.fate != c.fate || d.outcome != c.outcome || d.delay < c.from || d.delay > c.to {
			t.Errorf("%s: fate %d, %s, delay %v; want fate %d, %s, delay %v to %v", c.name, d.fate, d.outcome, d.delay, c.fate, c.outcome, c.from, c.to)
		}
		if d.older != (c.result == old) {
			t.Errorf("%s: older %v", c.name, d.older)
		}
		if c.result.Outcome == push.Accepted && d.device != plain {
			t.Errorf("%s leaves %+v", c.name, d.device)
		}
		if d.recheck != (c.outcome == "suspect") {
			t.Errorf("%s: recheck %v", c.name, d.recheck)
		}
	}
}

// A push that meets two verdicts that are older than the registration is buried.
func TestOlderVerdictTwice(t *testing.T) {
	registered := ago(24 * time.Hour)
	old := push.Result{Outcome: push.DeadToken, Reason: "Unregistered", At: registered.Add(-time.Hour)}
	d := decide(&old, facts{device: devices.Device{Generation: registered.UnixMicro()}, attempts: 3, older: true, started: noon, now: noon})
	if d.fate != bury || d.outcome != "dead" {
		t.Errorf("fate %d, %s", d.fate, d.outcome)
	}
}

func TestTrialsOfSuspendedDevices(t *testing.T) {
	for _, c := range []struct {
		suspended string
		tried     time.Time
		due       bool
	}{
		{"", time.Time{}, false},
		{"SENDER_ID_MISMATCH", ago(23 * time.Hour), false},
		{"SENDER_ID_MISMATCH", ago(24 * time.Hour), true},
		{"SENDER_ID_MISMATCH", time.UnixMilli(0), true}, // suspended by an older build
	} {
		d := devices.Device{Suspended: c.suspended, TriedAt: c.tried.UnixMilli()}
		if got := trialDue(d, noon); got != c.due {
			t.Errorf("%q, tried %v: due %v", c.suspended, c.tried, got)
		}
	}
}
