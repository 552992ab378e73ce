package chat

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// A world is a chat with its dependencies and with keys of its own. Users 66, 15 and the
// administrator 1 are known.
type world struct {
	*Chat
	t       *testing.T
	rdb     redis.UniversalClient
	devices *devices.Registry
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(localredistest.Options(server.Addr()))
	prefix := filepath.Base(filepath.Dir(t.TempDir())) // unique for each run of the test
	parts := rdb.NewPartitions(prefix, 4)
	b := rdb.NewBatcher(client, 0)
	registry := devices.New(devices.Options{Redis: client, Batcher: b, Partitions: parts})
	store := inbox.New(inbox.Options{
		Redis: client, Batcher: b, Partitions: parts, Devices: registry.ListKey,
		Dedupe: 7 * 24 * time.Hour, Keep: 90 * 24 * time.Hour, MaxNotifications: 1000, RetryFor: 24 * time.Hour,
	})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	o := Options{
		Partitions: parts, Inbox: store, Admins: []int64{1}, Log: log,
		Outbox: outbox.New(outbox.Options{
			Redis: client, Batcher: b, Partitions: parts, Bodies: store.Texts, Consumer: "test",
			Lease: 2 * time.Second, RetryFor: time.Hour, Log: log, Now: time.Now,
		}),
		Sends: Rate{PerSecond: 1e6, Burst: 1e6}, // tests of rate limits set their own
	}
	for _, f := range change {
		f(&o)
	}
	w := &world{Chat: New(o), t: t, rdb: client, devices: registry}
	t.Cleanup(func() { w.audit(); b.Close(); client.Close() })
	for user, name := range map[int64]string{66: "Testing Account", 15: "Me Ow", 1: "Admin"} {
		if err := store.Profiles.Set(context.Background(), user, inbox.Profile{Name: &name}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// audit fails the test if the data in Redis is inconsistent.
func (w *world) audit() {
	for p := range w.partitions.Len() {
		users, err := w.inbox.Users.After(context.Background(), p, 0, 1000)
		if err != nil {
			w.t.Errorf("audit: %v", err)
		}
		for _, user := range users {
			found, err := w.inbox.Auditor.Audit(context.Background(), user, nil, false)
			if err != nil || len(found) > 0 {
				w.t.Errorf("audit: %+v, %v", found, err)
			}
		}
	}
}

// run runs the chat until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

func (w *world) register(user int64) {
	w.t.Helper()
	d := devices.Device{Platform: devices.Android, Token: fmt.Sprint("token-", user)}
	if _, err := w.devices.Register(context.Background(), user, d, nil); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) send(from, to int64, text string) string {
	w.t.Helper()
	id, err := w.Send(context.Background(), from, OutgoingMessage{Receiver: to, Body: text})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) unreadMessages(user int64) int {
	w.t.Helper()
	u, err := w.inbox.Counters.Unreads(context.Background(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Messages
}

// entries returns the entries in the queues, by the name of the queue.
func (w *world) entries() map[string][]*outbox.Entry {
	w.t.Helper()
	found := make(map[string][]*outbox.Entry)
	for p := range w.partitions.Len() {
		err := w.outbox.EachEntry(context.Background(), p, func(set, value string) {
			e, err := outbox.ParseEntry(value)
			if err != nil {
				w.t.Fatal(err)
			}
			found[set] = append(found[set], e)
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return found
}

// expire makes all hand-offs due.
func (w *world) expire() {
	w.t.Helper()
	ctx := context.Background()
	for p := range w.partitions.Len() {
		key := w.partitions.Key(p, "handoffs")
		for _, h := range w.rdb.ZRange(ctx, key, 0, -1).Val() {
			if err := w.rdb.ZAddXX(ctx, key, redis.Z{Member: h}).Err(); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// handoffs returns the hand-offs that are in Redis.
func (w *world) handoffs() []string {
	var left []string
	for p := range w.partitions.Len() {
		left = append(left, w.rdb.ZRange(context.Background(), w.partitions.Key(p, "handoffs"), 0, -1).Val()...)
	}
	return left
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for !ok() {
		if !rdb.Sleep(ctx, 5*time.Millisecond) {
			w.t.Fatalf("%s: condition not met after 2 minutes", what)
		}
	}
}
