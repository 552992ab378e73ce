package outbox

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// aged returns an entry of an event that was accepted a time before now.
func aged(before time.Duration) *Entry {
	at := now.Add(-before)
	id := fmt.Sprintf("%08x%05x00000000000", at.Unix(), at.Nanosecond()/1000)
	return &Entry{User: 66, Type: "transaction", ID: id, Body: "{}"}
}

// read reads the only new entry of a lane.
func (w *world) read(l push.Lane) (Key, *Entry) {
	w.t.Helper()
	messages, err := w.Read(w.t.Context(), l, 1)
	if err != nil || len(messages) != 1 {
		w.t.Fatalf("read %+v, %v", messages, err)
	}
	e, err := ParseEntry(messages[0].Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return messages[0].Key, e
}

// settleAs settles an entry of the urgent lane that this consumer holds.
func (w *world) settleAs(key Key, e *Entry, delayed ...Delayed) {
	w.t.Helper()
	if held, _ := w.settleEntry(&Settlement{Key: key, Lane: push.Urgent, Entry: e, Delayed: delayed}); !held {
		w.t.Fatal("not held")
	}
}

// checkUnsent checks the age of the oldest unsent urgent push.
func (w *world) checkUnsent(when string, want time.Duration) {
	w.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(w.Outbox))
	got := gather(w.t, reg)["kabar_unsent_oldest_seconds urgent"]
	if got != want.Seconds() {
		w.t.Errorf("%s: the oldest unsent push is %v s old, want %v", when, got, want)
	}
}

// indexed returns how many members both sets of the index have.
func (w *world) indexed(p int, l push.Lane) int64 {
	key := w.unsentKey(p, l)
	n := w.redis.ZCard(w.t.Context(), key).Val()
	if due := w.redis.ZCard(w.t.Context(), key+":due").Val(); due != n {
		w.t.Errorf("%d members, %d by due time", n, due)
	}
	return n
}

// The age of a push counts from the acceptance of its event, whatever happens to it, until
// it is settled for good.
func TestUnsentAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.checkUnsent("nothing", 0)
	w.queue(1, push.Urgent, aged(10*time.Minute).Value())
	w.checkUnsent("queued", 10*time.Minute)
	key, e := w.read(push.Urgent)
	w.checkUnsent("held", 10*time.Minute)
	w.settleAs(key, e,
		Delayed{Entry: e.Retry("d1", 1), By: time.Hour},
		Delayed{Entry: e.Retry("d2", 0), By: time.Hour, Route: "ios"})
	w.checkUnsent("delayed", 10*time.Minute)
	w.queue(1, push.Urgent, aged(time.Minute).Value())
	young, youngEntry := w.read(push.Urgent)

	w.returnDueOnce() // what waits for the circuit
	w.checkUnsent("one is returned", 10*time.Minute)
	key, e = w.read(push.Urgent)
	w.settleAs(key, e)
	w.checkUnsent("one is accepted", 10*time.Minute)

	if err := w.redis.ZAdd(t.Context(), w.DelayedKey(1, push.Urgent), redis.Z{
		Member: w.redis.ZRange(t.Context(), w.DelayedKey(1, push.Urgent), 0, 0).Val()[0],
	}).Err(); err != nil { // do not wait for an hour
		t.Fatal(err)
	}
	w.returnDueOnce()
	key, e = w.read(push.Urgent)
	w.settleAs(key, e, Delayed{Entry: e.Retry("d1", 2), By: 0})
	w.checkUnsent("delayed again", 10*time.Minute)
	w.returnDueOnce()
	key, e = w.read(push.Urgent)
	w.settleAs(key, e)
	w.checkUnsent("both are accepted", time.Minute)
	w.settleAs(young, youngEntry)
	w.checkUnsent("all are accepted", 0)
	if n := w.indexed(1, push.Urgent); n != 0 {
		t.Errorf("%d members are left", n)
	}
}

// A push that waits for the end of quiet hours has no age until then.
func TestUnsentAgeOfQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.queue(1, push.Urgent, aged(time.Hour).Value())
	key, e := w.read(push.Urgent)
	quiet := *e
	quiet.Quiet = true
	w.settleAs(key, e, Delayed{Entry: &quiet, By: 8 * time.Hour})
	w.checkUnsent("in quiet hours", 0)
	if err := w.ReleaseQuiet(t.Context(), 66); err != nil {
		t.Fatal(err)
	}
	w.passed.Store(int64(8*time.Hour + time.Minute))
	if w.partitions.OfUser(66) != 1 {
		w.redis.ZAdd(t.Context(), w.DelayedKey(1, push.Urgent), redis.Z{
			Member: w.redis.ZRange(t.Context(), w.DelayedKey(1, push.Urgent), 0, 0).Val()[0],
		})
	}
	w.returnDueOnce()
	w.checkUnsent("a minute after their end", time.Minute)
	key, e = w.read(push.Urgent)
	w.settleAs(key, e, Delayed{Entry: e.Retry("d1", 1), By: time.Hour})
	w.checkUnsent("delayed a minute after their end", time.Minute)
}

// A push that was requeued is as old as its requeueing.
func TestUnsentAgeOfRequeued(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.bury(1, now, push.Urgent, aged(20*24*time.Hour).Value())
	if err := w.Requeue(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.passed.Store(int64(time.Minute))
	w.checkUnsent("requeued", time.Minute)
	key, e := w.read(push.Urgent)
	w.settleAs(key, e, Delayed{Entry: e.Retry("d1", 1), By: time.Hour})
	w.checkUnsent("delayed", time.Minute)
}

// Erasing drops the members of what it erases.
func TestUnsentAgeOfErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 2 { // one is delayed, the other one held
		w.queue(1, push.Urgent, aged(time.Hour).Value())
		key, e := w.read(push.Urgent)
		w.settleAs(key, e,
			Delayed{Entry: e.Retry("d1", 1), By: time.Hour},
			Delayed{Entry: e.Retry("d2", 1), By: time.Hour, Route: "ios"})
	}
	w.returnDueOnce()
	w.read(push.Urgent)
	if n := w.indexed(1, push.Urgent); n != 2 {
		t.Fatalf("%d members", n)
	}
	if err := w.DropEntries(t.Context(), 1, func(value string) bool { return strings.Contains(value, `"u":66`) }); err != nil {
		t.Fatal(err)
	}
	w.checkUnsent("erased", 0)
	if n := w.indexed(1, push.Urgent); n != 0 {
		t.Errorf("%d members are left", n)
	}
}

// sweepOnce sweeps the index.
func (w *world) sweepOnce() {
	w.t.Helper()
	if err := w.sweepUnsent(w.t.Context(), w.batcher); err != nil {
		w.t.Fatal(err)
	}
}

// A member whose entry is gone without having been settled with the index is dropped, and no
// member is whose entry is delayed, waits, is queued or held.
func TestSweepUnsent(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	delay := func(before, by time.Duration, app string) {
		t.Helper()
		w.queue(1, push.Urgent, aged(before).Value())
		key, e := w.read(push.Urgent)
		w.settleAs(key, e, Delayed{Entry: e.Retry("d1", 1), By: by, Route: app})
	}
	delay(4*time.Hour, 0, "") // the one that vanishes
	w.returnDueOnce()
	ghost, e := w.read(push.Urgent)
	for at := w.redisTime(); w.redisTime() == at; {
		runtime.Gosched() // until it was due before the next sweep
	}
	delay(3*time.Hour, 0, "") // is held during the first two sweeps
	w.returnDueOnce("ios")
	held, heldEntry := w.read(push.Urgent)
	delay(2*time.Hour, time.Hour, "")
	delay(time.Hour, time.Hour, "ios")

	if n := w.redis.XDel(ctx, w.StreamKey(1, push.Urgent), ghost.ID).Val(); n != 1 || e.Since == 0 {
		t.Fatalf("%d removed", n)
	}
	w.checkUnsent("with a ghost", 4*time.Hour)
	sweeps := func() {
		for range 3 {
			w.sweepOnce()
		}
	}
	sweeps()
	w.checkUnsent("while one is held, which may be the ghost", 4*time.Hour)
	w.settleAs(held, heldEntry, Delayed{Entry: heldEntry, By: time.Hour})
	sweeps()
	w.checkUnsent("swept", 3*time.Hour)
	if n := w.indexed(1, push.Urgent); n != 3 {
		t.Errorf("%d members are left", n)
	}
	for _, key := range w.delayedKeys(1, push.Urgent, w.routes.all()) {
		w.redis.Del(ctx, key)
	}
	sweeps()
	if n := w.indexed(1, push.Urgent); n != 3 {
		t.Errorf("%d members are left before they were due", n)
	}
	for _, z := range w.redis.ZRangeWithScores(ctx, w.unsentKey(1, push.Urgent)+":due", 0, -1).Val() {
		w.redis.ZAdd(ctx, w.unsentKey(1, push.Urgent)+":due", redis.Z{Member: z.Member, Score: 1})
	}
	sweeps()
	w.checkUnsent("all have vanished", 0)
	if n := w.redis.Exists(ctx, w.unsentKey(1, push.Urgent), w.unsentKey(1, push.Urgent)+":due", w.unsentKey(1, push.Urgent)+":swept").Val(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}
