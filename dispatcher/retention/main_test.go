package retention

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const day = 24 * time.Hour

func TestMain(m *testing.M) { localredistest.Main(m) }

// broadcasts records the users to unlist.
type broadcasts struct{ unlisted []int64 }

func (b *broadcasts) Unlist(_ context.Context, user int64) error {
	b.unlisted = append(b.unlisted, user)
	return nil
}

// A schedule records the events that it forgets.
type schedule struct{ forgotten []string }

func (s *schedule) Forget(_ context.Context, key string, _ int64) error {
	s.forgotten = append(s.forgotten, key)
	return nil
}

// A world is a janitor with its dependencies and with the test's own keys. Several worlds
// of one test are processes that share a Redis.
type world struct {
	*Janitor
	t          *testing.T
	prefix     string
	redis      redis.UniversalClient
	options    inbox.Options
	devices    *devices.Registry
	outbox     *outbox.Outbox
	chat       *chat.Chat
	broadcasts *broadcasts
	schedule   *schedule
	metrics    *prometheus.Registry
}

// newWorld returns a process with the given name. The clock of its inbox is ahead.
func newWorld(t *testing.T, consumer string, ahead time.Duration, change ...func(*Options)) *world {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(localredistest.Options(server.Addr()))
	prefix := filepath.Base(filepath.Dir(t.TempDir())) // unique for each run of the test
	parts := rdb.NewPartitions(prefix, 4)
	b := rdb.NewBatcher(client, 0)
	t.Cleanup(func() { b.Close(); client.Close() })
	w := &world{t: t, redis: client, prefix: prefix, broadcasts: &broadcasts{}, schedule: &schedule{}, metrics: prometheus.NewRegistry()}
	w.devices = devices.New(devices.Options{Redis: client, Batcher: b, Partitions: parts})
	w.options = inbox.Options{
		Redis: client, Batcher: b, Partitions: parts, Devices: w.devices.ListKey,
		Dedupe: 7 * day, Keep: 90 * day, KeepMessages: 30 * day, MaxNotifications: 1000, RetryFor: 24 * time.Hour,
	}
	if ahead > 0 {
		w.options.Now = func() time.Time { return time.Now().Add(ahead) }
	}
	store := inbox.New(w.options)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.outbox = outbox.New(outbox.Options{
		Redis: client, Batcher: b, Partitions: parts, Bodies: store.Texts, Consumer: consumer,
		Lease: 2 * time.Second, RetryFor: time.Hour, Log: log, Now: time.Now,
	})
	w.chat = chat.New(chat.Options{Partitions: parts, Inbox: store, Outbox: w.outbox, Log: log})
	o := Options{
		Partitions: parts, Inbox: store, Devices: w.devices,
		Credentials: credentials.New(credentials.Options{Batcher: b, Partitions: parts}), Queues: w.outbox,
		Chat: w.chat, Broadcasts: w.broadcasts, Schedule: w.schedule, Concerns: chat.Concerns,
		Consumer: consumer, Lease: 2 * time.Second, Log: log, Metrics: w.metrics,
	}
	for _, f := range change {
		f(&o)
	}
	w.Janitor = New(o)
	return w
}

// notify stores a listed notification of a user.
func (w *world) notify(user int64, event string) {
	w.t.Helper()
	put := inbox.NewNotification{Receiver: user, Event: event, Content: "1", Type: "dompet", Listed: true, Body: []byte(`{"type":"dompet"}`)}
	if _, errs := w.inbox.Notifications.Store(context.Background(), []inbox.NewNotification{put}, map[string][]int64{event: {user}}); errs[0] != nil {
		w.t.Fatal(errs[0])
	}
}

func (w *world) notifications(user int64) int {
	w.t.Helper()
	u, err := w.inbox.Counters.Unreads(context.Background(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Notifications
}

// erasure returns the state of the erasure in the user's tombstone.
func (w *world) erasure(user int64) string {
	return w.redis.HGet(context.Background(), w.partitions.Tombstone(user), "erased").Val()
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for !ok() {
		if !rdb.Sleep(ctx, 5*time.Millisecond) {
			w.t.Fatalf("%s: condition not met after a minute", what)
		}
	}
}
