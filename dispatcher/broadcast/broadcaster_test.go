package broadcast

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/inbox"
)

// A step waits until the limiter allows the users of one tick. It never waits for more
// users than the limiter can hold.
func TestStepsTakeATick(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, test := range []struct {
		rate  int
		after time.Duration // time since the limiter was empty
		want  int
	}{
		{1, 900 * time.Millisecond, 0},
		{1, 1100 * time.Millisecond, 1},
		{100, 11 * time.Millisecond, 1},
		{1000, 5 * time.Millisecond, 0},
		{1000, 11 * time.Millisecond, 11},
		{1000, time.Hour, maxStep},
		{MaxRate, 5 * time.Millisecond, 0},
		{MaxRate, 11 * time.Millisecond, maxStep},
	} {
		b := &Broadcasts{now: func() time.Time { return start.Add(test.after) }}
		c := &broadcaster{b: b, def: definition{Rate: test.rate}, limiter: newLimiter(test.rate)}
		c.limiter.AllowN(start, c.limiter.Burst())
		if got := c.allowed(); got != test.want {
			t.Errorf("%d a second, after %v: %d, want %d", test.rate, test.after, got, test.want)
		}
	}
}

// A broadcast reaches the inbox of every user in its audience, and the outbox, exactly
// once.
func TestRun(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		g := newGateway(t, client)
		english := "en"
		g.profile(1, inbox.Profile{Locale: &english})
		g.profile(2, inbox.Profile{})
		g.device(3, devices.Device{Platform: devices.Android, Token: "a", AppVersion: "1.2"})
		g.device(4, devices.Device{Platform: devices.IOS, Token: "b", AppVersion: "1.10.1 (77)"})
		g.run()
		everyone := []int64{1, 2, 3, 4, 77}
		had := make(map[int64]int)
		for i, c := range []struct {
			audience string
			users    []int64
			entries  int64
		}{
			{`"all"`, []int64{1, 2, 3, 4}, 2},
			{`{"platform":"android"}`, []int64{3}, 1},
			{`{"app_version":{"min":"1.3"}}`, []int64{4}, 1},
			{`{"locale":"en"}`, []int64{1}, 0},
			{`{"locale":"id","platform":"ios"}`, []int64{4}, 1},
			{`{"user_ids":[2,77]}`, []int64{2, 77}, 0},
		} {
			queued := g.queued()
			id := fmt.Sprint("b", i)
			g.start(fmt.Sprintf(`{"id":%q,"type":"campaign","message":"m","audience":%s}`, id, c.audience))
			s := g.becomes(id, Done)
			var users []int64
			for _, user := range everyone {
				if n := g.notes(user); n != had[user] {
					users = append(users, user)
					had[user]++
				}
			}
			if !slices.Equal(users, c.users) || g.queued()-queued != c.entries {
				t.Errorf("%s: users %v, want %v; %d entries, want %d", c.audience, users, c.users, g.queued()-queued, c.entries)
			}
			if s.Sent != int64(len(c.users)) || s.Walked != s.Total || s.Skipped != s.Total-s.Sent || s.FinishedAt.IsZero() {
				t.Errorf("%s: %+v", c.audience, s)
			}
		}
	})
}

// queued returns the number of entries in the bulk lane.
func (g *gateway) queued() (n int64) {
	for p := range g.partitions.Len() {
		n += g.redis.XLen(g.t.Context(), g.outbox.StreamKey(p, push.Bulk)).Val()
	}
	return n
}

// A paused broadcast can be resumed. A cancelled one cannot.
func TestSet(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sharedRedis(t))
	at := time.Now().Add(time.Hour).Format(time.RFC3339)
	g.start(fmt.Sprintf(`{"audience":"all","id":"x","message":"m","at":%q}`, at))
	for _, c := range []struct {
		to, want State
		err      error
	}{
		{Paused, Paused, nil}, {Paused, Paused, nil}, {Running, Scheduled, nil}, {Done, "", ErrState},
		{Cancelled, Cancelled, nil}, {Running, "", ErrState}, {Cancelled, Cancelled, nil},
	} {
		s, err := g.Set(t.Context(), "service:test", "x", c.to)
		if s.State != c.want || !errors.Is(err, c.err) {
			t.Errorf("set to %s: %s, %v", c.to, s.State, err)
		}
	}
	if _, err := g.Set(t.Context(), "service:test", "y", Paused); !errors.Is(err, inbox.ErrNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
}

// Any process can close a broadcast that has ended. The service gets one report, and the
// metrics no longer show the broadcast.
func TestEndedBroadcastIsClosed(t *testing.T) {
	t.Parallel()
	reports := prometheus.NewRegistry()
	g := newGateway(t, sharedRedis(t), func(o *Options) {
		o.Reports = report.New(report.Options{
			Redis: o.Redis, Partitions: o.Partitions, Hooks: map[string]report.Hook{"test": {}}, Location: time.UTC,
			Log: o.Log, Metrics: reports, Now: time.Now,
		})
	})
	g.know(3)
	g.start(`{"audience":"all","id":"x","message":"m"}`)
	stop := g.run()
	g.becomes("x", Done)
	stop()
	if err := g.close(t.Context(), g.options.Batcher, keyOf("service:test", "x")); err != nil { // Run may have closed it already
		t.Fatal(err)
	}
	queued := `
# HELP kabar_reports Reports waiting for their service's webhook.
# TYPE kabar_reports gauge
kabar_reports{service="test"} 1
`
	if err := testutil.GatherAndCompare(reports, strings.NewReader(queued), "kabar_reports"); err != nil {
		t.Error(err)
	}
	if open, err := g.store.open(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open %+v, %v", open, err)
	}
	want := `
# HELP kabar_broadcast_walked_total Users reached by broadcasts in this process, by what came of it: sent or skipped.
# TYPE kabar_broadcast_walked_total counter
kabar_broadcast_walked_total{outcome="sent"} 3
kabar_broadcast_walked_total{outcome="skipped"} 0
# HELP kabar_broadcasts Broadcasts that are not over, by state.
# TYPE kabar_broadcasts gauge
kabar_broadcasts{state="paused"} 0
kabar_broadcasts{state="running"} 0
kabar_broadcasts{state="scheduled"} 0
`
	if err := testutil.GatherAndCompare(g.metrics, strings.NewReader(want),
		"kabar_broadcast_walked_total", "kabar_broadcast_users", "kabar_broadcasts"); err != nil {
		t.Error(err)
	}
}

// A broadcast waits while too many entries wait to be sent. Entries that wait for the end
// of quiet hours count only when there are so many that they would fill Redis.
func TestRoom(t *testing.T) {
	t.Parallel()
	const backlog = 10
	for name, c := range map[string]struct {
		queued, delayed int
		due             time.Duration // when the delayed entries are due
		want            bool
	}{
		"nothing waits":      {want: true},
		"the outbox is full": {queued: backlog},
		"retries":            {queued: backlog / 2, delayed: backlog / 2, due: retriesDue - time.Minute},
		"quiet hours":        {queued: backlog / 2, delayed: maxDelayed - 1, due: time.Hour, want: true},
		"too many of them":   {delayed: maxDelayed, due: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			client := sharedRedis(t)
			g := newGateway(t, client, func(o *Options) { o.Backlog = backlog })
			stream, delayed := g.outbox.StreamKey(1, push.Bulk), g.outbox.DelayedKey(1, push.Bulk)
			pipe := client.Pipeline()
			for range c.queued {
				pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: []any{"e", ""}})
			}
			due := float64(time.Now().Add(c.due).UnixMilli())
			for i := range c.delayed {
				pipe.ZAdd(t.Context(), delayed, redis.Z{Score: due, Member: i})
			}
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			room, err := g.hasRoom(t.Context(), 1)
			if room != c.want || err != nil {
				t.Errorf("room %v, want %v; %v", room, c.want, err)
			}
			if err := client.Del(t.Context(), stream, delayed).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}
