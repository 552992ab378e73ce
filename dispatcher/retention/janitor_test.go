package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// An erasure that fails holds up neither the other erasures nor the sweep.
func TestStepContinuesPastAnErasureThatFails(t *testing.T) {
	w := newWorld(t, "first", 0)
	ctx := context.Background()
	w.notify(66, "old")
	stuck, next := int64(7001), int64(7002) // in the same partition
	for w.partitions.OfUser(next) != w.partitions.OfUser(stuck) {
		next++
	}
	for i, user := range []int64{stuck, next} {
		if err := w.inbox.Eraser.Begin(ctx, user, time.Duration(i)*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.redis.Set(ctx, w.partitions.UserKey(stuck, "partners"), "not a set", 0).Err(); err != nil {
		t.Fatal(err)
	}
	second := newWorld(t, "second", 91*day)
	for range w.partitions.Len() {
		if err := second.step(ctx); err == nil || !strings.Contains(err.Error(), fmt.Sprint(stuck)) {
			t.Errorf("told %v", err)
		}
	}
	if w.erasure(stuck) != "first" || w.erasure(next) != "done" {
		t.Errorf("the one that fails is %q, the other %q", w.erasure(stuck), w.erasure(next))
	}
	if n := w.notifications(66); n != 0 {
		t.Errorf("not swept: %d notifications", n)
	}
}

// failingFiles records its calls, and fails.
type failingFiles struct {
	users   []int64
	befores []time.Time
}

func (f *failingFiles) Expire(_ context.Context, users []int64, before time.Time) (int, error) {
	f.users, f.befores = append(f.users, users...), append(f.befores, before)
	return 2, errors.New("the bucket is unavailable")
}

// Files that users sent expire with their messages. A failing bucket does not delay the
// sweep.
func TestSweepExpiresFiles(t *testing.T) {
	w := newWorld(t, "first", 0)
	files := &failingFiles{}
	w.SetFiles(files)
	ctx := context.Background()
	users := []int64{66, 15, 7001}
	for _, user := range users {
		w.notify(user, "e")
	}
	began := time.Now().Add(-time.Minute) // Redis' clock may differ slightly
	failed := 0
	for range w.partitions.Len() {
		if err := w.step(ctx); err != nil {
			failed++
		}
	}
	slices.Sort(files.users)
	if want := slices.Sorted(slices.Values(users)); !slices.Equal(files.users, want) {
		t.Errorf("files of users %v, want %v", files.users, want)
	}
	for _, before := range files.befores {
		if before.Before(began.Add(-30*day)) || before.After(time.Now().Add(time.Minute-30*day)) {
			t.Errorf("files from before %v expire", before)
		}
	}
	if failed != len(files.befores) {
		t.Errorf("%d of %d failures were returned", failed, len(files.befores))
	}
	if got := testutil.ToFloat64(w.swept.WithLabelValues("attachment")); got != float64(2*failed) {
		t.Errorf("%v attachments were counted", got)
	}
}

// What is urgent waits for a slice of the sweep, not for a page.
func TestSweepInSlices(t *testing.T) {
	w := newWorld(t, "first", 0)
	files := &failingFiles{}
	w.SetFiles(files)
	var users []int64
	for user := int64(1); len(users) < 2*sweepSlice+5; user++ {
		if w.partitions.OfUser(user) == 0 {
			users = append(users, user)
			w.notify(user, fmt.Sprint("e", user))
		}
	}
	_ = w.step(context.Background()) // returns the failures of the bucket
	if !slices.Equal(files.users, users) || len(files.befores) != 3 {
		t.Errorf("users %v in %d slices", files.users, len(files.befores))
	}
}

// A user whose data cannot be read delays neither other users nor the sweep.
func TestSweepContinuesPastAUserThatFails(t *testing.T) {
	w := newWorld(t, "first", 0)
	ctx := context.Background()
	other := int64(67)
	for w.partitions.OfUser(other) != w.partitions.OfUser(66) {
		other++
	}
	w.notify(66, "old")
	w.notify(other, "old")
	if err := w.redis.Del(ctx, w.partitions.UserKey(66, "notes")).Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.redis.Set(ctx, w.partitions.UserKey(66, "notes"), "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	later := newWorld(t, "second", 91*day)
	failed := 0
	for range w.partitions.Len() {
		if err := later.step(ctx); err != nil {
			failed++
			if !strings.Contains(err.Error(), "user 66") {
				t.Errorf("told %v", err)
			}
		}
	}
	if failed != 1 {
		t.Errorf("%d of %d steps failed, want one", failed, w.partitions.Len())
	}
	if n := w.notifications(other); n != 0 {
		t.Errorf("%d notifications of the other user are left", n)
	}
}

// Only one process at a time holds the lease. The next holder continues at the stored
// position.
func TestLease(t *testing.T) {
	w := newWorld(t, "first", 0, func(o *Options) { o.Lease = time.Hour })
	second := newWorld(t, "second", 0)
	ctx := context.Background()
	at := position{2, 66, 99}
	if held, _, _, err := w.hold(ctx, at.String()); err != nil || !held {
		t.Fatal(held, err)
	}
	if held, got, _, err := second.hold(ctx, ""); err != nil || held || got != (position{}) {
		t.Fatal("held by two", got, err)
	}
	w.lease = 50 * time.Millisecond
	if held, got, _, err := w.hold(ctx, ""); err != nil || !held || got != at {
		t.Fatal(held, got, err)
	}
	w.eventually("the first one's lease ends", func() bool {
		held, got, _, err := second.hold(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		return held && got == at
	})
}

// The janitor works while Redis' memory is full: it frees memory.
func TestLeaseWithFullMemory(t *testing.T) {
	ctx := t.Context()
	server, err := localredis.Start(ctx, localredis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client := localredistest.Client(t, server.Addr())
	b := rdb.NewBatcher(client, 0)
	t.Cleanup(b.Close)
	if err := client.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(ctx, "key", "value", 0).Err(); !redis.HasErrorPrefix(err, "OOM") {
		t.Fatalf("the memory is not full: %v", err)
	}
	if _, err := b.Run(ctx, leaseScript, []string{"lease"}, "process", 1000, ""); err != nil {
		t.Error(err)
	}
}

// A stored position that cannot be read is an error, and so is a lease key of another type.
func TestLeaseThatCannotBeRead(t *testing.T) {
	w := newWorld(t, "first", 0)
	ctx := context.Background()
	if err := w.redis.HSet(ctx, w.leaseKey(), "at", "everywhere").Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.step(ctx); err == nil || !strings.Contains(err.Error(), "how far") {
		t.Errorf("told %v", err)
	}
	if err := w.redis.Set(ctx, w.leaseKey(), "not a hash", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.step(ctx); err == nil {
		t.Error("no error")
	}
}

// The sweep visits all users of all partitions and then pauses.
func TestSweep(t *testing.T) {
	w := newWorld(t, "first", 0)
	ctx := context.Background()
	for user := range int64(20) {
		w.notify(user+1, fmt.Sprint("e", user))
	}
	second := newWorld(t, "second", 91*day)
	for range w.partitions.Len() {
		if err := second.step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for user := range int64(20) {
		if n := w.notifications(user + 1); n != 0 {
			t.Errorf("user %d has %d notifications", user+1, n)
		}
	}
	if n := testutil.ToFloat64(second.swept.WithLabelValues("notification")); n != 20 {
		t.Errorf("counted %v", n)
	}
	w.notify(1, "late")
	if err := second.step(ctx); err != nil {
		t.Fatal(err)
	}
	if n := w.notifications(1); n != 1 {
		t.Errorf("it does not rest: %d notifications", n)
	}
	// When the next round is due, the sweep starts again.
	if _, _, _, err := second.hold(ctx, position{partition: w.partitions.Len(), next: 1}.String()); err != nil {
		t.Fatal(err)
	}
	for range w.partitions.Len() {
		if err := second.step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.notifications(1); n != 0 {
		t.Errorf("not swept again: %d notifications", n)
	}
}

// Run sweeps until its context ends.
func TestRun(t *testing.T) {
	w := newWorld(t, "first", 0)
	w.notify(66, "old")
	second := newWorld(t, "second", 91*day)
	// Start in the user's partition, because Run visits one partition per second.
	at := position{partition: w.partitions.OfUser(66), next: 1}
	if _, _, _, err := second.hold(context.Background(), at.String()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { second.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	w.eventually("swept", func() bool { return w.notifications(66) == 0 })
}
