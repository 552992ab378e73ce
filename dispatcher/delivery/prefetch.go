package delivery

import (
	"cmp"
	"context"
	"crypto/sha256"
	"time"

	"github.com/google/uuid"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// prefetch looks up, for all tasks in one round trip, the receivers' devices, unread counts
// and settings, and whether a newer push supersedes them. It returns the tasks that can be
// sent. A task whose look-up failed is finished, and its entry is delayed.
func (l *lane) prefetch(ctx context.Context, tasks []*task) []*task {
	w := l.w
	queries := make([]inbox.PushQuery, len(tasks))
	for i, t := range tasks {
		queries[i] = inbox.PushQuery{User: t.entry.User, Subject: t.subject()}
		if conversation, ok := model.SubjectConversation(t.entry.Tag); ok && t.entry.From != "" {
			queries[i].Conversation, queries[i].Message = conversation, t.entry.ID
		}
		if t.entry.Body == inbox.ListedBody {
			queries[i].Listed = t.entry.ID
		}
	}
	facts := w.Inbox.PushFacts(ctx, l.batcher, queries)
	lookAtScreens(ctx, w.Inbox.Shades, l.batcher, tasks, facts)
	ready := make([]*task, 0, len(tasks))
	var failed error
	for i, t := range tasks {
		err := t.fill(&facts[i], w.Now())
		if err == nil {
			err = t.resolveBody(ctx, w.Inbox.Texts)
		}
		if err == nil {
			err = t.shade.Err
		}
		if err != nil {
			t.postpone(ctx.Err() != nil, w.Now())
			l.finished <- t
			failed = err
			continue
		}
		ready = append(ready, t)
	}
	if failed != nil && ctx.Err() == nil {
		w.Log.Error("devices cannot be looked up", "lane", l.lane, "entries", len(tasks)-len(ready), "error", failed)
	}
	return ready
}

// postpone decides about a task whose look-up failed. It delays the entry for a moment, or
// for no time when the process is stopping, so that another process can take it at once.
func (t *task) postpone(stopping bool, now time.Time) {
	switch {
	case stopping:
		t.delay(outbox.Delayed{Entry: t.entry})
	case now.UnixMilli() > t.entry.Until:
		t.expire(push.Route{}, now)
	default:
		again, by := *t.entry, redisPause
		again.Quiet = false      // it waits for Redis now
		if t.entry.Dismisses() { // which has no end of its own; see task.delay
			again.Attempt++
			by <<= t.entry.Attempt
		}
		t.delay(outbox.Delayed{Entry: &again, By: by})
	}
}

// fill takes over the facts that were looked up, at the present time of this process. The
// entry gets its body, so that it does not refer to the list any more when it is delayed or
// buried.
func (t *task) fill(f *inbox.PushFacts, now time.Time) (err error) {
	if f.Err != nil {
		return f.Err
	}
	t.ahead, t.looked, t.owes = f.At.Sub(now), f.At, f.Owed
	t.unreads, t.about, t.settings, t.attention = f.Unreads, f.Subject, f.Settings, f.Message
	t.entry.Body = cmp.Or(f.Body, t.entry.Body)
	t.devices, err = devices.ParseList(f.Devices)
	return err
}

// resolveBody looks up the text of a broadcast's entry. This process caches the text, so
// only the first entry of a broadcast costs a round trip. The text of an expired broadcast
// stays empty.
func (t *task) resolveBody(ctx context.Context, texts *inbox.Texts) error {
	key, ok := t.broadcast()
	if !ok {
		return nil
	}
	bodies, err := texts.Get(ctx, t.entry.User, key)
	if err != nil {
		return err
	}
	t.shared = bodies[key]
	return nil
}

// subject returns the subject that superseded needs, or "" when it needs none.
func (t *task) subject() string {
	if t.entry.State || t.entry.Attempt > 0 || t.entry.From != "" || t.entry.Waits != "" {
		return t.entry.Tag
	}
	return ""
}

// superseded reports whether the push is out of date: a newer state was told since, even if
// it only changed counters; or a newer push has replaced it on the screen, and it is a retry,
// a message, which may have waited for its grace, or a push of another lane than urgent that
// had to wait. Ids are in the order of storing, and a state that came late was not enqueued.
func (t *task) superseded(l push.Lane) bool {
	e := t.entry
	waited := e.Attempt > 0 || e.From != "" || waits[push.Reason(e.Waits)] && l != push.Urgent
	return e.State && t.about.Told > e.ID || waited && t.about.Newest > e.ID
}

// send starts a job for each device that is owed the push. A task without any is
// finished.
func (l *lane) send(ctx context.Context, t *task) {
	e := t.entry
	switch {
	case e.Body == inbox.ListedBody: // it is gone: the event was retracted after the entry was read
		t.skip(inbox.PushRetracted)
	case t.poison: // buried with its body
		t.bury(e.Owed, l.w.owedRoute(t), push.ReasonPoison, e.Value())
	case t.superseded(l.lane):
		t.skip("superseded")
		t.noteDropped(l.w)
	case l.w.redisNow(t).UnixMilli() > e.Until:
		t.expire(l.w.owedRoute(t), l.w.Now())
	case t.attention.Seen:
		t.note(e.Owed, deviceOutcome{Outcome: "read", Attempts: e.Attempt})
		t.noteDropped(l.w)
	default:
		l.start(ctx, t)
		return
	}
	l.finished <- t
}

// owedRoute returns the way to the one device that is owed the push; the zero Route if all of
// the user's are, or if it is not listed any more.
func (w *Workers) owedRoute(t *task) push.Route {
	for _, d := range t.devices {
		if d.ID == t.entry.Owed {
			return w.route(d)
		}
	}
	return push.Route{}
}

// expire buries a push whose time is over, with what it waited for as the reason.
func (t *task) expire(route push.Route, now time.Time) {
	e := t.entry
	reason := push.Reason(cmp.Or(e.Waits, string(push.ReasonExpired)))
	t.note(e.Owed, deviceOutcome{Outcome: outcomeDead, Reason: reason, Attempts: e.Attempt, At: now.UnixMilli()})
	t.bury(e.Owed, route, reason, e.Value())
}

// start renders the push and queues a job for each device that wants it, unless it has
// to wait.
func (l *lane) start(ctx context.Context, t *task) {
	if t.entry.Dismisses() {
		l.queue(ctx, t, l.w.dismissals(t))
		return
	}
	wanting := l.wanting(t)
	if t.gone {
		t.noteGone(l.w.Now())
	}
	if len(wanting) == 0 || l.w.quiet(t) {
		l.finished <- t
		return
	}
	delivery, err := l.w.render(t)
	if err != nil {
		l.w.Log.Error("a push cannot be rendered", "lane", l.lane, "id", t.key.ID, "error", err)
		t.bury(t.entry.Owed, l.w.owedRoute(t), push.ReasonUnreadable, t.entry.Value())
		l.finished <- t
		return
	}
	if wanting = l.w.visible(t, wanting, delivery.Silent()); len(wanting) == 0 {
		l.finished <- t
		return
	}
	jobs := make([]*job, 0, len(wanting))
	for _, device := range wanting {
		d := delivery
		if device.Preferences.Private {
			d = l.w.conceal(l.w.localeOf(t), delivery)
		}
		j := newJob(l.w, t, device, d)
		l.w.tellAlong(j)
		jobs = append(jobs, j)
	}
	l.queue(ctx, t, jobs)
}

// newJob returns the job that carries a delivery to a device.
func newJob(w *Workers, t *task, device devices.Device, d push.Delivery) *job {
	d.ID = attemptID(t.entry.ID, device.ID)
	d.Token, d.FID = device.Token, device.FID
	d.Keys = push.Keys{P256dh: device.P256dh, Auth: device.Auth}
	d.DataOnly = device.Platform == devices.Android && cmp.Or(device.Style, w.Style) == devices.StyleData
	route := w.route(device)
	return &job{task: t, device: device, route: route, app: w.apps[route], delivery: d}
}

// queue queues the jobs of a task. A task without any is finished.
func (l *lane) queue(ctx context.Context, t *task, jobs []*job) {
	if len(jobs) == 0 {
		l.finished <- t
		return
	}
	t.left.Store(int32(len(jobs)))
	for _, j := range jobs {
		if r, ok := l.ready(ctx, j); !ok {
			l.unsent(j, r)
			continue
		}
		l.queues[j.route].put(ctx, j)
	}
}

// ready reports whether the state of a job's device lets it be attempted now; r says why not.
func (l *lane) ready(ctx context.Context, j *job) (r push.Result, ok bool) {
	t, now := j.task, l.w.redisNow(j.task)
	switch {
	case j.app == nil:
		return push.Result{Outcome: push.Refused, Reason: push.ReasonOff}, false
	case j.device.Suspended != "" && (t.entry.Dismisses() || t.entry.Owed == "" && !l.w.takeTrial(ctx, j, now)):
		return push.Result{Outcome: push.Unsendable, Reason: push.Reason(j.device.Suspended)}, false
	}
	if wait := suspectWait(j.device, t.entry.Recheck, now); wait > 0 {
		return push.Result{Outcome: push.Later, Reason: push.ReasonSuspect, RetryAfter: wait}, false
	}
	return push.Result{}, true
}

// takeTrial reports whether a push may be tried to a suspended device: one a day.
func (w *Workers) takeTrial(ctx context.Context, j *job, now time.Time) bool {
	if !trialDue(j.device, now) {
		return false
	}
	tried := j.device
	tried.TriedAt = now.UnixMilli()
	tried, changed, err := w.Devices.Change(ctx, j.task.entry.User, j.device, tried)
	if err != nil {
		w.Log.Warn("a suspended device cannot be tried", "", j.route, "error", err)
	}
	j.device = tried
	return changed
}

// noteGone notes that the device that is owed the push is not listed any more: it was
// forgotten if the push waited for its recheck, and otherwise moved, or its user removed it.
func (t *task) noteGone(now time.Time) {
	e := t.entry
	o := deviceOutcome{Outcome: outcomeMoved, Reason: push.ReasonMoved, Attempts: e.Attempt, At: now.UnixMilli()}
	if e.Recheck || e.Waits == string(push.ReasonSuspect) {
		o.Outcome, o.Reason = outcomeForgotten, push.ReasonSuspect
	}
	t.note(e.Owed, o)
	t.fail(o.Reason)
}

// attemptID is the UUID of a push to a device. It follows from both, so that every
// attempt, from whichever process, has the same one.
func attemptID(id, device string) string {
	sum := sha256.Sum256([]byte(id + "\x00" + device))
	u := uuid.UUID(sum[:16])
	u[6] = u[6]&0x0f | 0x80 // version 8: our own digest
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}
