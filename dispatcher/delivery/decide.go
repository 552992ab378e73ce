package delivery

import (
	"math/rand/v2"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// MaxBackoff bounds the wait between two attempts where the provider does not say how
// long it should be.
const MaxBackoff = 15 * time.Minute

// lostBackoff is how long a push waits for its next attempt after the first one got no
// answer.
const lostBackoff = time.Second

// refusedBackoff is the first step of the backoff of a push whose credentials were refused
// while the circuit stays closed.
const refusedBackoff = 10 * time.Second

// A fate is what becomes of a push to a device after an attempt.
type fate uint8

const (
	done   fate = iota // it is settled
	bury               // it becomes a dead letter
	forget             // it is settled, and the device is forgotten
	retry              // it is attempted again after a delay
	wait               // it waits until the app's circuit closes
)

// Outcomes in the event's record, besides the names of push.Outcome.
const (
	outcomeDead       = "dead"
	outcomeForgotten  = "forgotten"
	outcomeMoved      = "moved"
	outcomeRetrying   = "retrying"
	outcomeRetryAfter = "waiting_for_retry_after"
	outcomeSuspect    = "suspect"
	outcomeCircuit    = "circuit_open"
	outcomeSuspended  = "unsendable"
	outcomeSilent     = "silent" // a push that shows nothing, to a browser
)

// A decision is what follows from a provider's answer.
type decision struct {
	fate    fate
	outcome string // for the event's record
	delay   time.Duration
	recheck bool           // the push is the recheck of a suspect device
	older   bool           // the token was called dead as of a time before its registration
	asks    bool           // the push is to ask the other environment at once
	device  devices.Device // as it is from now on
}

// facts are what a decision depends on besides the answer. Times are by Redis' clock.
type facts struct {
	device       devices.Device
	attempts     int    // of this push, this one included
	older        bool   // an attempt before has met a verdict that is older than the registration
	environment  string // of APNs, to which the attempt went
	elsewhere    bool   // the other environment is to be asked when this one says BadDeviceToken
	started, now time.Time
	storm        storm // needed when a suspect device is called dead
}

// decide returns what follows from an answer: the tables of providers in docs/design.md.
func decide(r *push.Result, f facts) decision {
	d := decision{device: f.device}
	if asksElsewhere(f.device) && ofOtherEnvironment[r.Reason] { // so nobody but the first one can know the token
		r = &push.Result{Outcome: push.DeadToken, Reason: badDeviceToken}
	}
	switch r.Outcome {
	case push.Accepted:
		d.outcome, d.device = r.Outcome.String(), cleared(f.device, f.now, f.environment)
	case push.Refused:
		d.fate, d.outcome = bury, r.Outcome.String()
	case push.Unsendable:
		d.fate, d.outcome = bury, outcomeSuspended
		d.device.Suspended, d.device.TriedAt = string(r.Reason), f.now.UnixMilli()
	case push.DeadToken:
		decideDead(&d, r, f)
	case push.CredentialsRefused:
		d.fate, d.outcome = wait, outcomeCircuit
	default:
		d.fate, d.outcome, d.delay = retry, outcomeRetrying, backoff(r, f.attempts)
		if r.RetryAfter > 0 {
			d.outcome = outcomeRetryAfter
		}
	}
	return d
}

// decideDead decides about a device whose token the provider calls dead (G11).
func decideDead(d *decision, r *push.Result, f facts) {
	if !r.At.IsZero() && !r.At.After(f.device.RegisteredAt()) {
		// The token was registered after that: once more after a minute.
		if f.older {
			d.fate, d.outcome = bury, outcomeDead
		} else {
			d.fate, d.outcome, d.delay, d.older = retry, outcomeRetrying, recheckAfter, true
		}
		return
	}
	device := f.device
	switch {
	case r.Reason == badDeviceToken && f.elsewhere:
		d.fate, d.outcome, d.recheck, d.asks = retry, outcomeRetrying, true, true
		d.device.Suspect = &devices.Suspect{
			Since: f.now.UnixMilli(), Next: f.now.UnixMilli(), Reason: string(r.Reason), Elsewhere: true,
		}
		return
	case !asksElsewhere(device):
	case r.Reason == badDeviceToken: // both have said it: the first verdict
		device.Suspect, device.Missed = nil, true
	default: // the other one knows the token, and says that it is dead
		device.Suspect, device.Learned = nil, f.environment
	}
	after, dead := judgeDevice(device, string(r.Reason), f.started, f.now, f.storm)
	if dead {
		d.fate, d.outcome = forget, outcomeForgotten
		return
	}
	d.fate, d.outcome, d.device, d.recheck = retry, outcomeSuspect, after, true
	d.delay = time.UnixMilli(after.Suspect.Next).Sub(f.now)
}

// backoff returns how long a push waits for its next attempt: as long as the provider asked
// for; about a second after the first attempt that got no answer; else an exponential
// backoff that begins with r.Backoff. Up to a quarter is added at random, so that pushes
// that failed together are not retried together.
func backoff(r *push.Result, attempts int) time.Duration {
	delay := r.RetryAfter
	switch {
	case delay > 0 && r.Outcome == push.SlowDown && r.Scope == push.ScopeProject:
		delay = min(delay, maxSlow) // as long as a lane pauses at most
	case delay > 0:
	case r.Lost && attempts <= 1:
		delay = lostBackoff
	default:
		if r.Lost {
			attempts--
		}
		delay = r.Backoff
		for n := 1; n < attempts && delay < MaxBackoff; n++ {
			delay *= 2
		}
		delay = min(delay, MaxBackoff)
	}
	if delay <= 0 || r.Reason == push.ReasonSuspect { // these follow the recheck closely
		return max(delay, 0)
	}
	return delay + rand.N(delay/4+1)
}
