package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// A world is an auditor with its dependencies and with keys of its own.
type world struct {
	*Auditor
	t      *testing.T
	redis  redis.UniversalClient
	store  *inbox.Store
	outbox *outbox.Outbox
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(localredistest.Options(server.Addr()))
	parts := rdb.NewPartitions(filepath.Base(filepath.Dir(t.TempDir())), 4) // unique for each run of the test
	b := rdb.NewBatcher(client, 0)
	t.Cleanup(func() { b.Close(); client.Close() })
	store := inbox.New(inbox.Options{
		Redis: client, Batcher: b, Partitions: parts,
		Devices: func(user int64) string { return parts.UserKey(user, "devices") },
		Dedupe:  7 * 24 * time.Hour, Keep: 90 * 24 * time.Hour, MaxNotifications: 1000, RetryFor: 24 * time.Hour,
	})
	out := outbox.New(outbox.Options{
		Redis: client, Batcher: b, Partitions: parts, Bodies: store.Texts, Consumer: "test",
		Lease: time.Second, RetryFor: time.Hour, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	auditor := New(Options{Partitions: parts, Inbox: store, Queues: out, ValidHandoff: chat.ValidHandoff})
	return &world{auditor, t, client, store, out}
}

// offers stores one offer for each of the users 1 to users. Each offer waits for its
// seller.
func (w *world) offers(users int64) {
	w.t.Helper()
	puts := make([]inbox.NewNotification, users)
	for i := range puts {
		id := fmt.Sprint("o", i+1)
		puts[i] = inbox.NewNotification{
			Receiver: int64(i) + 1, Event: id, Content: "1", Type: "nego", Listed: true, Body: []byte(`{"type":"nego"}`),
			Subject: "nego:" + id, State: model.State{Order: time.Now(), Rank: 1, Counter: model.SellerOffers},
		}
	}
	_, errs := w.store.Notifications.Store(context.Background(), puts, nil)
	check(w.t, errors.Join(errs...))
}

// all returns the findings of All, sorted.
func (w *world) all(repair bool) (found []string) {
	w.t.Helper()
	err := w.All(context.Background(), repair, func(f inbox.Finding) {
		found = append(found, fmt.Sprintf("%d %s: %s %s", f.User, f.Set, f.Member, f.Problem))
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The audit finds inconsistencies among many users and repairs those that can be repaired.
func TestUsers(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	const users = 4*usersPage + 50 // at least one partition has more than a page
	w.offers(users)
	if found := w.all(false); len(found) > 0 {
		t.Fatalf("found %q", found)
	}
	open := func(user int64, subject string, counter model.Counter) {
		t.Helper()
		z := redis.Z{Score: float64(counter), Member: subject}
		check(t, w.redis.ZAdd(ctx, w.partitions.UserKey(user, "open"), z).Err())
	}
	// The rules have no such counter for an offer. They do not say which one is right,
	// either.
	open(1, "nego:o1", model.BuyerTransactions)
	wrong := "1 open: nego:o1 has not the class of its state"
	// Nothing else is stored about this offer.
	open(2, "nego:stray", model.SellerOffers)
	open(users, "nego:stray", model.SellerOffers)
	if found := w.all(false); len(found) != 3 || found[0] != wrong {
		t.Errorf("found %q", found)
	}
	one, err := w.User(ctx, 2, true)
	if err != nil || len(one) != 1 || one[0].User != 2 || one[0].Member != "nego:stray" {
		t.Errorf("user 2: %+v, %v", one, err)
	}
	if found := w.all(true); len(found) != 2 || found[0] != wrong || !strings.HasPrefix(found[1], fmt.Sprint(users, " open: nego:stray")) {
		t.Errorf("found %q", found)
	}
	if found := w.all(false); !slices.Equal(found, []string{wrong}) {
		t.Errorf("after the repair: %q", found)
	}
}

func TestQueues(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	const user = 66
	home := w.partitions.OfUser(user)
	away := (home + 1) % w.partitions.Len()
	entry := (&outbox.Entry{User: user, ID: "n1", Body: "{}"}).Value()
	queue := func(partition int, l push.Lane, value string) {
		t.Helper()
		check(t, w.redis.XAdd(ctx, &redis.XAddArgs{Stream: w.outbox.StreamKey(partition, l), Values: []any{"e", value}}).Err())
		check(t, w.redis.ZAdd(ctx, w.outbox.DelayedKey(partition, l), redis.Z{Score: 1, Member: value}).Err())
	}
	handoff := func(text string) {
		t.Helper()
		check(t, w.redis.ZAdd(ctx, w.partitions.Key(home, "handoffs"), redis.Z{Score: 1, Member: text}).Err())
	}
	queue(home, push.Urgent, entry)
	handoff(`{"p":{"u":66,"c":"c"}}`)
	if found := w.all(false); len(found) > 0 {
		t.Errorf("found %q", found)
	}
	queue(away, push.Bulk, entry)
	queue(home, push.Chat, "nonsense")
	handoff("nonsense")
	want := []string{
		"0 delayed:chat: an entry cannot be read",
		"0 handoffs: a hand-off cannot be read",
		"0 out:chat: an entry cannot be read",
		fmt.Sprintf("66 delayed:bulk: n1 lies in partition %d", away),
		fmt.Sprintf("66 out:bulk: n1 lies in partition %d", away),
	}
	for range 2 { // the repair drops nothing either
		if found := w.all(true); !slices.Equal(found, want) {
			t.Errorf("found %q", found)
		}
	}
}

// An error from Redis ends the audit.
func TestRedisIsAway(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.All(ctx, false, func(inbox.Finding) {}); err == nil {
		t.Error("no error")
	}
	if _, err := w.User(ctx, 66, false); err == nil {
		t.Error("no error of a user")
	}
}
