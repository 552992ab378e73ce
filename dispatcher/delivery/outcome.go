package delivery

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// MaxBackoff bounds the wait between two attempts where the provider does not say how
// long it should be.
const MaxBackoff = 15 * time.Minute

// finish notes the outcome of a job; attempted says whether the provider was asked. The
// last job of a task sends it to the settler.
func (l *lane) finish(j *job, r push.Result, attempted bool) {
	t, e, device := j.task, j.task.entry, j.device
	outcome := deviceOutcome{
		Platform: device.Platform, Outcome: r.Outcome.String(), Reason: r.Reason,
		ProviderID: r.ProviderID, Attempts: e.Attempt, At: l.w.Now().UnixMilli(),
	}
	if attempted {
		outcome.Attempts++
		l.w.metrics.attempts.WithLabelValues(string(device.Platform), r.Outcome.String(), string(r.Reason)).Inc()
	}
	switch r.Outcome {
	case push.Accepted:
		t.mu.Lock()
		t.accepted++
		t.mu.Unlock()
	case push.DeadToken:
		t.mu.Lock()
		t.countFailed(r.Reason)
		t.mu.Unlock()
		l.forget(t, device, r)
	case push.Unsendable:
		if attempted {
			l.suspend(t, device, r.Reason)
		}
		t.bury(device.ID, r.Reason, e.Retry(device.ID, outcome.Attempts).Value())
	case push.Refused:
		t.bury(device.ID, r.Reason, e.Retry(device.ID, outcome.Attempts).Value())
	default:
		outcome.Outcome = l.retry(t, device, r, outcome.Attempts)
	}
	if r.Reason != push.ReasonStopping {
		t.note(device.ID, outcome)
	}
	if t.left.Add(-1) == 0 {
		l.finished <- t
	}
}

// retry delays the push to a device, or buries it when its time is over. It returns the
// outcome for the record.
func (l *lane) retry(t *task, device devices.Device, r push.Result, attempts int) string {
	again := t.entry.Retry(device.ID, attempts)
	delay := backoff(r, attempts)
	if l.w.redisNow(t).Add(delay).UnixMilli() > again.Until {
		t.bury(device.ID, r.Reason, again.Value())
		return "dead"
	}
	t.delay(again, delay)
	l.w.metrics.retries.WithLabelValues(string(device.Platform), string(r.Reason)).Inc()
	return "retrying"
}

// backoff returns how long a push waits for its next attempt: as long as the provider asked
// for, else an exponential backoff that begins with r.Backoff. Up to a quarter is added at
// random, so that pushes that failed together are not retried together.
func backoff(r push.Result, attempts int) time.Duration {
	delay := r.RetryAfter
	if delay == 0 {
		delay = r.Backoff
		for n := 1; n < attempts && delay < MaxBackoff; n++ {
			delay *= 2
		}
		delay = min(delay, MaxBackoff)
	}
	if delay == 0 {
		return 0
	}
	return delay + rand.N(delay/4+1)
}

// forget removes a registration whose token the provider calls dead: only the generation
// that was used, and only if it is older than the time that the provider gives.
func (l *lane) forget(t *task, device devices.Device, r push.Result) {
	if r.Reason == push.ReasonMoved {
		return // the breaker turns the former into Forget or Refused; the latter is unlisted already
	}
	if !r.At.IsZero() && !r.At.After(device.RegisteredAt()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	withdraw, err := l.w.Reports.Forgotten(ctx, l.batcher, t.entry, device.ID, string(device.Platform), string(r.Reason))
	if err != nil { // the next push finds the device again
		l.w.Log.Error("a dead device cannot be reported", "platform", device.Platform, "error", err)
		return
	}
	forgotten, err := l.w.Devices.Forget(ctx, t.entry.User, device)
	switch {
	case err != nil && !errors.Is(err, rdb.ErrReplicas): // a failover may restore the device; its next push forgets it again
		l.w.Log.Error("a dead device cannot be forgotten", "platform", device.Platform, "error", err)
	case !forgotten:
		withdraw(ctx)
	}
}

// suspend keeps a device out of sending until it registers again.
func (l *lane) suspend(t *task, device devices.Device, reason push.Reason) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	if err := l.w.Devices.Suspend(ctx, t.entry.User, device, string(reason)); err != nil && !errors.Is(err, rdb.ErrReplicas) {
		l.w.Log.Error("a device cannot be kept out of sending", "platform", device.Platform, "error", err)
	}
}
