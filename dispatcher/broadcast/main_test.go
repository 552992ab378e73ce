package broadcast

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// onEveryRedis runs a test on a real server and on the embedded Redis.
func onEveryRedis(t *testing.T, test func(t *testing.T, client redis.UniversalClient)) {
	t.Run("redis", func(t *testing.T) { test(t, sharedRedis(t)) })
	t.Run("embedded", func(t *testing.T) { test(t, connect(t, miniredis.RunT(t).Addr())) })
}

func sharedRedis(t *testing.T) redis.UniversalClient {
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, server.Addr())
}

func connect(t *testing.T, addr string) redis.UniversalClient {
	client := redis.NewClient(localredistest.Options(addr))
	t.Cleanup(func() { client.Close() })
	return client
}

// A gateway is a Broadcasts with its dependencies and with keys of its own.
type gateway struct {
	*Broadcasts
	t       *testing.T
	options Options
	metrics *prometheus.Registry
}

// newGateway returns a gateway whose declared event types are flash and payout.
func newGateway(t *testing.T, client redis.UniversalClient, change ...func(*Options)) *gateway {
	t.Helper()
	batcher := rdb.NewBatcher(client, 0)
	t.Cleanup(batcher.Close)
	return newGatewayThrough(t, client, batcher, change...)
}

// newGatewayThrough is newGateway with a batcher that the test chooses.
func newGatewayThrough(t *testing.T, client redis.UniversalClient, batcher *rdb.Batcher, change ...func(*Options)) *gateway {
	t.Helper()
	prefix := strings.NewReplacer("/", ".", "{", "", "}", "").Replace(t.Name())
	partitions := rdb.NewPartitions(prefix, 4)
	registry := devices.New(devices.Options{Redis: client, Batcher: batcher, Partitions: partitions})
	messages := inbox.New(inbox.Options{
		Redis: client, Batcher: batcher, Partitions: partitions, Devices: registry.ListKey,
		Dedupe: 7 * day, Keep: 90 * day, MaxNotifications: 1000, RetryFor: 24 * time.Hour,
	})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	metrics := prometheus.NewRegistry()
	o := Options{
		Redis: client, Partitions: partitions, Batcher: batcher, Inbox: messages, Devices: registry,
		Outbox: outbox.New(outbox.Options{
			Redis: client, Batcher: batcher, Partitions: partitions, Bodies: messages.Texts, Consumer: "test", Lease: 2 * time.Second,
			RetryFor: day, Fragments: []outbox.Fragment{Fragment}, Log: log, Now: time.Now,
		}),
		Reports: report.New(report.Options{
			Redis: client, Partitions: partitions, Location: time.UTC, Log: log, Metrics: metrics, Now: time.Now,
		}),
		Parser:   testParser(time.Now),
		Consumer: "test", Lease: 2 * time.Second, RetryFor: day, Backlog: 1000, Locale: text.Indonesian,
		Log: log, Metrics: metrics, Now: time.Now,
	}
	for _, f := range change {
		f(&o)
	}
	g := &gateway{Broadcasts: New(o), t: t, options: o, metrics: metrics}
	t.Cleanup(g.audit)
	return g
}

func testParser(now func() time.Time) *event.Parser {
	return event.NewParser(event.Options{
		Types: event.NewTypes(
			event.Type{Name: "flash", Lane: push.Bulk, Message: "Flash sale!"},
			event.Type{Name: "payout", Lane: push.Urgent}),
		Texts: text.Default(), Locale: text.Indonesian, Now: now,
	})
}

// audit fails the test if the data in Redis is inconsistent.
func (g *gateway) audit() {
	ctx := context.Background()
	for p := range g.partitions.Len() {
		users, err := g.inbox.Users.After(ctx, p, 0, 1000)
		if err != nil {
			g.t.Errorf("audit: %v", err)
		}
		for _, user := range users {
			found, err := g.inbox.Auditor.Audit(ctx, user, nil, false)
			if err != nil || len(found) > 0 {
				g.t.Errorf("audit: %+v, %v", found, err)
			}
		}
	}
}

// know adds the users 1 to n, each with a device.
func (g *gateway) know(n int) {
	g.t.Helper()
	for user := int64(1); user <= int64(n); user++ {
		g.profile(user, inbox.Profile{})
		g.device(user, devices.Device{Platform: devices.Android, Token: fmt.Sprint("token", user)})
	}
}

func (g *gateway) profile(user int64, p inbox.Profile) {
	g.t.Helper()
	if err := g.inbox.Profiles.Set(g.t.Context(), user, p); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) device(user int64, d devices.Device) {
	g.t.Helper()
	if _, err := g.devices.Register(g.t.Context(), user, d, nil); err != nil {
		g.t.Fatal(err)
	}
}

// notes returns how many broadcast notifications a user has.
func (g *gateway) notes(user int64) int {
	g.t.Helper()
	notes, err := g.inbox.Notifications.List(g.t.Context(), user, []string{"broadcast", "campaign"}, 0, 10)
	if err != nil {
		g.t.Fatal(err)
	}
	return len(notes)
}

// run runs the broadcasts until the test ends or stop is called.
func (g *gateway) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { g.Run(ctx) })
	stop = func() { cancel(); all.Wait() }
	g.t.Cleanup(stop)
	return stop
}

// start starts a broadcast of the service "test".
func (g *gateway) start(raw string) {
	g.t.Helper()
	b, err := g.Parse([]byte(raw))
	if err != nil {
		g.t.Fatal(err)
	}
	if duplicate, err := g.Start(g.t.Context(), event.ServiceSource("test"), b); err != nil || duplicate {
		g.t.Fatal(duplicate, err)
	}
}

// becomes waits until a broadcast of the service "test" is in the given state.
func (g *gateway) becomes(id string, state State) Status {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		s, err := g.Get(g.t.Context(), event.ServiceSource("test"), id)
		if err != nil {
			g.t.Fatal(err)
		}
		if s.State == state {
			return s
		}
		if !time.Now().Before(deadline) {
			g.t.Fatalf("broadcast %s is %s after a minute, want %s", id, s.State, state)
		}
		rdb.Sleep(g.t.Context(), 5*time.Millisecond)
	}
}
