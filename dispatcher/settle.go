package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	settleMost    = 64
	maxBackoff    = 15 * time.Minute
	settleTimeout = 5 * time.Second // for settling after the process was told to stop
)

// A work is an entry that this process holds, and what is to be written of it.
type work struct {
	key       heldKey
	heldSince time.Time
	entry     *entry // nil when it could not be read

	devices  []devices.Device
	unreads  model.Unreads
	about    inbox.Subject  // what the tag names; see subject
	settings inbox.Settings // of the receiver
	// attention is what the receiver of a message has done with it.
	attention inbox.MessageStatus
	// text is what the entry refers to, when it is of a broadcast.
	text inbox.Text

	left atomic.Int32 // jobs that are not finished

	mu       sync.Mutex
	instead  string // what the record says in place of how the push went, or ""
	outcomes []byte // lines for the event's record
	delayed  []any  // delay in ms and entry, by turns
	dead     []any  // device, reason and entry, by turns
	tallies  []any  // of a broadcast: field to count up and by how much, by turns
}

// A deviceStatus is what a record tells of an event on one device.
type deviceStatus struct {
	Platform   devices.Platform `json:"platform"`
	Outcome    string           `json:"outcome"`
	Reason     string           `json:"reason,omitempty"`
	ProviderID string           `json:"provider_id,omitempty"`
	Attempts   int              `json:"attempts"`
	At         int64            `json:"at"` // ms
}

func (w *work) note(device string, s deviceStatus) {
	if device == "" {
		return
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("marshal device status: %v", err)) // plain strings and numbers always marshal
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, inbox.DeviceOutcome(device, string(b))...)
}

// drop notes why the push is not sent, or not yet.
func (w *work) drop(why string) {
	w.note(w.entry.Owed, deviceStatus{Outcome: why, Attempts: w.entry.Attempt})
	if w.entry.Owed == "" {
		w.instead = why
	}
}

func (w *work) delay(e *entry, by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delayed = append(w.delayed, by.Milliseconds(), e.value())
}

func (w *work) bury(device, reason, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = append(w.dead, device, reason, value)
	w.tally(inbox.FailedField(reason))
}

// acceptedAt is when the event was accepted.
func (w *work) acceptedAt() (time.Time, error) { return model.IDTime(w.entry.ID) }

// finish notes what came of a job; attempted says whether the provider was asked.
// The last job of a work sends it to the settler.
func (l *lane) finish(j *job, r push.Result, attempted bool) {
	w, e, device := j.work, j.work.entry, j.device
	status := deviceStatus{
		Platform: device.Platform, Outcome: r.Outcome.String(), Reason: r.Reason,
		ProviderID: r.ProviderID, Attempts: e.Attempt, At: l.d.Now().UnixMilli(),
	}
	if attempted {
		status.Attempts++
		l.d.metrics.pushed.WithLabelValues(string(device.Platform), r.Outcome.String(), r.Reason).Inc()
	}
	switch r.Outcome {
	case push.Accepted:
		w.count(inbox.AcceptedField)
	case push.Forget, push.ForgetIfOthersSucceed:
		w.count(inbox.FailedField(r.Reason))
		l.forget(w, device, r)
	case push.Unsendable:
		if attempted {
			l.suspend(w, device, r.Reason)
		}
		w.bury(device.ID, r.Reason, e.retry(device.ID, status.Attempts).value())
	case push.Refused:
		w.bury(device.ID, r.Reason, e.retry(device.ID, status.Attempts).value())
	default:
		status.Outcome = l.later(w, device, r, status.Attempts)
	}
	if r.Reason != "stopping" {
		w.note(device.ID, status)
	}
	if w.left.Add(-1) == 0 {
		l.finished <- w
	}
}

// later delays the push to a device, or buries it when its time is over.
func (l *lane) later(w *work, device devices.Device, r push.Result, attempts int) string {
	again := w.entry.retry(device.ID, attempts)
	delay := backoff(r, attempts)
	if l.d.Now().Add(delay).UnixMilli() > again.Until {
		w.bury(device.ID, r.Reason, again.value())
		return "dead"
	}
	w.delay(again, delay)
	l.d.metrics.retries.WithLabelValues(string(device.Platform), r.Reason).Inc()
	return "retrying"
}

// backoff is how long a push waits for its next attempt: what the provider said,
// else a first step that doubles with every attempt; and a little more, so that
// pushes that failed together do not come back together.
func backoff(r push.Result, attempts int) time.Duration {
	delay := r.RetryAfter
	if delay == 0 {
		delay = r.Backoff
		for n := 1; n < attempts && delay < maxBackoff; n++ {
			delay *= 2
		}
		delay = min(delay, maxBackoff)
	}
	if delay == 0 {
		return 0
	}
	return delay + rand.N(delay/4+1)
}

// forget drops a registration that the provider calls dead, of the generation
// that was used, unless it is younger than what the provider says.
func (l *lane) forget(w *work, device devices.Device, r push.Result) {
	if r.Outcome == push.ForgetIfOthersSucceed || r.Reason == "moved" {
		return // the gate turns the former into Forget; the latter is unlisted already
	}
	if !r.At.IsZero() && !r.At.After(device.RegisteredAt()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	withdraw, err := l.reportForgotten(ctx, w.entry, device, r.Reason)
	if err != nil { // the next push finds the device again
		l.d.Log.Error("a dead device cannot be reported", "platform", device.Platform, "error", err)
		return
	}
	forgotten, err := l.d.Devices.Forget(ctx, w.entry.User, device)
	if err != nil {
		l.d.Log.Error("a dead device cannot be forgotten", "platform", device.Platform, "error", err)
	} else if !forgotten {
		withdraw(ctx)
	}
}

// suspend keeps a device out of sending until it registers again.
func (l *lane) suspend(w *work, device devices.Device, reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	if err := l.d.Devices.Suspend(ctx, w.entry.User, device, reason); err != nil {
		l.d.Log.Error("a device cannot be kept out of sending", "platform", device.Platform, "error", err)
	}
}

// settle writes what came of finished works, several at a time, until the channel
// is closed.
func (l *lane) settle() {
	for first := range l.finished {
		batch := []*work{first}
		for more := true; more && len(batch) < settleMost; {
			select {
			case w, ok := <-l.finished:
				if more = ok; ok {
					batch = append(batch, w)
				}
			default:
				more = false
			}
		}
		l.write(batch)
		l.release(batch)
		if len(batch) > 1 {
			time.Sleep(linger)
		}
	}
}

// write settles works in Redis. While Redis is away it tries again for as long as
// the leases hold; after that others take the entries over, which G3 allows.
func (l *lane) write(batch []*work) {
	ctx, cancel := context.WithTimeout(context.Background(), l.d.Lease)
	defer cancel()
	commands := make([]*rdb.Command, len(batch))
	for {
		for i, w := range batch {
			commands[i] = l.settleCommand(ctx, w)
		}
		err := l.batcher.Do(ctx, commands...)
		if err == nil {
			break
		}
		l.d.Log.Error("outcomes cannot be written", "lane", l.lane, "error", err)
		if !wait(ctx, pause) {
			return
		}
	}
	for i, w := range batch {
		l.count(w)
		if dropped, err := commands[i].Int(); err == nil {
			l.d.reported(w.entry, dropped)
		}
	}
}

func (l *lane) settleCommand(ctx context.Context, w *work) *rdb.Command {
	stream := l.d.outKey(w.key.partition, l.lane)
	record := stream
	outcomes := ""
	if w.entry != nil && w.entry.Event != "" {
		record = l.d.Inbox.Records.Key(w.entry.User, w.entry.Event)
		outcomes = string(w.outcomes) + inbox.PushOutcome(w.progress())
	}
	reports := l.d.failures(w)
	reportsKey, reportsDueKey := stream, stream
	if len(reports) > 0 {
		reportsKey = l.d.reportsKey(w.key.partition, w.entry.Service)
		reportsDueKey = l.d.reportsDueKey(w.key.partition, w.entry.Service)
	}
	args := make([]any, 0, 10+len(w.delayed)+len(w.dead)+len(reports))
	args = append(args, group, l.d.consumer, w.key.id, l.lane.String(), outcomes)
	args = append(append(args, len(w.delayed)/2), w.delayed...)
	args = append(append(args, len(w.dead)/3), w.dead...)
	args = append(args, mostReports, reportKeep.Milliseconds(), len(reports)/2)
	args = append(args, reports...)
	keys := []string{
		stream, l.d.delayedKey(w.key.partition, l.lane), l.d.deadKey(w.key.partition), record, reportsKey, reportsDueKey,
	}
	if key, ok := w.broadcast(); ok {
		keys = append(keys, l.d.Inbox.Broadcasts.WalkKey(w.key.partition, key))
		args = append(args, w.tallies...)
	}
	return settleScript.Command(ctx, keys, args...)
}

// progress is what the record says of the event's pushes on the whole.
func (w *work) progress() string {
	switch {
	case w.instead != "":
		return w.instead
	case len(w.delayed) > 0:
		return "retrying"
	case len(w.dead) > 0:
		return "dead"
	}
	return "done"
}

func (l *lane) count(w *work) {
	for i := 0; i < len(w.dead); i += 3 {
		reason, _ := w.dead[i+1].(string)
		l.d.metrics.dead.WithLabelValues(l.lane.String(), reason).Inc()
	}
}
