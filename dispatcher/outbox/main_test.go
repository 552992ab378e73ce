package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// now is the time in all tests. Redis has a different time.
var now = time.UnixMilli(1_390_459_363_500)

// bodies holds the bodies of broadcasts, by key.
type bodies map[string]string

func (b bodies) Get(_ context.Context, _ int64, keys ...string) (map[string]inbox.Text, error) {
	found := make(map[string]inbox.Text)
	for _, key := range keys {
		if body, ok := b[key]; ok {
			found[key] = inbox.Text{Body: []byte(body)}
		}
	}
	return found, nil
}

// The fragments that all tests use.
const (
	appendFragment = "append_args" // appends its arguments to the list at its only key
	copyFragment   = "copy_args"   // sets each of its keys to the argument with the same index
)

var fragments = []Fragment{
	{
		Name:    appendFragment,
		Prelude: "local function append(key, value) return redis.call('RPUSH', key, value) end",
		Source:  "for _, arg in ipairs(args) do append(keys[1], arg) end\nreturn #args",
		Types:   []string{"list"},
	},
	{
		Name:   copyFragment,
		Source: "for i, key in ipairs(keys) do redis.call('SET', key, args[i]) end\nreturn 100 * #keys + #args",
		Types:  []string{"string"},
	},
}

// A world is an outbox with keys of its own.
type world struct {
	*Outbox
	t      *testing.T
	server *localredis.Server // its own one, or nil
	passed atomic.Int64       // how much later than now it is for the outbox, in ns
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return newWorldAt(t, server.Addr())
}

func newWorldAt(t *testing.T, addr string) *world {
	t.Helper()
	client := redis.NewClient(localredistest.Options(addr))
	b := rdb.NewBatcher(client, 0)
	t.Cleanup(func() { b.Close(); client.Close() })
	prefix := filepath.Base(filepath.Dir(t.TempDir())) // unique for each run of the test
	w := &world{t: t}
	w.Outbox = New(Options{
		Redis: client, Batcher: b, Partitions: rdb.NewPartitions(prefix, 4), Bodies: bodies{"b1": `{"type":"discount"}`},
		Consumer: "me", Lease: time.Minute, RetryFor: time.Hour, Routes: []string{"android", "ios"}, Fragments: fragments,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() time.Time { return now.Add(time.Duration(w.passed.Load())) },
	})
	for _, l := range push.Lanes {
		if err := w.CreateGroups(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// queue adds an entry to a stream and returns its key.
func (w *world) queue(partition int, l push.Lane, value string) Key {
	w.t.Helper()
	id, err := w.redis.XAdd(w.t.Context(), &redis.XAddArgs{Stream: w.StreamKey(partition, l), Values: []string{EntryField, value}}).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return Key{Partition: partition, ID: id}
}

// hold adds an entry to a stream, reads it, and returns its key. The lane must not have
// other unread entries.
func (w *world) hold(partition int, l push.Lane, value string) Key {
	w.t.Helper()
	key := w.queue(partition, l, value)
	messages, err := w.Read(w.t.Context(), l, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(messages) != 1 || messages[0].Key != key || messages[0].Value != value {
		w.t.Fatalf("read %+v, want %+v", messages, key)
	}
	return key
}

// delay adds an entry to a delayed set.
func (w *world) delay(partition int, l push.Lane, value string) {
	w.t.Helper()
	if err := w.redis.ZAdd(w.t.Context(), w.DelayedKey(partition, l), redis.Z{Member: value}).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// wait adds an entry to a waiting set, to be returned at the given moment at the latest.
func (w *world) wait(partition int, l push.Lane, app, value string, until time.Time) {
	w.t.Helper()
	z := redis.Z{Member: value, Score: float64(until.UnixMilli())}
	if err := w.redis.ZAdd(w.t.Context(), w.WaitingKey(partition, l, app), z).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// bury adds a dead letter with the given time and returns its id.
func (w *world) bury(partition int, at time.Time, l push.Lane, value string) string {
	w.t.Helper()
	id, err := w.redis.XAdd(w.t.Context(), &redis.XAddArgs{
		Stream: w.deadKey(partition), ID: fmt.Sprintf("%d-0", at.UnixMilli()),
		Values: []string{"lane", l.String(), "device", "d1", "reason", "expired", EntryField, value},
	}).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("%d-%s", partition, id)
}

// values returns the entries of a stream.
func (w *world) values(stream string) []string {
	w.t.Helper()
	messages, err := w.redis.XRange(w.t.Context(), stream, "-", "+").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	var values []string
	for _, m := range messages {
		value, _ := m.Values[EntryField].(string)
		values = append(values, value)
	}
	return values
}

// pending returns how many entries of a stream are held by any consumer.
func (w *world) pending(stream string) int64 {
	w.t.Helper()
	p, err := w.redis.XPending(w.t.Context(), stream, group).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Count
}
