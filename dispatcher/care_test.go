package dispatcher

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// An erasure that cannot be finished keeps neither the others nor the sweep waiting.
func TestCareGoesOnPastAnErasureThatFails(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.publish(`{"id":"old","type":"dompet","receiver_id":66,"message":"m"}`)
	stuck, next := int64(erased), int64(erased+1) // in one partition
	for w.Partitions.OfUser(next) != w.Partitions.OfUser(stuck) {
		next++
	}
	state := func(user int64) string { return w.rdb.HGet(ctx, w.Partitions.Tombstone(user), "erased").Val() }
	for i, user := range []int64{stuck, next} {
		if err := w.Inbox.Eraser.Begin(ctx, user, time.Duration(i)*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	partners := strings.TrimSuffix(w.Partitions.Tombstone(stuck), "meta") + "partners"
	if err := w.rdb.Set(ctx, partners, "not a set", 0).Err(); err != nil {
		t.Fatal(err)
	}
	second := newWorldOn(t, w.rdb.(*redis.Client).Options().Addr, func(o *Options) {
		store := o.Inbox.Options()
		store.Now = func() time.Time { return time.Now().Add(91 * day) }
		o.Inbox = inbox.New(store)
	})
	b := rdb.NewBatcher(w.rdb, 0)
	t.Cleanup(b.Close)
	for range w.Partitions.Len() {
		if err := second.careOnce(ctx, b); err == nil || !strings.Contains(err.Error(), fmt.Sprint(stuck)) {
			t.Errorf("told %v", err)
		}
	}
	if state(stuck) != "first" || state(next) != "done" {
		t.Errorf("the one that fails is %q, the other %q", state(stuck), state(next))
	}
	if u, err := w.Inbox.Counters.Unreads(ctx, 66); err != nil || u.Notifications != 0 {
		t.Errorf("not swept: %d notifications, %v", u.Notifications, err)
	}
}

// One process at a time takes care; another goes on where it has stopped.
func TestCareGoesOn(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	b := rdb.NewBatcher(w.rdb, 0)
	t.Cleanup(b.Close)
	second := newWorldOn(t, w.rdb.(*redis.Client).Options().Addr)
	if held, _, _, err := w.holdCare(ctx, b, "2 66 99"); err != nil || !held {
		t.Fatal(held, err)
	}
	if held, _, _, err := second.holdCare(ctx, b, ""); err != nil || held {
		t.Fatal("held by two", err)
	}
	if err := w.rdb.HSet(ctx, w.careKey(), "until", 0).Err(); err != nil { // the first one's hold ends
		t.Fatal(err)
	}
	if held, at, _, err := second.holdCare(ctx, b, ""); err != nil || !held || at != (walk{2, 66, 99}) {
		t.Errorf("held by the second: %v at %v, %v", held, at, err)
	}
}

// The loop sweeps all users of all partitions, and then rests.
func TestCareSweeps(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for user := range 20 {
		w.publish(fmt.Sprintf(`{"id":"e%d","type":"dompet","receiver_id":%d,"message":"m"}`, user, user+1))
	}
	second := newWorldOn(t, w.rdb.(*redis.Client).Options().Addr, func(o *Options) {
		store := o.Inbox.Options()
		store.Now = func() time.Time { return time.Now().Add(91 * day) }
		o.Inbox = inbox.New(store)
	})
	b := rdb.NewBatcher(w.rdb, 0)
	t.Cleanup(b.Close)
	for range w.Partitions.Len() {
		if err := second.careOnce(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	for user := range int64(20) {
		if u, err := w.Inbox.Counters.Unreads(ctx, user+1); err != nil || u.Notifications != 0 {
			t.Errorf("user %d has %d notifications, %v", user+1, u.Notifications, err)
		}
	}
	w.publish(`{"id":"late","type":"dompet","receiver_id":1,"message":"m"}`)
	if err := second.careOnce(ctx, b); err != nil {
		t.Fatal(err)
	}
	if u, err := w.Inbox.Counters.Unreads(ctx, 1); err != nil || u.Notifications != 1 {
		t.Errorf("it does not rest: %d notifications, %v", u.Notifications, err)
	}
}
