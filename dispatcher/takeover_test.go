package dispatcher

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// When a process dies, its entries are taken over after the lease has ended.
func TestTakeOver(t *testing.T) {
	w := newWorld(t, soon)
	w.register(66, devices.Android, "A")
	ctx := context.Background()
	w.publish(promo)
	if err := w.Outbox.CreateGroups(ctx, push.Bulk); err != nil {
		t.Fatal(err)
	}
	dead := New(w.opts.withMetrics())
	if messages, err := dead.Outbox.Read(ctx, push.Bulk, 10); err != nil || len(messages) != 1 {
		t.Fatalf("the process that dies read %v, %v", messages, err)
	}
	w.run()
	w.android.wait(t, "taken over", count(1))
	w.settled()
}

// workers is the consumer group of the outbox.
const workers = "workers"

// withMetrics returns the options for a second dispatcher on the same Redis.
func (o Options) withMetrics() Options {
	o.Metrics = nil
	return o
}

// An entry that is taken over too often becomes a dead letter.
func TestPoisonBecomesADeadLetter(t *testing.T) {
	w := newWorld(t, soon)
	w.register(66, devices.Android, "A")
	ctx := context.Background()
	w.publish(promo)
	if err := w.Outbox.CreateGroups(ctx, push.Bulk); err != nil {
		t.Fatal(err)
	}
	messages, err := New(w.opts.withMetrics()).Outbox.Read(ctx, push.Bulk, 10)
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	stream := w.Outbox.StreamKey(messages[0].Partition, push.Bulk)
	for range 5 { // as many times as a worker may die of it
		if err := w.rdb.Do(ctx, "xclaim", stream, workers, "victim", 0, messages[0].ID).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	w.settled()
	letters, err := w.Outbox.DeadLetters(ctx, 10)
	if err != nil || len(letters) != 1 || letters[0].Reason != "poison" {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
	if n := len(w.android.pushes()); n != 0 {
		t.Errorf("%d attempts", n)
	}
}

// An attempt that takes longer than the time after which others take over is not taken
// over, because its lease is renewed. Only the test moves the clock of Redis.
func TestLeasesAreRenewed(t *testing.T) {
	mini, now := miniredis.RunT(t), time.Now()
	mini.SetTime(now)
	w := newWorldOn(t, mini.Addr(), soon)
	w.register(66, devices.Android, "A")
	release := make(chan struct{})
	w.android.answer = func(*push.Delivery) push.Result { <-release; return push.Result{Outcome: push.Accepted} }
	w.run()
	w.publish(promo)
	w.android.wait(t, "attempt", count(1))
	stream := w.Outbox.StreamKey(w.opts.Partitions.OfUser(66), push.Bulk)
	held := func() redis.XPendingExt {
		pending, err := w.rdb.XPendingExt(context.Background(), &redis.XPendingExtArgs{
			Stream: stream, Group: workers, Start: "-", End: "+", Count: 10,
		}).Result()
		if err != nil || len(pending) != 1 {
			t.Fatal(pending, err)
		}
		return pending[0]
	}
	holder := held().Consumer
	other := New(w.opts.withMetrics())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { other.Run(ctx) })
	for range 3 {
		now = now.Add(w.opts.Lease * 3 / 4 * 9 / 10) // others take over after three quarters of the lease
		mini.SetTime(now)
		w.eventually("the lease is renewed", func() bool {
			h := held()
			if h.Consumer != holder {
				t.Fatalf("%s holds the entry, not %s", h.Consumer, holder)
			}
			return h.Idle == 0
		})
	}
	close(release)
	w.settled()
	cancel()
	wg.Wait()
	if n := len(w.android.pushes()); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

// On SIGTERM the attempts in progress are completed. Another process continues with the
// rest at once.
func TestStopHandsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.InFlight = [len(push.Lanes)]int{2, 2, 2} })
	w.register(66, devices.Android, "A")
	begun, release := make(chan struct{}, 100), make(chan struct{})
	w.android.answer = func(*push.Delivery) push.Result {
		begun <- struct{}{}
		<-release
		return push.Result{Outcome: push.Accepted}
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	const events = 40
	for i := range events {
		w.publish(strings.Replace(promo, "promo-1", fmt.Sprint("p", i), 1))
	}
	<-begun
	stop()
	close(release)
	wg.Wait()
	first := len(w.android.pushes())
	if out, delayed, _ := w.left(); out+delayed != events-first || first == events {
		t.Fatalf("%d sent, %d + %d left of %d", first, out, delayed, events)
	}
	other := New(w.opts.withMetrics())
	ctx, stop = context.WithCancel(context.Background())
	wg.Go(func() { other.Run(ctx) })
	w.settled()
	stop()
	wg.Wait()
	seen := make(map[string]int)
	for _, d := range w.android.pushes() {
		seen[d.ID]++
	}
	if len(seen) != events || len(w.android.pushes()) != events {
		t.Errorf("%d different of %d pushes, want %d", len(seen), len(w.android.pushes()), events)
	}
}
