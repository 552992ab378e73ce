package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// While nothing is sent, a broadcast waits instead of filling the outbox. Urgent pushes are
// not delayed.
func TestBroadcastWaitsForTheOutbox(t *testing.T) {
	const users, backlog = 400, 20
	gate := make(chan struct{})
	w := newWorld(t, func(o *Options) { o.Backlog = backlog })
	w.android.answer = func(d *push.Delivery) push.Result {
		if d.Lane == push.Bulk {
			<-gate
		}
		return push.Result{Outcome: push.Accepted}
	}
	for user := int64(1); user <= users; user++ {
		w.register(user, devices.Android, fmt.Sprint("token", user))
	}
	open := sync.OnceFunc(func() { close(gate) })
	w.run()
	t.Cleanup(open)
	w.start(fmt.Sprintf(`{"audience":"all","id":"x","message":"m","rate":%d}`, broadcast.MaxRate))
	full := func() bool {
		for p := range w.opts.Partitions.Len() {
			soon, _, err := w.Outbox.Backlog(context.Background(), p, push.Bulk, w.opts.Now().Add(time.Hour))
			if err != nil || soon < backlog {
				return false
			}
		}
		return true
	}
	w.eventually("the outbox is full", full)
	w.publish(`{"id":"paid","type":"dompet","receiver_id":7,"message":"Dana masuk"}`)
	w.android.wait(t, "the urgent push", func(sent []push.Delivery) bool {
		return slices.ContainsFunc(sent, func(d push.Delivery) bool { return d.Lane == push.Urgent })
	})
	out, _, _ := w.left()
	const step = 64 // the most users of a partition that a broadcaster notifies at once
	if most := w.opts.Partitions.Len() * (backlog + step); out > most || w.broadcast("x").Sent == users {
		t.Errorf("%d entries wait, want %d at most", out, most)
	}
	open()
	w.becomes("x", broadcast.Done)
	w.reaches("x", "pushes", func(s broadcast.Status) bool { return s.Pushed == users })
}

// Promotions that are delayed until the end of some users' quiet hours do not delay other
// users' promotions.
func TestQuietHoursDoNotHoldABroadcastUp(t *testing.T) {
	t.Parallel()
	const users, quiet = 800, 400
	w := newWorld(t, func(o *Options) { o.Backlog = 2 })
	now := w.opts.Now().UTC()
	clock := func(at time.Time) model.Clock { return model.Clock(at.Hour()*60 + at.Minute()) }
	hours := model.QuietHours{From: clock(now.Add(-time.Hour)), To: clock(now.Add(9 * time.Hour))}
	for user := int64(1); user <= users; user++ {
		w.register(user, devices.Android, fmt.Sprint("token", user))
		if user > quiet {
			continue
		}
		if err := w.opts.Inbox.Profiles.SetQuietHours(context.Background(), user, &hours, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	w.start(fmt.Sprintf(`{"audience":"all","id":"x","message":"m","ttl":"24h","rate":%d}`, broadcast.MaxRate))
	w.becomes("x", broadcast.Done)
	w.reaches("x", "pushes", func(s broadcast.Status) bool { return s.Pushed == users-quiet })
	w.eventually("the others wait", func() bool {
		out, delayed, _ := w.left()
		return out == 0 && delayed == quiet
	})
}
