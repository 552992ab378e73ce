package dispatcher

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// An outcome that cannot be written is kept for longer than a lease. Meanwhile no process
// takes its entry over, and no other entry waits for it.
func TestOutcomeThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, soon)
	w.register(66, devices.Android, "A")
	release := make(chan struct{})
	w.android.answer = func(*push.Delivery) push.Result { <-release; return push.Result{Outcome: push.Accepted} }
	w.run()
	other := New(w.opts.withMetrics())
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { other.Run(ctx) })
	defer func() { stop(); running.Wait() }()

	w.publish(promo)
	w.android.wait(t, "attempt", count(1))
	records, err := w.rdb.Keys(ctx, w.prefix+":*u66:e:*").Result()
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	record := records[0]
	rename := func(from, to string) {
		t.Helper()
		if err := w.rdb.Rename(ctx, from, to).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rename(record, record+":aside")
	if err := w.rdb.HSet(ctx, record, "of", "a wrong type").Err(); err != nil {
		t.Fatal(err)
	}
	close(release)

	stream := w.Outbox.StreamKey(w.opts.Partitions.OfUser(66), push.Bulk)
	var first redis.XPendingExt
	renewals, last := 0, first.Idle
	w.eventually("the lease is renewed for two leases", func() bool {
		pending, err := w.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: stream, Group: workers, Start: "-", End: "+", Count: 1}).Result()
		if err != nil || len(pending) != 1 {
			t.Fatal(pending, err)
		}
		p := pending[0]
		if first.ID == "" {
			first = p
		}
		if p.ID != first.ID || p.Consumer != first.Consumer || p.RetryCount != 1 {
			t.Fatalf("held: %+v, at first %+v", p, first)
		}
		if p.Idle < last {
			renewals++
		}
		last = p.Idle
		return renewals >= 8 // four per lease
	})
	for _, id := range []string{"promo-2", "promo-3"} {
		w.publish(strings.Replace(promo, "promo-1", id, 1))
		w.eventually(id+" is settled", func() bool { out, delayed, _ := w.left(); return out == 1 && delayed == 0 })
	}
	if err := w.rdb.Del(ctx, record).Err(); err != nil {
		t.Fatal(err)
	}
	rename(record+":aside", record)
	w.settled()
	if n := len(w.android.pushes()); n != 3 {
		t.Errorf("%d attempts, want 3", n)
	}
	if s := w.status("promo-1", func(s delivery.ReceiverStatus) bool { return true }); s.Push != "done" {
		t.Errorf("status %+v", s)
	}
}
