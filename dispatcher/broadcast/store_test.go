package broadcast

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const testBody = `{"type":"campaign","title":null,"message":"Diskon","details":{}}`

// newTestRecord returns the record of a test's broadcast. It goes to everyone unless users
// are named.
func newTestRecord(key string, named ...int64) *newRecord {
	return &newRecord{
		key: key, digest: "content", definition: []byte("{}"), body: []byte(testBody), audience: []byte("{}"), named: named,
		created: time.Now(), expires: time.Now().Add(time.Hour),
	}
}

// create stores a new broadcast.
func (g *gateway) create(r *newRecord) {
	g.t.Helper()
	if duplicate, err := g.store.create(g.t.Context(), r); err != nil || duplicate {
		g.t.Fatal(duplicate, err)
	}
}

// The content that was stored first is kept, a repeat changes nothing, and a broadcast that
// has ended cannot be resumed.
func TestCreate(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, g := t.Context(), newGateway(t, client)
		s := g.store
		g.create(newTestRecord("c", 7, 8))
		if duplicate, err := s.create(ctx, newTestRecord("c", 7, 8)); err != nil || !duplicate {
			t.Errorf("a repeat: %t %v", duplicate, err)
		}
		other := newTestRecord("c")
		other.digest = "other"
		if _, err := s.create(ctx, other); !errors.Is(err, inbox.ErrConflict) {
			t.Errorf("other content: %v", err)
		}
		open, err := s.open(ctx)
		if err != nil || len(open) != 1 || open[0].state != active {
			t.Fatalf("open: %+v %v", open, err)
		}
		if err := s.end(ctx, "c", Cancelled, 2, active); err != nil {
			t.Fatal(err)
		}
		if err := s.setState(ctx, "c", active, Paused); !errors.Is(err, ErrState) {
			t.Errorf("resumed: %v", err)
		}
		if err := s.setState(ctx, "unknown", Paused, active); !errors.Is(err, inbox.ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		if open, err := s.open(ctx); err != nil || len(open) != 1 || !open[0].state.Over() {
			t.Errorf("to be closed: %+v %v", open, err)
		}
		if err := s.close(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		if open, err := s.open(ctx); err != nil || len(open) != 0 {
			t.Errorf("open: %+v %v", open, err)
		}
		got, err := s.read(ctx, "c")
		if err != nil || got.state != Cancelled || got.total != 2 || got.finished.IsZero() {
			t.Errorf("%+v %v", got, err)
		}
		for _, key := range []string{s.broadcastKey("c"), s.inbox.Texts.Key(0, "c"), s.walkKey(0, "c")} {
			if life := client.PTTL(ctx, key).Val(); life < 90*day || life > 130*day {
				t.Errorf("%s lives for %s", key, life)
			}
		}
		if n := client.Exists(ctx, s.namedKey(s.partitions.OfUser(7), "c")).Val(); n != 0 {
			t.Error("the list of users is kept")
		}
	})
}

// Unlist removes an erased user from all lists of named users.
func TestUnlist(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, g := t.Context(), newGateway(t, client)
		if err := g.Unlist(ctx, 7); err != nil {
			t.Errorf("without a broadcast: %v", err)
		}
		g.create(newTestRecord("c", 7, 8))
		if err := g.Unlist(ctx, 7); err != nil {
			t.Fatal(err)
		}
		for user, want := range map[int64]int64{7: 0, 8: 1} {
			key, member := g.store.namedKey(g.partitions.OfUser(user), "c"), "["+rdb.UserMember(user)
			if n := client.ZLexCount(ctx, key, member, member).Val(); n != want {
				t.Errorf("user %d is named %d times, want %d", user, n, want)
			}
		}
	})
}

// A broadcast whose request died is not visible until the request is repeated. The
// definition of the repeated request is used.
func TestPreparingBroadcast(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, g := t.Context(), newGateway(t, client)
		s := g.store
		left := createScript.Command(ctx, []string{s.broadcastKey("c")}, "content", "{}", s.keptUntil(time.Now()).UnixMilli())
		if err := s.batcher.Do(ctx, left); err != nil {
			t.Fatal(err)
		}
		if w, err := s.startWalk(ctx, s.batcher, "c", "w", time.Hour); err != nil || w != nil {
			t.Errorf("it is walked: %v", err)
		}
		if err := s.setState(ctx, "c", Paused, active); !errors.Is(err, inbox.ErrNotFound) {
			t.Errorf("it is paused: %v", err)
		}
		again := newTestRecord("c")
		again.definition = []byte(`{"later":1}`)
		g.create(again)
		if r, err := s.read(ctx, "c"); err != nil || string(r.definition) != string(again.definition) {
			t.Errorf("definition %s, %v", r.definition, err)
		}
	})
}

// A broadcast that was stored only in part is not run. Repeating the request completes it.
func TestCreateIsCut(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		g := newGatewayThrough(t, client, cutBatcher(t, client, 1))
		s := g.store
		for i := range 20 {
			r := newTestRecord(fmt.Sprint("c", i), 1, 2, 3, 4, 5, 6, 7, 8)
			for {
				if _, err := s.create(t.Context(), r); err == nil {
					break
				}
				if w, err := s.startWalk(t.Context(), s.batcher, r.key, "w", time.Hour); w != nil && err == nil {
					break // complete: only the answer to the last script was lost
				}
			}
			named := 0
			for p := range s.partitions.Len() {
				named += int(client.ZCard(t.Context(), s.namedKey(p, r.key)).Val())
				if body := client.HGet(t.Context(), s.inbox.Texts.Key(p, r.key), "body").Val(); body != testBody {
					t.Errorf("partition %d has the body %q", p, body)
				}
			}
			if named != len(r.named) {
				t.Errorf("%d users are named, want %d", named, len(r.named))
			}
		}
	})
}
