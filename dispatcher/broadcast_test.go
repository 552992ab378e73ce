package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
)

// start starts a broadcast.
func (w *world) start(raw string) {
	w.t.Helper()
	b, err := w.Broadcasts.Parse([]byte(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Broadcasts.Start(context.Background(), "service:test", b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) broadcast(id string) broadcast.Status {
	w.t.Helper()
	s, err := w.Broadcasts.Get(context.Background(), "service:test", id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// reaches waits until ok accepts a broadcast's status, and returns it.
func (w *world) reaches(id, what string, ok func(broadcast.Status) bool) broadcast.Status {
	w.t.Helper()
	var s broadcast.Status
	w.eventually(what, func() bool {
		s = w.broadcast(id)
		return ok(s)
	})
	return s
}

func (w *world) becomes(id string, state broadcast.State) broadcast.Status {
	w.t.Helper()
	return w.reaches(id, "broadcast "+string(state), func(s broadcast.Status) bool { return s.State == state })
}

func (w *world) set(id string, to broadcast.State) broadcast.Status {
	w.t.Helper()
	s, err := w.Broadcasts.Set(context.Background(), "service:test", id, to)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// know adds users without devices.
func (w *world) know(users int) {
	w.t.Helper()
	for user := range int64(users) {
		if err := w.opts.Inbox.Profiles.Set(context.Background(), user+1, inbox.Profile{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// notes returns how many promotions a user has.
func (w *world) notes(user int64) int {
	w.t.Helper()
	notes, err := w.opts.Inbox.Notifications.List(context.Background(), user, w.Types().Promos(), 0, 10)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(notes)
}

// A sharedClock is a clock that a test sets while others read it.
type sharedClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *sharedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *sharedClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// onClock returns a clock that stands still, and an option that makes a world use it.
func onClock() (*sharedClock, func(*Options)) {
	c := &sharedClock{now: time.Now()}
	return c, func(o *Options) { o.Now = c.Now }
}

// A broadcast reaches every user's phone exactly once and with its whole content. The
// counts are exact.
func TestBroadcastToEveryone(t *testing.T) {
	t.Parallel()
	const users = 40
	w := newWorld(t)
	for user := int64(1); user <= users; user++ {
		w.register(user, devices.Android, fmt.Sprint("token", user))
	}
	w.run()
	w.start(`{"audience":"all","id":"all","message":"Promo","title":"Hemat","details":{"url":"https://example.com"},"ttl":"2h"}`)
	w.becomes("all", broadcast.Done)
	s := w.reaches("all", "pushes", func(s broadcast.Status) bool { return s.Pushed == users })
	if s.Total != users || s.Walked != users || s.Sent != users || s.Skipped != 0 || len(s.Failed) != 0 || s.Left != 0 {
		t.Errorf("%+v", s)
	}
	if s.StartedAt.IsZero() || s.FinishedAt.Before(s.StartedAt) {
		t.Errorf("started %s, finished %s", s.StartedAt, s.FinishedAt)
	}
	w.settled()
	tokens := make(map[string]int)
	for _, p := range w.android.wait(t, "pushes", count(users)) {
		tokens[p.Token]++
		if p.Title != "Hemat" || p.Body != "Promo" || p.Type != "broadcast" || p.Lane != push.Bulk {
			t.Fatalf("%+v", p)
		}
		if left := time.Until(p.Expires); left < time.Hour || left > 2*time.Hour {
			t.Errorf("a push expires in %s", left)
		}
	}
	if len(tokens) != users || slices.Max(slices.Collect(maps.Values(tokens))) != 1 {
		t.Errorf("pushes by token: %v", tokens)
	}
	for user := int64(1); user <= users; user++ {
		if n := w.notes(user); n != 1 {
			t.Errorf("user %d has %d notifications", user, n)
		}
	}
	if n := w.metric("kabar_broadcast_walked_total", "outcome", "sent"); n != users {
		t.Errorf("%v users were counted", n)
	}
}

// Processes start and stop while several broadcasts run. No user is notified twice, none is
// missed, and the counts are exact.
func TestBroadcastSurvivesProcesses(t *testing.T) {
	const users = 300
	rnd := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t, soon)
	w.know(users)
	ids := []string{"a", "b"}
	for _, id := range ids {
		w.start(fmt.Sprintf(`{"audience":"all","id":%q,"message":"m","rate":3000}`, id))
	}
	over := func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return w.broadcast(id).State != broadcast.Done })
	}
	for !over() {
		ctx, kill := context.WithCancel(context.Background())
		var processes sync.WaitGroup
		for range 2 {
			opts := w.opts
			opts.Metrics = nil // so that it gets a registry of its own
			d := New(opts)
			processes.Go(func() { d.Broadcasts.Run(ctx) })
		}
		// These processes run until more users have been notified.
		aim := w.broadcast("a").Sent + w.broadcast("b").Sent + rnd.Int64N(80)
		w.eventually("some were told", func() bool { return w.broadcast("a").Sent+w.broadcast("b").Sent >= aim || over() })
		kill()
		processes.Wait()
	}
	for _, id := range ids {
		if s := w.broadcast(id); s.Sent != users || s.Total != users || s.Skipped != 0 {
			t.Errorf("%+v", s)
		}
	}
	for user := range int64(users) {
		if n := w.notes(user + 1); n != len(ids) {
			t.Errorf("user %d has %d notifications", user+1, n)
		}
	}
}

// While the clock stands still, only the first burst is sent. Then the rate limits how many
// are sent. None is sent after pausing.
func TestBroadcastRateAndPause(t *testing.T) {
	t.Parallel()
	c, still := onClock()
	w := newWorld(t, still)
	w.know(200)
	w.run()
	w.start(`{"audience":"all","id":"x","message":"m","rate":100}`)
	told := func(n int64) func(broadcast.Status) bool {
		return func(s broadcast.Status) bool { return s.Sent >= n }
	}
	w.reaches("x", "the burst", told(10))
	c.advance(50 * time.Millisecond)
	if s := w.reaches("x", "five more", told(15)); s.Sent != 15 || s.State != broadcast.Running {
		t.Errorf("%+v", s)
	}
	c.advance(time.Hour) // no more than one burst accumulates
	w.reaches("x", "a burst", told(25))
	w.set("x", broadcast.Paused)
	c.advance(time.Second)
	s := w.broadcast("x")
	if s.Sent != 25 || s.State != broadcast.Paused || s.Left != -1 {
		t.Errorf("%+v", s)
	}
	w.set("x", broadcast.Running)
	w.reaches("x", "going on", told(35))
	s = w.set("x", broadcast.Cancelled)
	if s.Sent != 35 || s.Total != 200 || s.FinishedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	if _, err := w.Broadcasts.Set(context.Background(), "service:test", "x", broadcast.Running); !errors.Is(err, broadcast.ErrState) {
		t.Errorf("resumed after it was cancelled: %v", err)
	}
}

// A broadcast sends nothing before its scheduled time and nothing after it has expired.
func TestBroadcastScheduleAndExpiry(t *testing.T) {
	t.Parallel()
	c, still := onClock()
	w := newWorld(t, still)
	w.know(50)
	w.run()
	w.start(fmt.Sprintf(`{"audience":"all","id":"later","message":"m","at":%q,"ttl":"1h","rate":10}`, c.Now().Add(2*time.Hour).Format(time.RFC3339)))
	w.start(fmt.Sprintf(`{"audience":"all","id":"paused","message":"m","at":%q,"ttl":"1h"}`, c.Now().Add(2*time.Hour).Format(time.RFC3339)))
	w.start(`{"audience":"all","id":"now","message":"m"}`)
	w.becomes("now", broadcast.Done) // so this process has also looked at the others
	for _, id := range []string{"later", "paused"} {
		if s := w.broadcast(id); s.State != broadcast.Scheduled || s.Walked != 0 || !s.StartedAt.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	w.set("paused", broadcast.Paused)
	c.advance(2 * time.Hour)
	w.reaches("later", "its time", func(s broadcast.Status) bool { return s.Sent == 1 && s.State == broadcast.Running })
	c.advance(time.Hour)
	if s := w.becomes("later", broadcast.Expired); s.Sent != 1 || s.Total != 50 {
		t.Errorf("%+v", s)
	}
	if s := w.becomes("paused", broadcast.Expired); s.Sent != 0 {
		t.Errorf("%+v", s)
	}
}

// The results of pushes are counted by reason when their entries are settled. A dead letter
// shows the text.
func TestBroadcastFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { delete(o.Senders, toIOS) })
	w.android.answer = func(d *push.Delivery) push.Result {
		switch {
		case d.Token == "dead":
			return push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"}
		case d.Token == "bad":
			return push.Result{Outcome: push.Refused, Reason: "INVALID_ARGUMENT"}
		case d.Token == "busy" && len(w.android.wait(t, "", count(0))) < 10:
			return push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", RetryAfter: time.Millisecond}
		}
		return push.Result{Outcome: push.Accepted}
	}
	for i, token := range []string{"dead", "bad", "busy", "good"} {
		w.register(int64(i+1), devices.Android, token)
	}
	w.register(5, devices.IOS, "iphone")
	w.run()
	w.start(`{"audience":"all","id":"x","message":"Promo"}`)
	w.recheck(1)
	want := map[string]int64{"UNREGISTERED": 1, "INVALID_ARGUMENT": 1, "off": 1}
	s := w.reaches("x", "all settled", func(s broadcast.Status) bool { return s.Pushed == 2 && len(s.Failed) == 3 })
	if diff := cmp.Diff(want, s.Failed); diff != "" || s.Sent != 5 {
		t.Errorf("sent %d, failed (-want +got):\n%s", s.Sent, diff)
	}
	letters, err := w.Outbox.DeadLetters(context.Background(), 10)
	if err != nil || len(letters) != 2 {
		t.Fatal(letters, err)
	}
	letter, err := w.Outbox.DeadLetter(context.Background(), letters[0].ID)
	if err != nil || !strings.Contains(letter.Body, `"Promo"`) {
		t.Errorf("%+v %v", letter, err)
	}
	// A requeued dead letter is sent with its whole content.
	w.android.mu.Lock()
	w.android.answer = nil
	w.android.mu.Unlock()
	for _, l := range letters {
		if l.Reason == "INVALID_ARGUMENT" {
			if err := w.Outbox.Requeue(context.Background(), l.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.reaches("x", "the requeued one", func(s broadcast.Status) bool { return s.Pushed == 3 })
}

// The metrics show only broadcasts that have not ended.
func TestBroadcastMetrics(t *testing.T) {
	t.Parallel()
	c, still := onClock()
	w := newWorld(t, still)
	w.know(30)
	stop := w.run()
	w.start(`{"audience":"all","id":"short","message":"m"}`)
	w.becomes("short", broadcast.Done)
	w.start(`{"audience":"all","id":"long","message":"m","rate":10}`)
	w.start(fmt.Sprintf(`{"audience":"all","id":"later","message":"m","at":%q}`, c.Now().Add(time.Hour).Format(time.RFC3339)))
	w.reaches("long", "one was told", func(s broadcast.Status) bool { return s.Sent == 1 })
	stop()
	want := `
# HELP kabar_broadcast_users Users of a broadcast that is not over: total (as far as known), sent, skipped.
# TYPE kabar_broadcast_users gauge
kabar_broadcast_users{broadcast="later",count="sent",service="test"} 0
kabar_broadcast_users{broadcast="later",count="skipped",service="test"} 0
kabar_broadcast_users{broadcast="later",count="total",service="test"} 30
kabar_broadcast_users{broadcast="long",count="sent",service="test"} 1
kabar_broadcast_users{broadcast="long",count="skipped",service="test"} 0
kabar_broadcast_users{broadcast="long",count="total",service="test"} 30
# HELP kabar_broadcasts Broadcasts that are not over, by state.
# TYPE kabar_broadcasts gauge
kabar_broadcasts{state="paused"} 0
kabar_broadcasts{state="running"} 1
kabar_broadcasts{state="scheduled"} 1
`
	if err := testutil.GatherAndCompare(w.reg, strings.NewReader(want), "kabar_broadcast_users", "kabar_broadcasts"); err != nil {
		t.Error(err)
	}
}
