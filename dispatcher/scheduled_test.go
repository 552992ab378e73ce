package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/inbox"
)

// timeIn returns a time as events have it.
func timeIn(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339Nano) }

// makeScheduledDue makes all scheduled events due.
func (w *world) makeScheduledDue() {
	for p := range w.opts.Partitions.Len() {
		w.makeDue(w.opts.Partitions.Key(p, "scheduled"))
	}
}

// scheduled returns the numbers of scheduled events that wait, that are taken, and of hashes.
func (w *world) scheduled() (waiting, taken, events int) {
	ctx := context.Background()
	for p := range w.opts.Partitions.Len() {
		waiting += int(w.rdb.ZCard(ctx, w.opts.Partitions.Key(p, "scheduled")).Val())
		taken += int(w.rdb.ZCard(ctx, w.opts.Partitions.Key(p, "scheduled:taken")).Val())
	}
	for _, key := range w.rdb.Keys(ctx, w.prefix+":*:scheduled:*").Val() {
		if w.rdb.Type(ctx, key).Val() == "hash" {
			events++
		}
	}
	return waiting, taken, events
}

// An event is published at its time, by whichever process is there, once, and with its TTL
// counted from then.
func TestScheduledEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := newWorld(t)
	w.register(66, devices.Android, "A")
	sent := fmt.Sprintf(`{"id":"e","type":"discount","receiver_ids":[66,67],"message":"m","options":{"at":%q,"ttl":"1h"}}`, timeIn(20*day))
	for repeat := range 2 {
		if r := w.publish(sent); r.Duplicate != (repeat > 0) || r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
	if r := w.Publish(context.Background(), "service:test", w.parse(`{"id":"e","type":"discount","receiver_ids":[66,67],"message":"other"}`))[0]; !errors.Is(r.Err, inbox.ErrConflict) {
		t.Errorf("other content: %+v", r)
	}
	w.status("e", func(s delivery.ReceiverStatus) bool {
		return s.Push == inbox.PushScheduled && time.Until(s.At) > 19*day
	})
	if waiting, due := w.metric("kabar_scheduled_events", "state", "waiting"), w.metric("kabar_scheduled_events", "state", "due"); waiting != 1 || due != 0 {
		t.Errorf("%v events wait and %v are due", waiting, due)
	}
	if n := w.notes(66); n != 0 {
		t.Errorf("%d notifications before the time", n)
	}
	w.makeScheduledDue()
	if waiting, due := w.metric("kabar_scheduled_events", "state", "waiting"), w.metric("kabar_scheduled_events", "state", "due"); waiting != 0 || due != 1 {
		t.Errorf("%v events wait and %v are due", waiting, due)
	}
	w.run()
	other.run()
	w.status("e", func(s delivery.ReceiverStatus) bool { return s.Push == "done" && !s.StoredAt.IsZero() && s.At.IsZero() })
	w.eventually("nothing left", func() bool {
		waiting, taken, events := w.scheduled()
		return waiting+taken+events == 0
	})
	pushes := append(w.android.pushes(), other.android.pushes()...)
	if len(pushes) != 1 || time.Until(pushes[0].Expires) > time.Hour || time.Until(pushes[0].Expires) < 30*time.Minute {
		t.Errorf("%d pushes: %+v", len(pushes), pushes)
	}
	if w.notes(66) != 1 || w.notes(67) != 1 {
		t.Errorf("%d and %d notifications", w.notes(66), w.notes(67))
	}
	if r := w.publish(sent); !r.Duplicate || r.Err != nil {
		t.Errorf("repeated after it: %+v", r)
	}
}

// A process that dies after it has taken an event loses nothing.
func TestScheduledEventIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	w.publish(fmt.Sprintf(`{"id":"e","type":"discount","receiver_id":66,"message":"m","options":{"at":%q}}`, timeIn(time.Hour)))
	w.makeScheduledDue()
	for p := range w.opts.Partitions.Len() { // taken, and never published
		waiting, taken := w.opts.Partitions.Key(p, "scheduled"), w.opts.Partitions.Key(p, "scheduled:taken")
		if w.rdb.Exists(ctx, waiting).Val() == 1 {
			w.rdb.Rename(ctx, waiting, taken)
		}
	}
	w.run()
	w.eventually("the notification", func() bool { return w.notes(66) == 1 })
}

// Until its time an event can be taken back.
func TestScheduledEventIsRetracted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := fmt.Sprintf(`{"id":"e","type":"discount","receiver_ids":[66,67],"message":"m","options":{"at":%q}}`, timeIn(time.Hour))
	w.publish(sent)
	w.publish(fmt.Sprintf(`{"id":"other","type":"discount","receiver_id":67,"message":"m","options":{"at":%q}}`, timeIn(time.Hour)))
	w.retract("e")
	if waiting, taken, events := w.scheduled(); waiting != 1 || taken != 0 || events != 1 {
		t.Errorf("%d wait, %d taken, %d kept", waiting, taken, events)
	}
	if r := w.publish(sent); !r.Duplicate || r.Err != nil {
		t.Errorf("repeated: %+v", r)
	}
	w.makeScheduledDue()
	w.run()
	w.eventually("the other event, and nothing left", func() bool {
		waiting, taken, events := w.scheduled()
		return w.notes(67) == 1 && waiting+taken+events == 0
	})
	if n := w.notes(66); n != 0 {
		t.Errorf("%d notifications", n)
	}
	w.status("e", func(s delivery.ReceiverStatus) bool { return s.Push == inbox.PushRetracted })
}

// A user who is erased is not told of what was scheduled before, and what was for this user
// alone is dropped at once.
func TestScheduledEventOfAnErasedUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	w.publish(fmt.Sprintf(`{"id":"alone","type":"discount","receiver_id":66,"message":"m","options":{"at":%q}}`, timeIn(time.Hour)))
	w.publish(fmt.Sprintf(`{"id":"both","type":"discount","receiver_ids":[66,67],"message":"m","options":{"at":%q}}`, timeIn(time.Hour)))
	if err := w.Janitor.Erase(ctx, 66); err != nil {
		t.Fatal(err)
	}
	if waiting, _, events := w.scheduled(); waiting != 1 || events != 1 {
		t.Errorf("%d wait, %d kept", waiting, events)
	}
	if err := w.opts.Inbox.Profiles.Set(ctx, 66, inbox.Profile{}); err != nil { // known anew
		t.Fatal(err)
	}
	w.makeScheduledDue()
	w.run()
	w.eventually("the notification", func() bool { return w.notes(67) == 1 })
	if n := w.notes(66); n != 0 {
		t.Errorf("%d notifications of an erased user", n)
	}
}
