package inbox

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A retracted event is in no list and no counter, its states stay as told, and a repeat is a
// duplicate that stores nothing.
func TestRetract(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		news := note("news", "transaction")
		news.Subject, news.State = "transaction:1", model.State{Order: time.Now(), Rank: 5, Counter: model.TransactionNews}
		task := note("task", "transaction")
		task.Subject, task.State = "transaction:2", model.State{Order: time.Now(), Rank: 5, Counter: model.SellerTransactions}
		promo, kept, unlisted := note("promo", "discount"), note("kept", "discount"), note("unlisted", "reminder")
		unlisted.Listed = false
		receivers := make(map[string][]int64)
		retracted := []NewNotification{news, task, promo, unlisted}
		for _, p := range append([]NewNotification{kept}, retracted...) {
			receivers[p.Event] = []int64{user, partner} // storing for the partner has failed
		}
		stored, errs := s.Notifications.Store(ctx, append([]NewNotification{kept}, retracted...), receivers)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if u := unreads(t, s); u.Notifications != 4 || u.TransactionNews != 1 || u.SellerTransactions != 1 {
			t.Fatalf("%+v", u)
		}
		for range 2 {
			for _, p := range retracted {
				if before, err := s.Notifications.Retract(ctx, p.Event); err != nil || before[0].Receiver != partner && before[0].Receiver != user {
					t.Errorf("%s: %+v, %v", p.Event, before, err)
				}
			}
			if u := unreads(t, s); u.Notifications != 1 || u.TransactionNews != 0 || u.SellerTransactions != 1 {
				t.Errorf("%+v", u)
			}
			if left := list(t, s, 0, 10, "transaction", "discount"); len(left) != 1 || left[0].ID != stored[0].ID {
				t.Errorf("listed %+v", left)
			}
			for _, p := range retracted {
				for _, receiver := range []int64{user, partner} {
					p.Receiver = receiver
					if again := store(t, s, p); !again.Duplicate {
						t.Errorf("%s is stored again for %d", p.Event, receiver)
					}
				}
				found, err := s.Records.Find(ctx, p.Event)
				if err != nil || len(found) != 2 || found[0].Push != PushRetracted || found[1].Push != PushRetracted {
					t.Errorf("%s: %+v, %v", p.Event, found, err)
				}
			}
		}
		other := promo
		other.Content = "other"
		if _, errs := s.Notifications.Store(ctx, []NewNotification{other}, nil); !errors.Is(errs[0], ErrConflict) {
			t.Errorf("other content: %v", errs[0])
		}
		if _, err := s.Notifications.Retract(ctx, "unheard of"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
	})
}

// Live sockets are told once that a notification was deleted, and one that comes back after
// the notification gets that frame from the log.
func TestRetractTellsSockets(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		stored, errs := s.Notifications.Store(ctx, []NewNotification{note("e", "discount")}, map[string][]int64{"e": {user}})
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		for range 2 {
			if _, err := s.Notifications.Retract(ctx, "e"); err != nil {
				t.Fatal(err)
			}
		}
		seq, err := strconv.ParseInt(stored[0].Seq, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		frames, newest, known, err := s.Live.Replay(ctx, user, seq)
		if err != nil || !known || len(frames) != 1 || frames[0].ID != stored[0].ID || frames[0].Body != "" || frames[0].Prev != seq || frames[0].Seq != newest {
			t.Errorf("%+v, %d, %t, %v", frames, newest, known, err)
		}
	})
}
