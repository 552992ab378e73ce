package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const user = 66

// note returns a notification that is listed.
func note(event, typ string) NewNotification {
	return NewNotification{
		Receiver: user, Event: event, Content: "c", Type: typ, Listed: true,
		Body: fmt.Appendf(nil, `{"type":%q,"title":null,"message":"m","details":{}}`, typ),
	}
}

func store(t *testing.T, s *Store, p NewNotification) StoreResult {
	t.Helper()
	stored, errs := s.Notifications.Store(context.Background(), []NewNotification{p}, nil)
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	return stored[0]
}

func TestStoreOnce(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		const publishers = 50
		var stored, duplicates int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range publishers {
			wg.Go(func() {
				r, errs := s.Notifications.Store(context.Background(), []NewNotification{note("same", "discount")}, nil)
				mu.Lock()
				defer mu.Unlock()
				if errs[0] != nil {
					t.Error(errs[0])
				}
				if r[0].Duplicate {
					duplicates++
				} else {
					stored++
				}
			})
		}
		wg.Wait()
		if stored != 1 || duplicates != publishers-1 {
			t.Errorf("stored %d times, %d duplicates", stored, duplicates)
		}
		if n := len(list(t, s, 0, 100, "discount")); n != 1 {
			t.Errorf("listed %d times", n)
		}
		if u := unreads(t, s); u.Notifications != 1 {
			t.Errorf("counted %d times", u.Notifications)
		}
	})
}

func TestStoreRefusesOtherContent(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		first := store(t, s, note("e", "discount"))
		other := note("e", "discount")
		other.Content = "changed"
		_, errs := s.Notifications.Store(context.Background(), []NewNotification{other}, nil)
		if !errors.Is(errs[0], ErrConflict) {
			t.Errorf("error %v, want ErrConflict", errs[0])
		}
		if got := list(t, s, 0, 10, "discount"); len(got) != 1 || got[0].ID != first.ID {
			t.Errorf("the list should have the first content only: %v", got)
		}
	})
}

// When the batcher sends a script again after a network failure, it is not taken for a
// duplicate.
func TestStoreRepeatedByTheBatcherIsNoDuplicate(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		p := note("e", "discount")
		keys, args := s.Notifications.storeArgs(&p, model.NewIDSuffix())
		ctx := context.Background()
		var stored []StoreResult
		for range 2 {
			c := s.Notifications.storeScript.Command(ctx, keys, args...)
			_ = s.batcher.Do(ctx, c)
			result, err := s.Notifications.storeResult(c)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, result)
		}
		if stored[0] != stored[1] || stored[1].Duplicate {
			t.Errorf("first %+v, again %+v", stored[0], stored[1])
		}
	})
}

// Events are stored several in one call of the script, and a user whose keys are damaged
// fails alone. The others' events count once, and none is taken for a duplicate.
func TestStoreFailsAlone(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, ctx := newStore(t, rdb), context.Background()
		var events []NewNotification
		for receiver := int64(1); len(events) < 5; receiver++ {
			if s.parts.OfUser(receiver) == s.parts.OfUser(user) {
				p := note("e", "discount")
				p.Receiver = receiver
				events = append(events, p, p) // and the same event again
			}
		}
		damaged := events[2].Receiver
		rdb.RPush(ctx, s.keys(damaged).unread(), "planted")
		stored, errs := s.Notifications.Store(ctx, events, nil)
		for i, p := range events {
			if p.Receiver == damaged {
				if errs[i] == nil || !strings.Contains(errs[i].Error(), "WRONGTYPE") {
					t.Errorf("event %d: error %v", i, errs[i])
				}
				continue
			}
			if errs[i] != nil || stored[i].Duplicate != (i%2 == 1) {
				t.Errorf("event %d: %+v, %v", i, stored[i], errs[i])
			}
			if n := rdb.ZCard(ctx, s.keys(p.Receiver).unread()).Val(); n != 1 {
				t.Errorf("event %d: counted %d times", i, n)
			}
		}
		rdb.Del(ctx, s.keys(damaged).unread())
	})
}

func TestStoreEnqueuesForDevicesOnly(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		stream := s.parts.Key(s.parts.OfUser(user), "out")
		entry := &OutboxEntry{Stream: stream, Header: `{"u":66,"n":"`}
		p := note("without", "transaction")
		p.Subject, p.Entry = "transaction:1", entry
		store(t, s, p)
		if n := rdb.XLen(ctx, stream).Val(); n != 0 {
			t.Fatalf("%d entries for a user without devices", n)
		}
		rdb.HSet(ctx, s.options.Devices(user), "d", "{}")
		p = note("with", "transaction")
		p.Subject, p.Entry = "transaction:1", entry
		entry.TTL, entry.RetryFor = 2*time.Hour, time.Hour
		stored := store(t, s, p)
		got := rdb.XRange(ctx, stream, "-", "+").Val()
		at, _ := model.IDTime(stored.ID) // both start at the acceptance, by Redis' clock
		lives := fmt.Sprintf(`","x":%d,"r":%d`, at.Add(2*time.Hour).UnixMilli(), at.Add(time.Hour).UnixMilli())
		if len(got) != 1 || got[0].Values["e"] != `{"u":66,"n":"`+stored.ID+lives+"}\n"+ListedBody {
			t.Errorf("entries %v", got)
		}
		if about := subject(t, s, "transaction:1"); about != (Subject{Newest: stored.ID}) {
			t.Errorf("about the subject %+v, want %q", about, stored.ID)
		}
	})
}

// A later acceptance has a later time, even when Redis' clock has stepped back in between.
func TestAcceptanceNeverRunsBack(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		now := time.Now()
		s := newStore(t, rdb, func(o *Options) { o.Now = func() time.Time { return now } })
		cart := func(event string, items int) {
			store(t, s, NewNotification{Receiver: user, Event: event, Content: "c", Type: "cart", Quiet: true, Cart: &items})
		}
		state := func(event string, rank int, counter model.Counter) string {
			p := note(event, "transaction")
			p.Subject, p.State = "transaction:1", model.State{Rank: rank, Counter: counter}
			return store(t, s, p).ID
		}
		cart("c3", 3)
		paid := state("paid", 5, model.SellerTransactions)
		now = now.Add(-10 * time.Minute)
		cart("c4", 4)
		delivered := state("delivered", 1, model.NoCounter)
		m := outbound(partner, user, "halo")
		m.ID = ""
		if _, _, err := s.Outbound.Prepare(t.Context(), &m.Message); err != nil {
			t.Fatal(err)
		}
		m.Once = m.ID
		carry(t, s, m)
		if u := unreads(t, s); u.CartItems != 4 || u.SellerTransactions != 0 || delivered <= paid {
			t.Errorf("counted %+v; ids %s, then %s", u, paid, delivered)
		}
		if at, err := model.IDTime(m.ID); err != nil || !at.Equal(now.Truncate(time.Microsecond)) {
			t.Errorf("the message is of %v, not of Redis' time %v", at, now)
		}
	})
}
