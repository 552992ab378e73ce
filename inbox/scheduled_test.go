package inbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// A scheduled event reserves its id, and is stored once when its time has come.
func TestScheduledOnce(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx, at := context.Background(), time.Now().Add(20*24*time.Hour).Truncate(time.Millisecond)
		schedule := func(event, content string, receivers ...int64) (int, error) {
			return s.Notifications.Schedule(ctx, event, content, receivers, at)
		}
		if placed, err := schedule("e", "c", user, partner); placed != 2 || err != nil {
			t.Fatal(placed, err)
		}
		if placed, err := schedule("e", "c", user); placed != 0 || err != nil {
			t.Errorf("repeated: %d, %v", placed, err)
		}
		if _, err := schedule("e", "other", user); !errors.Is(err, ErrConflict) {
			t.Errorf("other content: %v", err)
		}
		if stored := store(t, s, note("e", "discount")); !stored.Duplicate {
			t.Errorf("published meanwhile: %+v", stored)
		}
		other := note("e", "discount")
		other.Content = "other"
		if _, errs := s.Notifications.Store(ctx, []NewNotification{other}, nil); !errors.Is(errs[0], ErrConflict) {
			t.Errorf("published meanwhile with other content: %v", errs[0])
		}
		if n := len(list(t, s, 0, 10, "discount")); n != 0 {
			t.Errorf("%d are listed before the time", n)
		}
		found, err := s.Records.Find(ctx, "e")
		if err != nil || len(found) != 2 || found[0].Push != PushScheduled || !found[0].At.Equal(at) || found[0].ID != "" {
			t.Errorf("%+v, %v", found, err)
		}
		for _, key := range []string{s.Records.Key(user, "e"), s.receivers(s.parts.OfUser(user), "e")} {
			if ttl := rdb.PTTL(ctx, key).Val(); ttl < 26*24*time.Hour || ttl > 27*24*time.Hour {
				t.Errorf("%s is kept for %v", key, ttl)
			}
		}
		due := func(p NewNotification) StoreResult {
			t.Helper()
			stored, errs := s.Notifications.StoreScheduled(ctx, []NewNotification{p}, map[string][]int64{p.Event: {p.Receiver}})
			if errs[0] != nil {
				t.Fatal(errs[0])
			}
			return stored[0]
		}
		first := due(note("e", "discount"))
		if first.Duplicate || first.Erased || first.ID == "" {
			t.Errorf("%+v", first)
		}
		if again := due(note("e", "discount")); !again.Duplicate || again.ID != first.ID {
			t.Errorf("again: %+v", again)
		}
		if listed := list(t, s, 0, 10, "discount"); len(listed) != 1 || listed[0].ID != first.ID {
			t.Errorf("listed %+v", listed)
		}
		retracted := note("e", "discount")
		retracted.Receiver = partner
		for range 2 {
			if _, err := s.Notifications.Retract(ctx, "e"); err != nil {
				t.Fatal(err)
			}
			if stored := due(retracted); !stored.Duplicate {
				t.Errorf("retracted: %+v", stored)
			}
		}
		if stored := due(note("never scheduled", "discount")); !stored.Erased {
			t.Errorf("without a record: %+v", stored)
		}
		if u := unreads(t, s); u.Notifications != 0 {
			t.Errorf("%+v", u)
		}
	})
}
