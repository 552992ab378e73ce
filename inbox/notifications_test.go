package inbox

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func list(t *testing.T, s *Store, offset, count int, types ...string) []Notification {
	t.Helper()
	notes, err := s.Notifications.List(context.Background(), user, types, offset, count)
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

func TestListPagesAndTypes(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		var want []string
		for i := range 450 {
			typ := []string{"discount", "campaign", "transaction"}[i%3]
			p := note(strconv.Itoa(i), typ)
			stored := store(t, s, p)
			if typ != "transaction" {
				want = append([]string{stored.ID}, want...)
			}
		}
		var got []string
		for offset := 0; ; offset += 70 {
			page := list(t, s, offset, 70, "discount", "campaign")
			if len(page) == 0 {
				break
			}
			for _, n := range page {
				got = append(got, n.ID)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if n := len(list(t, s, 0, 10, "report")); n != 0 {
			t.Errorf("%d notifications of a type that was never stored", n)
		}
	})
}

func TestMarkRead(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		a, b := store(t, s, note("a", "discount")), store(t, s, note("b", "discount"))
		for range 2 { // the second read changes nothing
			if n, err := s.Notifications.MarkRead(ctx, user, a.ID); n != 1 || err != nil {
				t.Errorf("read: %d unread, %v", n, err)
			}
		}
		if n, err := s.Notifications.MarkRead(ctx, user, model.NewID(time.Now())); n != 1 || !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown: %d unread, %v", n, err)
		}
		if n, err := s.Notifications.MarkRead(ctx, 67, b.ID); n != 0 || !errors.Is(err, ErrNotFound) {
			t.Errorf("somebody else's: %d unread, %v", n, err)
		}
		page := list(t, s, 0, 10, "discount")
		if !page[1].Read || page[0].Read {
			t.Errorf("read states %v %v", page[0].Read, page[1].Read)
		}
		if err := s.Notifications.MarkAllRead(ctx, user); err != nil {
			t.Fatal(err)
		}
		if u := unreads(t, s); u.Notifications != 0 {
			t.Errorf("%d unread after all were read", u.Notifications)
		}
	})
}

// When there are a few notifications too many, the oldest are dropped and no longer
// counted.
func TestNotificationsAreBounded(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, func(o *Options) { o.MaxNotifications = 10 })
		var last StoreResult
		for i := range 200 {
			last = store(t, s, note(strconv.Itoa(i), "discount"))
			page := list(t, s, 0, 100, "discount")
			if most := 10 + 32; len(page) > most || page[0].ID != last.ID {
				t.Fatalf("%d are kept, the newest is %v", len(page), page[0])
			}
			if u := unreads(t, s); u.Notifications != len(page) {
				t.Fatalf("%d unread of %d", u.Notifications, len(page))
			}
		}
	})
}

// Old notifications are dropped when the user gets a new one, at most once a day. The
// notifications of an idle user expire together.
func TestOldNotificationsGo(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		now := time.Now()
		s := newStore(t, rdb, func(o *Options) {
			o.Keep = time.Hour
			o.Now = func() time.Time { return now }
		})
		store(t, s, note("old", "discount"))
		ttl := rdb.PTTL(context.Background(), s.keys(user).notifications()).Val()
		if ttl <= time.Hour || ttl > time.Hour+expiryRenewInterval {
			t.Errorf("an idle user's notifications expire in %v", ttl)
		}
		now = now.Add(expiryRenewInterval)
		young := store(t, s, note("young", "discount"))
		if page := list(t, s, 0, 10, "discount"); len(page) != 1 || page[0].ID != young.ID {
			t.Errorf("kept %v", page)
		}
		if u := unreads(t, s); u.Notifications != 1 {
			t.Errorf("%d unread of one", u.Notifications)
		}
	})
}
