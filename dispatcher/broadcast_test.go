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
	"github.com/kabar-gateway/kabar/inbox"
)

// start starts a broadcast of a test.
func (w *world) start(raw string) {
	w.t.Helper()
	b, err := w.ParseBroadcast([]byte(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	if p := w.StartBroadcast(context.Background(), "service:test", b); p.Err != nil {
		w.t.Fatal(p.Err)
	}
}

func (w *world) broadcast(id string) BroadcastStatus {
	w.t.Helper()
	s, err := w.Broadcast(context.Background(), "service:test", id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// reaches waits until a broadcast is as wanted.
func (w *world) reaches(id, what string, ok func(BroadcastStatus) bool) BroadcastStatus {
	w.t.Helper()
	var s BroadcastStatus
	w.eventually(what, func() bool {
		s = w.broadcast(id)
		return ok(s)
	})
	return s
}

func (w *world) becomes(id string, state BroadcastState) BroadcastStatus {
	w.t.Helper()
	return w.reaches(id, "broadcast "+string(state), func(s BroadcastStatus) bool { return s.State == state })
}

func (w *world) set(id string, to BroadcastState) BroadcastStatus {
	w.t.Helper()
	s, err := w.SetBroadcast(context.Background(), "service:test", id, to)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// know makes users known, without devices.
func (w *world) know(users int) {
	w.t.Helper()
	for user := range int64(users) {
		if err := w.Inbox.SetProfile(context.Background(), user+1, inbox.Profile{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// notes returns how many promotions a user has.
func (w *world) notes(user int64) int {
	w.t.Helper()
	notes, err := w.Inbox.List(context.Background(), user, w.PromoTypes(), 0, 10)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(notes)
}

// A sharedClock is a clock that a test moves while others look at it.
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

// onClock gives a world a clock that stands still.
func onClock() (*sharedClock, func(*Options)) {
	c := &sharedClock{now: time.Now()}
	return c, func(o *Options) { o.Now = c.Now }
}

// From the start to the phones: everyone once, whole, and the counts are exact.
func TestBroadcastToEveryone(t *testing.T) {
	const users = 40
	w := newWorld(t)
	for user := int64(1); user <= users; user++ {
		w.register(user, devices.Android, fmt.Sprint("token", user))
	}
	w.run()
	w.start(`{"id":"all","message":"Promo","title":"Hemat","details":{"url":"https://example.com"},"ttl":"2h"}`)
	w.becomes("all", BroadcastDone)
	s := w.reaches("all", "pushes", func(s BroadcastStatus) bool { return s.Pushed == users })
	if s.Total != users || s.Walked != users || s.Sent != users || s.Skipped != 0 || len(s.Failed) != 0 || s.Left != 0 {
		t.Errorf("%+v", s)
	}
	if s.StartedAt.IsZero() || s.FinishedAt.Before(s.StartedAt) {
		t.Errorf("started %s, finished %s", s.StartedAt, s.FinishedAt)
	}
	w.settled()
	tokens := make(map[string]int)
	for _, push := range w.android.wait(t, "pushes", count(users)) {
		tokens[push.Device.Token]++
		if push.Title != "Hemat" || push.Body != "Promo" || push.Type != "broadcast" || push.Lane != Bulk {
			t.Fatalf("%+v", push)
		}
		if left := time.Until(push.Expires); left < time.Hour || left > 2*time.Hour {
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
	if n := testutil.ToFloat64(w.metrics.walked.WithLabelValues("sent")); n != users {
		t.Errorf("%v users were counted", n)
	}
}

// Who is of an audience, and which of their devices.
func TestBroadcastAudience(t *testing.T) {
	ctx, w := context.Background(), newWorld(t)
	device := func(user int64, platform devices.Platform, version string) {
		t.Helper()
		token := fmt.Sprintf("%s%d", platform, user)
		if _, err := w.Devices.Register(ctx, user, devices.Device{Platform: platform, Token: token, AppVersion: version}, nil); err != nil {
			t.Fatal(err)
		}
	}
	device(1, devices.Android, "1.2")
	device(2, devices.IOS, "1.10.1 (77)")
	device(3, devices.Android, "")
	device(3, devices.IOS, "2.0")
	english := "en"
	for user, p := range map[int64]inbox.Profile{4: {}, 5: {Locale: &english}} {
		if err := w.Inbox.SetProfile(ctx, user, p); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	cases := []struct {
		audience string
		users    []int64
		pushes   []string
	}{
		{`null`, []int64{1, 2, 3, 4, 5}, []string{"android1", "android3", "ios2", "ios3"}},
		{`{"platform":"android"}`, []int64{1, 3}, []string{"android1", "android3"}},
		{`{"app_version":{"min":"1.3"}}`, []int64{2, 3}, []string{"ios2", "ios3"}},
		{`{"app_version":{"max":"1.10"}}`, []int64{1}, []string{"android1"}},
		{`{"app_version":{"min":"1.2.0","max":"1.99"}}`, []int64{1, 2}, []string{"android1", "ios2"}},
		{`{"platform":"ios","app_version":{"max":"1.99"}}`, []int64{2}, []string{"ios2"}},
		{`{"locale":"en"}`, []int64{5}, nil},
		{`{"locale":"id","platform":"ios"}`, []int64{2, 3}, []string{"ios2", "ios3"}},
		{`{"user_ids":[3,"4",4,77]}`, []int64{3, 4, 77}, []string{"android3", "ios3"}},
		{`{"user_ids":[1,2,3],"platform":"ios"}`, []int64{2, 3}, []string{"ios2", "ios3"}},
	}
	for i, c := range cases {
		sent := len(w.android.wait(t, "", count(0))) + len(w.ios.wait(t, "", count(0)))
		had := make(map[int64]int)
		everyone := []int64{1, 2, 3, 4, 5, 77}
		for _, user := range everyone {
			had[user] = w.notes(user)
		}
		id := fmt.Sprint("cast", i)
		w.start(fmt.Sprintf(`{"id":%q,"type":"campaign","message":%q,"audience":%s}`, id, id, c.audience))
		s := w.becomes(id, BroadcastDone)
		s = w.reaches(id, "pushes of "+c.audience, func(s BroadcastStatus) bool { return s.Pushed == int64(len(c.pushes)) })
		w.settled()
		var told []int64
		for _, user := range everyone {
			if w.notes(user) == had[user]+1 {
				told = append(told, user)
			}
		}
		var pushes []string
		for _, push := range slices.Concat(w.android.wait(t, "", count(0)), w.ios.wait(t, "", count(0))) {
			if push.Body == id {
				pushes = append(pushes, push.Device.Token)
			}
		}
		slices.Sort(pushes)
		if !slices.Equal(told, c.users) || !slices.Equal(pushes, c.pushes) {
			t.Errorf("%s: told %v, want %v; pushed to %v, want %v", c.audience, told, c.users, pushes, c.pushes)
		}
		if s.Sent != int64(len(c.users)) || s.Walked != s.Total || s.Skipped != s.Total-s.Sent {
			t.Errorf("%s: %+v", c.audience, s)
		}
		if got := len(w.android.wait(t, "", count(0))) + len(w.ios.wait(t, "", count(0))) - sent; got != len(c.pushes) {
			t.Errorf("%s: %d pushes, want %d", c.audience, got, len(c.pushes))
		}
	}
}

// Processes come and go while several broadcasts run: nobody is told twice, nobody
// is missed, and the counts are exact.
func TestBroadcastSurvivesProcesses(t *testing.T) {
	const users = 300
	rnd := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t)
	w.know(users)
	ids := []string{"a", "b"}
	for _, id := range ids {
		w.start(fmt.Sprintf(`{"id":%q,"message":"m","rate":3000}`, id))
	}
	over := func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return w.broadcast(id).State != BroadcastDone })
	}
	for !over() {
		ctx, kill := context.WithCancel(context.Background())
		var processes sync.WaitGroup
		for range 2 {
			opts := w.Options
			opts.Metrics = nil // of its own
			d := New(opts)
			processes.Go(func() { d.walkBroadcasts(ctx) })
		}
		// Each lives until some more users were told.
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

// While the clock stands still only the first burst is told; then as many as the
// rate allows, and not one after pausing.
func TestBroadcastRateAndPause(t *testing.T) {
	c, still := onClock()
	w := newWorld(t, still)
	w.know(200)
	w.run()
	w.start(`{"id":"x","message":"m","rate":100}`)
	told := func(n int64) func(BroadcastStatus) bool {
		return func(s BroadcastStatus) bool { return s.Sent >= n }
	}
	w.reaches("x", "the burst", told(10))
	c.advance(50 * time.Millisecond)
	if s := w.reaches("x", "five more", told(15)); s.Sent != 15 || s.State != BroadcastRunning {
		t.Errorf("%+v", s)
	}
	c.advance(time.Hour) // no more than a burst is saved up
	w.reaches("x", "a burst", told(25))
	w.set("x", BroadcastPaused)
	c.advance(time.Second)
	s := w.broadcast("x")
	if s.Sent != 25 || s.State != BroadcastPaused || s.Left != -1 {
		t.Errorf("%+v", s)
	}
	w.set("x", BroadcastRunning)
	w.reaches("x", "going on", told(35))
	s = w.set("x", BroadcastCancelled)
	if s.Sent != 35 || s.Total != 200 || s.FinishedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	if _, err := w.SetBroadcast(context.Background(), "service:test", "x", BroadcastRunning); !errors.Is(err, inbox.ErrBroadcastState) {
		t.Errorf("resumed after it was cancelled: %v", err)
	}
}

// Nothing happens before its time, and nothing after.
func TestBroadcastScheduleAndExpiry(t *testing.T) {
	c, still := onClock()
	w := newWorld(t, still)
	w.know(50)
	w.run()
	w.start(fmt.Sprintf(`{"id":"later","message":"m","at":%q,"ttl":"1h","rate":10}`, c.Now().Add(2*time.Hour).Format(time.RFC3339)))
	w.start(fmt.Sprintf(`{"id":"paused","message":"m","at":%q,"ttl":"1h"}`, c.Now().Add(2*time.Hour).Format(time.RFC3339)))
	w.start(`{"id":"now","message":"m"}`)
	w.becomes("now", BroadcastDone) // so this process has looked at the others
	for _, id := range []string{"later", "paused"} {
		if s := w.broadcast(id); s.State != BroadcastScheduled || s.Walked != 0 || !s.StartedAt.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	w.set("paused", BroadcastPaused)
	c.advance(2 * time.Hour)
	w.reaches("later", "its time", func(s BroadcastStatus) bool { return s.Sent == 1 && s.State == BroadcastRunning })
	c.advance(time.Hour)
	if s := w.becomes("later", BroadcastExpired); s.Sent != 1 || s.Total != 50 {
		t.Errorf("%+v", s)
	}
	if s := w.becomes("paused", BroadcastExpired); s.Sent != 0 {
		t.Errorf("%+v", s)
	}
}

// While nothing is sent, a broadcast waits rather than fill the outbox; what is
// urgent passes all the same.
func TestBroadcastWaitsForTheOutbox(t *testing.T) {
	const users, backlog = 400, 20
	gate := make(chan struct{})
	w := newWorld(t, func(o *Options) { o.Backlog = backlog })
	w.android.answer = func(d *Delivery) Result {
		if d.Lane == Bulk {
			<-gate
		}
		return Result{Outcome: Accepted}
	}
	for user := int64(1); user <= users; user++ {
		w.register(user, devices.Android, fmt.Sprint("token", user))
	}
	open := sync.OnceFunc(func() { close(gate) })
	w.run()
	t.Cleanup(open)
	w.start(fmt.Sprintf(`{"id":"x","message":"m","rate":%d}`, MaxRate))
	full := func() bool {
		for p := range w.Partitions.Len() {
			if room, err := w.roomFor(context.Background(), p); err != nil || room {
				return false
			}
		}
		return true
	}
	w.eventually("the outbox is full", full)
	w.publish(`{"id":"paid","type":"dompet","receiver_id":7,"message":"Dana masuk"}`)
	w.android.wait(t, "the urgent push", func(sent []Delivery) bool {
		return slices.ContainsFunc(sent, func(d Delivery) bool { return d.Lane == Urgent })
	})
	out, _, _ := w.left()
	if most := w.Partitions.Len() * (backlog + castMost); out > most || w.broadcast("x").Sent == users {
		t.Errorf("%d entries wait, want %d at most", out, most)
	}
	open()
	w.becomes("x", BroadcastDone)
	w.reaches("x", "pushes", func(s BroadcastStatus) bool { return s.Pushed == users })
}

// What came of the pushes is counted by reason, as they settle; a dead letter shows
// the text.
func TestBroadcastFailures(t *testing.T) {
	w := newWorld(t, func(o *Options) { delete(o.Senders, devices.IOS) })
	w.android.answer = func(d *Delivery) Result {
		switch {
		case d.Device.Token == "dead":
			return Result{Outcome: Forget, Reason: "UNREGISTERED"}
		case d.Device.Token == "bad":
			return Result{Outcome: Refused, Reason: "INVALID_ARGUMENT"}
		case d.Device.Token == "busy" && len(w.android.wait(t, "", count(0))) < 10:
			return Result{Outcome: Later, Reason: "UNAVAILABLE", RetryAfter: time.Millisecond}
		}
		return Result{Outcome: Accepted}
	}
	for i, token := range []string{"dead", "bad", "busy", "good"} {
		w.register(int64(i+1), devices.Android, token)
	}
	w.register(5, devices.IOS, "iphone")
	w.run()
	w.start(`{"id":"x","message":"Promo"}`)
	want := map[string]int64{"UNREGISTERED": 1, "INVALID_ARGUMENT": 1, "off": 1}
	s := w.reaches("x", "all settled", func(s BroadcastStatus) bool { return s.Pushed == 2 && len(s.Failed) == 3 })
	if diff := cmp.Diff(want, s.Failed); diff != "" || s.Sent != 5 {
		t.Errorf("sent %d, failed (-want +got):\n%s", s.Sent, diff)
	}
	letters, err := w.DeadLetters(context.Background(), 10)
	if err != nil || len(letters) != 2 {
		t.Fatal(letters, err)
	}
	letter, err := w.DeadLetter(context.Background(), letters[0].ID)
	if err != nil || !strings.Contains(letter.Body, `"Promo"`) {
		t.Errorf("%+v %v", letter, err)
	}
	// Requeueing sends it whole.
	w.android.mu.Lock()
	w.android.answer = nil
	w.android.mu.Unlock()
	for _, l := range letters {
		if l.Reason == "INVALID_ARGUMENT" {
			if err := w.Requeue(context.Background(), l.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.reaches("x", "the requeued one", func(s BroadcastStatus) bool { return s.Pushed == 3 })
}

// The first content wins; ids are each service's own.
func TestBroadcastIsIdempotent(t *testing.T) {
	w := newWorld(t)
	start := func(source, raw string) Published {
		b, err := w.ParseBroadcast([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return w.StartBroadcast(context.Background(), source, b)
	}
	const raw = `{"id":"x","message":"m","audience":{"user_ids":[1,2]}}`
	if p := start("service:a", raw); p.Err != nil || p.Duplicate || p.ID != "x" {
		t.Errorf("%+v", p)
	}
	if p := start("service:a", `{"audience": {"user_ids": [1, 2]}, "message":"m", "id":"x"}`); p.Err != nil || !p.Duplicate {
		t.Errorf("%+v", p)
	}
	if p := start("service:a", `{"id":"x","message":"m"}`); !errors.Is(p.Err, inbox.ErrConflict) {
		t.Errorf("%+v", p)
	}
	if p := start("service:b", `{"id":"x","message":"m"}`); p.Err != nil || p.Duplicate {
		t.Errorf("%+v", p)
	}
	all, err := w.Broadcasts(context.Background(), 10)
	if err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestParseBroadcast(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	p := newParser([]Type{{Name: "flash", Lane: Bulk, Message: "Flash sale!"}, {Name: "payout", Lane: Urgent}}, func() time.Time { return now })
	long := "[" + strings.Repeat("1,", MaxNamed) + "1]"
	for raw, fields := range map[string][]string{
		`{"message":"m"}`:  nil,
		`{"type":"flash"}`: nil,
		`{"message":"m","rate":"10000","at":"2026-11-23T09:00:00Z","expires":"2026-12-21T09:00:00Z"}`: nil,
		`{"message":"m","audience":{"platform":null,"user_ids":null}}`:                                nil,
		`{"message":"m","unknown":1}`:          nil,
		`[]`:                                   {"broadcast"},
		`{"message":`:                          {"broadcast"},
		`{}`:                                   {"message"},
		`{"message":"m","type":"payout"}`:      {"type"},
		`{"message":"m","type":"cart"}`:        {"type"},
		`{"message":"m","id":"a b","title":7}`: {"id", "title"},
		`{"message":"m","details":{"a":"` + strings.Repeat("x", MaxEventSize) + `"}}`: {"details"},
		`{"message":"m","rate":10001}`:                                     {"rate"},
		`{"message":"m","rate":1.5}`:                                       {"rate"},
		`{"message":"m","at":"2027-11-22T09:00:00Z"}`:                      {"at"},
		`{"message":"m","at":"soon","ttl":"500h","rate":{}}`:               {"at", "rate"},
		`{"message":"m","ttl":"700h"}`:                                     {"ttl"},
		`{"message":"m","expires":"2026-11-22T08:59:59Z"}`:                 {"expires"},
		`{"message":"m","expires":"2026-12-21T09:00:00Z"}`:                 {"expires"},
		`{"message":"m","ttl":60,"expires":"2026-11-22T10:00:00Z"}`:        {"expires"},
		`{"message":"m","audience":[]}`:                                    {"audience"},
		`{"message":"m","audience":{"platfrom":"ios","locale":"jv"}}`:      {"audience.platfrom", "audience.locale"},
		`{"message":"m","audience":{"platform":"web"}}`:                    {"audience.platform"},
		`{"message":"m","audience":{"app_version":{"min":"2","max":"1"}}}`: {"audience.app_version"},
		`{"message":"m","audience":{"app_version":{"min":"v2"}}}`:          {"audience.app_version.min"},
		`{"message":"m","audience":{"app_version":{"from":"2"}}}`:          {"audience.app_version"},
		`{"message":"m","audience":{"app_version":"2"}}`:                   {"audience.app_version"},
		`{"message":"m","audience":{"user_ids":[]}}`:                       {"audience.user_ids"},
		`{"message":"m","audience":{"user_ids":7}}`:                        {"audience.user_ids"},
		`{"message":"m","audience":{"user_ids":[1,"066",0]}}`:              {"audience.user_ids[1]"},
		`{"message":"m","audience":{"user_ids":` + long + `}}`:             {"audience.user_ids"},
		`{"message":"` + strings.Repeat("m", MaxBroadcastSize) + `"}`:      {"broadcast"},
	} {
		_, err := p.ParseBroadcast([]byte(raw))
		var bad *InvalidError
		var got []string
		if errors.As(err, &bad) {
			got = slices.Sorted(maps.Keys(bad.Fields))
		}
		slices.Sort(fields)
		if !slices.Equal(got, fields) {
			t.Errorf("%.80s: wrong are %v, want %v (%v)", raw, got, fields, err)
		}
	}
	b, err := p.ParseBroadcast([]byte(`{"message":"m","at":"2026-11-01T09:00:00Z"}`))
	if err != nil || b.Type != "broadcast" || !b.at.Equal(now) || !b.expires.Equal(now.Add(day)) || b.rate != DefaultRate || b.ID == "" {
		t.Errorf("%+v %v", b, err)
	}
}

// A scrape shows the broadcasts that are not over, and no others.
func TestBroadcastMetrics(t *testing.T) {
	c, still := onClock()
	w := newWorld(t, still)
	w.know(30)
	stop := w.run()
	w.start(`{"id":"short","message":"m"}`)
	w.becomes("short", BroadcastDone)
	w.start(`{"id":"long","message":"m","rate":10}`)
	w.start(fmt.Sprintf(`{"id":"later","message":"m","at":%q}`, c.Now().Add(time.Hour).Format(time.RFC3339)))
	w.reaches("long", "one was told", func(s BroadcastStatus) bool { return s.Sent == 1 })
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

func TestBroadcastTimeLeft(t *testing.T) {
	for _, c := range []struct {
		s    BroadcastStatus
		want time.Duration
	}{
		{BroadcastStatus{State: BroadcastRunning, Total: 1000, Walked: 400, Sent: 100, Pace: 10}, 15 * time.Second},
		{BroadcastStatus{State: BroadcastRunning, Total: 1000, Walked: 400, Sent: 100}, -1},
		{BroadcastStatus{State: BroadcastRunning, Total: 1000, Pace: 10}, -1},
		{BroadcastStatus{State: BroadcastPaused, Total: 1000, Walked: 400, Sent: 100, Pace: 10}, -1},
		{BroadcastStatus{State: BroadcastCancelled, Total: 1000, Walked: 400}, 0},
	} {
		if got := c.s.left(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
}
