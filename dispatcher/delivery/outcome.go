package delivery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// amendFragment changes a device's listing in the script that settles the push.
var amendFragment = outbox.Fragment{Name: "amend", Source: devices.AmendSource, Types: []string{"hash"}}

// Fragments returns the fragments that the outbox must know for this package.
func Fragments(store *inbox.Store) []outbox.Fragment {
	shade := outbox.Fragment{Name: shadeFragment, Source: store.Shades.Source(), Types: []string{"", "zset", ""}}
	return []outbox.Fragment{amendFragment, shade}
}

// answered decides what follows from a provider's answer to a job, and finishes the job.
func (l *lane) answered(j *job, r push.Result) {
	w, t := l.w, j.task
	w.metrics.attempts.WithLabelValues(of(j.route, r.Outcome.String(), string(r.Reason))...).Inc()
	f := facts{device: j.device, attempts: t.entry.Attempt + 1, older: t.entry.Older, started: j.started, now: w.redisNow(t)}
	f.environment, f.elsewhere = j.route.Environment, w.elsewhere(j.device, j.route)
	if r.Outcome == push.DeadToken {
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		f.storm = j.app.stormNow(ctx)
		cancel()
	}
	d := decide(&r, f)
	switch {
	case d.fate == wait && !j.app.open(): // the circuit stays closed: it is this device's or this gateway's fault
		r.Backoff = cmp.Or(r.Backoff, refusedBackoff)
		d.fate, d.outcome, d.delay = retry, outcomeRetrying, backoff(&r, f.attempts)
	case d.asks:
		w.askElsewhere(j, &d)
	case d.outcome == outcomeSuspect && (j.device.Suspect == nil || asksElsewhere(j.device)):
		w.metrics.suspects.WithLabelValues(of(j.route, string(r.Reason))...).Inc()
	case d.fate == forget:
		if gone, err := l.forget(j, r.Reason); err != nil {
			l.w.Log.Error("a dead device cannot be forgotten yet", "", j.route, "error", err)
			d.fate, d.outcome, d.delay, d.recheck = retry, outcomeSuspect, recheckAfter, true
		} else if !gone { // it has changed meanwhile: another push was accepted, or it was registered anew
			d.fate, d.outcome, d.delay, d.recheck = retry, outcomeSuspect, registeringDelay, true
		}
	}
	l.settleJob(j, &r, d, f.attempts)
}

// askElsewhere notes in the device's listing that the other environment is asked next. Only
// the push that has noted it does so, and others wait for the answer.
func (w *Workers) askElsewhere(j *job, d *decision) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	after, changed, err := w.Devices.Change(ctx, j.task.entry.User, j.device, d.device)
	if err != nil {
		w.Log.Warn("the other environment of a device cannot be tried yet", "", j.route, "error", err)
	}
	if !changed {
		d.recheck, d.delay = false, behind
	}
	j.device, d.device = after, after
}

// unsent finishes a job that was not attempted, for one of our own reasons.
func (l *lane) unsent(j *job, r push.Result) {
	d := decision{fate: retry, outcome: outcomeRetrying, delay: backoff(&r, 0), device: j.device}
	switch {
	case r.Reason == push.ReasonMoved:
		d.fate, d.outcome = done, outcomeMoved
		j.task.fail(r.Reason)
	case r.Outcome == push.Refused, r.Outcome == push.Unsendable:
		d.fate, d.outcome = bury, r.Outcome.String()
	case r.Reason == push.ReasonCircuitOpen:
		d.fate, d.outcome = wait, outcomeCircuit
	case r.Reason == push.ReasonSuspect:
		d.outcome = outcomeSuspect
	case r.Reason == push.ReasonRate, r.Reason == push.ReasonSlowedDown:
		d.outcome = outcomeRetryAfter
	}
	l.settleJob(j, &r, d, j.task.entry.Attempt)
}

// settleJob notes the decision about a job and finishes the job. The last job of a task
// sends the task to the settler.
func (l *lane) settleJob(j *job, r *push.Result, d decision, attempts int) {
	t := j.task
	again := t.entry.Retry(j.device.ID, attempts)
	o := outcomeBy(j.route)
	o.Outcome, o.Reason, o.ProviderID, o.Attempts, o.At = d.outcome, r.Reason, r.ProviderID, attempts, l.w.Now().UnixMilli()
	if d.device != j.device {
		keys, args := l.w.Devices.Amend(t.entry.User, j.device, d.device)
		t.amend(amendment{j.device, r.Outcome == push.Accepted, j.route.Environment}, keys, args)
	}
	switch d.fate {
	case done:
		if r.Outcome == push.Accepted && r.Reason == "" {
			t.accept()
			l.w.noteShown(j)
		}
	case forget:
		t.fail(r.Reason)
	case bury:
		t.bury(j.device.ID, j.route, r.Reason, again.Value())
	case wait:
		again.Waits = string(push.ReasonCircuitOpen)
		o.Since, o.Why = j.app.openSince()
		l.w.delay(j, again, time.UnixMilli(again.Until).Sub(l.w.redisNow(t)), r.Reason)
	case retry:
		again.Recheck, again.Older = d.recheck, again.Older || d.older
		if waits[r.Reason] {
			again.Waits = string(r.Reason)
		}
		reason := r.Reason
		if s := d.device.Suspect; s != nil && d.outcome == outcomeSuspect {
			o.Since, o.Why, reason = s.Since, push.Reason(s.Reason), push.ReasonSuspect
		}
		if !l.w.delay(j, again, d.delay, reason) {
			o.Outcome, o.Reason = outcomeDead, reason
		}
	}
	if r.Reason != push.ReasonStopping {
		t.note(j.device.ID, o)
	}
	if t.left.Add(-1) == 0 {
		l.finished <- t
	}
}

// waits are the reasons for which pushes wait without an attempt, and of each tag only the
// newest: an older one is dropped when it is due; see task.superseded.
var waits = map[push.Reason]bool{push.ReasonSuspect: true, push.ReasonRate: true, push.ReasonSlowedDown: true}

// delay delays a push to a device, or buries it when its time is over by then, and reports
// whether it delayed it. A push that waits for a circuit waits in its route's own set, until
// its time is over at the latest.
func (w *Workers) delay(j *job, again *outbox.Entry, by time.Duration, reason push.Reason) bool {
	t := j.task
	d := outbox.Delayed{Entry: again, By: max(by, 0)}
	if again.Waits == string(push.ReasonCircuitOpen) {
		d.Route = j.route.String()
	} else if w.redisNow(t).Add(by).UnixMilli() > again.Until {
		t.bury(j.device.ID, j.route, reason, again.Value())
		return false
	}
	t.delay(d)
	w.metrics.retries.WithLabelValues(of(j.route, string(reason))...).Inc()
	return true
}

// forget removes a registration whose token is dead: only the generation that was used. It
// reports whether the device is gone.
func (l *lane) forget(j *job, reason push.Reason) (gone bool, err error) {
	t, device := j.task, j.device
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	// Only as it was judged: a push that was accepted since has cleared it.
	judged, suspect := device, *device.Suspect
	suspect.Next = l.w.redisNow(t).Add(recheckAfter).UnixMilli()
	judged.Suspect = &suspect
	device, unchanged, err := l.w.Devices.Change(ctx, t.entry.User, device, judged)
	if err != nil || !unchanged {
		return false, err
	}
	withdraw, err := l.w.Reports.Forgotten(ctx, l.batcher, t.entry, device.ID, j.route, string(reason))
	if err != nil {
		return false, err
	}
	gone, err = l.w.Devices.Forget(ctx, t.entry.User, device)
	switch {
	case err != nil && !errors.Is(err, rdb.ErrReplicas): // a failover may restore the device; its next push forgets it again
		return false, err
	case !gone:
		withdraw(ctx)
		return false, nil
	}
	l.w.metrics.forgotten.WithLabelValues(of(j.route, string(reason))...).Inc()
	return true, nil
}

// clear notes an acceptance for a device whose listing has changed meanwhile, unless it was
// registered anew.
func (w *Workers) clear(user int64, a amendment) {
	device := a.device
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	for done := false; !done; {
		listed, err := w.Devices.List(ctx, user)
		i := slices.IndexFunc(listed, func(d devices.Device) bool {
			return d.ID == device.ID && d.Token == device.Token && d.Generation == device.Generation
		})
		if err == nil && i < 0 {
			return
		}
		if err == nil {
			_, done, err = w.Devices.Change(ctx, user, listed[i], cleared(listed[i], w.Now(), a.environment))
		}
		if err != nil {
			w.Log.Warn("an acceptance cannot be noted", "", w.route(device), "error", err)
			return
		}
	}
}
