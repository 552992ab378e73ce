package outbox

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// far is a moment that does not come during a test.
var far = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// returnDueOnce returns what is due, while the circuits of the given apps are open.
func (w *world) returnDueOnce(open ...string) {
	w.t.Helper()
	err := w.returnDue(w.t.Context(), w.batcher, func(app string) bool { return slices.Contains(open, app) })
	if err != nil {
		w.t.Fatal(err)
	}
}

// delayed returns how many entries of a partition's lane are delayed or wait for an app.
func (w *world) delayed(partition int, l push.Lane) int {
	w.t.Helper()
	_, n, err := w.Backlog(w.t.Context(), partition, l, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return int(n)
}

// sorted returns the values of a stream in the order of the strings.
func (w *world) sorted(stream string) []string {
	values := w.values(stream)
	slices.Sort(values)
	return values
}

// While an app's circuit is open, what waits for it is returned at its own moment only;
// what waits for another app is returned at once.
func TestReturnDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, l := range push.Lanes {
		w.delay(2, l, "delayed")
		w.wait(2, l, "android", "android", far)
		w.wait(2, l, "ios", "ios", far)
		w.wait(2, l, "ios", "ios, due", now)
	}
	w.returnDueOnce("ios")
	for _, l := range push.Lanes {
		if got := w.sorted(w.StreamKey(2, l)); !slices.Equal(got, []string{"android", "delayed", "ios, due"}) {
			t.Errorf("%s: returned %q", l, got)
		}
		if n := w.delayed(2, l); n != 1 {
			t.Errorf("%s: %d wait, want the one of the open circuit", l, n)
		}
	}
	w.returnDueOnce()
	for _, l := range push.Lanes {
		if got := w.values(w.StreamKey(2, l)); len(got) != 4 || got[3] != "ios" || w.delayed(2, l) != 0 {
			t.Errorf("%s: after the circuit closed: %q, %d wait", l, got, w.delayed(2, l))
		}
	}
}

// A round returns maxDue entries of a lane at most, and none of its sets waits until
// another one is empty.
func TestReturnDueIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const each = maxDue
	for i := range each {
		w.delay(1, push.Bulk, fmt.Sprint("delayed ", i))
		w.wait(1, push.Bulk, "android", fmt.Sprint("android ", i), far)
		w.wait(1, push.Bulk, "ios", fmt.Sprint("ios ", i), far)
	}
	w.returnDueOnce()
	if n := len(w.values(w.StreamKey(1, push.Bulk))); n != maxDue {
		t.Errorf("returned %d", n)
	}
	for _, key := range w.delayedKeys(1, push.Bulk, w.routes.all()) {
		if n := each - w.redis.ZCard(t.Context(), key).Val(); n < maxDue/3 || n > maxDue/3+1 {
			t.Errorf("returned %d from %s", n, key)
		}
	}
	for range 2 {
		w.returnDueOnce()
	}
	if n := len(w.values(w.StreamKey(1, push.Bulk))); n != 3*each || w.delayed(1, push.Bulk) != 0 {
		t.Errorf("returned %d, %d are left", n, w.delayed(1, push.Bulk))
	}
}

// ReturnDue asks for each app's circuit again in every round.
func TestReturnDueWhenACircuitCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wait(0, push.Urgent, "android", "android", far)
	w.wait(0, push.Urgent, "ios", "ios", far)
	ctx, stop := context.WithCancel(t.Context())
	var closed atomic.Bool
	asked, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.ReturnDue(ctx, w.batcher, func(app string) bool {
			select {
			case asked <- struct{}{}:
			default:
			}
			return app == "android" || !closed.Load()
		})
	}()
	defer func() { stop(); <-done }()
	for range 4 { // a whole round at least
		<-asked
	}
	if n := w.delayed(0, push.Urgent); n != 2 {
		t.Fatalf("%d wait while both circuits are open", n)
	}
	closed.Store(true)
	messages, err := w.Read(t.Context(), push.Urgent, 4)
	for len(messages) == 0 && err == nil {
		messages, err = w.Read(t.Context(), push.Urgent, 4)
	}
	if err != nil || len(messages) != 1 || messages[0].Value != "ios" {
		t.Errorf("read %+v, %v", messages, err)
	}
}

// Probes are taken from each lane, so that none waits for another's, and from as many
// partitions as possible.
func TestRelease(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	for i := range 3 {
		at := far.Add(time.Duration(i) * time.Second)
		w.wait(1, push.Urgent, "ios", fmt.Sprint("urgent ", i), at)
		w.wait(3, push.Urgent, "ios", fmt.Sprint("urgent ", i), at)
		w.wait(0, push.Chat, "ios", fmt.Sprint("chat ", i), at)
		w.wait(2, push.Bulk, "ios", fmt.Sprint("bulk ", i), at)
		w.wait(2, push.Urgent, "android", fmt.Sprint("android ", i), at)
	}
	release := func(n, want int) {
		t.Helper()
		if got, err := w.Release(ctx, w.batcher, "ios", n); got != want || err != nil {
			t.Fatalf("released %d, %v; want %d", got, err, want)
		}
	}
	check := func(p int, l push.Lane, want ...string) {
		t.Helper()
		if got := w.values(w.StreamKey(p, l)); !slices.Equal(got, want) {
			t.Errorf("partition %d, %s: %q, want %q", p, l, got, want)
		}
	}
	release(0, 0)
	release(2, 6)
	check(1, push.Urgent, "urgent 0")
	check(3, push.Urgent, "urgent 0")
	check(0, push.Chat, "chat 0", "chat 1")
	check(2, push.Bulk, "bulk 0", "bulk 1")
	release(100, 6)
	check(1, push.Urgent, "urgent 0", "urgent 1", "urgent 2")
	check(0, push.Chat, "chat 0", "chat 1", "chat 2")
	check(2, push.Bulk, "bulk 0", "bulk 1", "bulk 2")
	release(1, 0)
	check(2, push.Urgent)
	if n := w.delayed(2, push.Urgent); n != 3 {
		t.Errorf("%d wait for the other app", n)
	}
}

// A partition that does not answer does not keep the others from giving probes.
func TestReleaseWithAFault(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	w.wait(1, push.Urgent, "ios", "v", far)
	if err := w.redis.Set(ctx, w.WaitingKey(2, push.Urgent, "ios"), "not a set", 0).Err(); err != nil {
		t.Fatal(err)
	}
	n, err := w.Release(ctx, w.batcher, "ios", 2)
	if n != 1 || !redis.HasErrorPrefix(err, "WRONGTYPE") {
		t.Errorf("released %d, %v", n, err)
	}
}

// What waits for an app is delayed, and not sent soon, even when its circuit closes soon.
func TestBacklogOfWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.queue(1, push.Bulk, "queued")
	w.delay(1, push.Bulk, "due")
	w.wait(1, push.Bulk, "ios", "waiting", now)
	soon, delayed, err := w.Backlog(t.Context(), 1, push.Bulk, now)
	if soon != 2 || delayed != 2 || err != nil {
		t.Errorf("%d soon, %d delayed, %v", soon, delayed, err)
	}
}

// Entries that wait for an app that no process knows are returned like all others.
func TestDelayForAnUnknownApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := &Entry{User: 66, Owed: "d1", ID: "n1", Body: "{}"}
	s := &Settlement{Key: w.hold(1, push.Chat, "v"), Lane: push.Chat, Delayed: []Delayed{{Entry: e, Route: "watch"}}}
	if held, _ := w.settleEntry(s); !held {
		t.Fatal("not held")
	}
	w.returnDueOnce("android", "ios")
	if got := w.values(w.StreamKey(1, push.Chat)); len(got) != 1 {
		t.Errorf("returned %q", got)
	}
}

// What waits for a route that is not configured any more is found by a gateway that has never
// heard of it, and returned: its circuit is not open there.
func TestRoutesThatAreNotConfiguredAnyMore(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	former := newRoutes([]string{"seller.android"})
	if err := former.share(ctx, w.batcher, w.routesKey()); err != nil {
		t.Fatal(err)
	}
	w.wait(1, push.Chat, "seller.android", "v", time.Now().Add(time.Hour))
	if w.returnDueOnce(); w.routes.know("seller.android") || len(w.values(w.StreamKey(1, push.Chat))) != 0 {
		t.Error("it was known before")
	}
	if err := w.routes.share(ctx, w.batcher, w.routesKey()); err != nil {
		t.Fatal(err)
	}
	w.returnDueOnce()
	if values := w.values(w.StreamKey(1, push.Chat)); len(values) != 1 || values[0] != "v" {
		t.Errorf("returned %q", values)
	}
	if err := former.share(ctx, w.batcher, w.routesKey()); err != nil || !former.know("ios") {
		t.Errorf("the other way round: %v, %q", err, former.all())
	}
}
