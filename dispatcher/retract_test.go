package dispatcher

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
)

// retract takes an event of the service test back.
func (w *world) retract(id string) {
	w.t.Helper()
	if err := w.Retract(context.Background(), "service:test", id); err != nil {
		w.t.Fatal(err)
	}
}

// A retracted event leaves every queue, and what another event has there stays.
func TestRetractEmptiesQueues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	w.android.answer = func(*push.Delivery) push.Result { return push.Result{Outcome: push.Later, RetryAfter: time.Hour} }
	w.ios.answer = func(*push.Delivery) push.Result { return push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"} }
	w.register(66, devices.Android, "A")
	w.register(66, devices.IOS, "B")
	stop := w.run()
	w.publish(`{"id":"e","type":"dompet","receiver_ids":[66,67],"message":"m"}`)
	w.publish(`{"id":"other","type":"dompet","receiver_id":66,"message":"m"}`)
	w.eventually("one delayed and one dead of each", func() bool {
		out, delayed, dead := w.left()
		return out == 0 && delayed == 2 && dead == 2
	})
	w.retract("e")
	if out, delayed, dead := w.left(); out != 0 || delayed != 1 || dead != 1 {
		t.Errorf("%d queued, %d delayed, %d dead", out, delayed, dead)
	}
	stop()
	w.publish(`{"id":"late","type":"dompet","receiver_id":66,"message":"m"}`)
	for range 2 {
		w.retract("late")
		if out, delayed, dead := w.left(); out != 0 || delayed != 1 || dead != 1 {
			t.Errorf("%d queued, %d delayed, %d dead", out, delayed, dead)
		}
	}
	all, err := w.Delivery.Status(ctx, "service:test", "e")
	if err != nil || len(all) != 2 || all[0].Push != inbox.PushRetracted || all[1].Push != inbox.PushRetracted {
		t.Errorf("%+v, %v", all, err)
	}
	if again := w.publish(`{"id":"e","type":"dompet","receiver_ids":[66,67],"message":"m"}`); !again.Duplicate || again.Err != nil {
		t.Errorf("repeated: %+v", again)
	}
	for source, id := range map[string]string{"service:test": "unheard of", "service:another": "other"} {
		if err := w.Retract(ctx, source, id); !errors.Is(err, inbox.ErrNotFound) {
			t.Errorf("%s of %s: %v", id, source, err)
		}
	}
}

// A push that a worker has read before the event was retracted is not attempted.
func TestRetractedWhileHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	w.register(66, devices.Android, "A")
	w.publish(`{"id":"e","type":"dompet","receiver_id":66,"message":"m"}`)
	stream := w.Outbox.StreamKey(w.opts.Partitions.OfUser(66), push.Urgent)
	read := w.rdb.XRange(ctx, stream, "-", "+").Val()[0].Values["e"]
	w.retract("e")
	w.rdb.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []any{"e", read}})
	w.run()
	w.settled()
	if n := len(w.android.pushes()); n != 0 {
		t.Errorf("%d pushes", n)
	}
	if _, _, dead := w.left(); dead != 0 {
		t.Errorf("%d dead letters", dead)
	}
	w.status("e", func(s delivery.ReceiverStatus) bool { return s.Push == inbox.PushRetracted })
}
