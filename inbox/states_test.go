package inbox

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
)

func subject(t *testing.T, s *Store, name string) Subject {
	t.Helper()
	c := s.Counters.UnreadsCommand(context.Background(), user, name)
	if err := s.batcher.Do(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	return ReadSubject(c)
}

// state is an event that tells a state of a transaction, in the given second.
func state(s *Store, event string, second int64, rank int, class model.Counter) NewNotification {
	p := note(event, "transaction")
	p.Subject = "transaction:1"
	p.State = model.State{Order: time.Unix(second, 0), Rank: rank, Counter: class}
	p.Entry = &OutboxEntry{Stream: s.parts.Key(s.parts.OfUser(user), "out"), Header: `{"u":66,"n":"`}
	return p
}

// A state that a newer one has overtaken is listed, but changes neither the counters
// nor what is the newest, and is not pushed.
func TestLateStatesAreKeptAndNotPushed(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		rdb.HSet(ctx, s.options.Devices(user), "d", "{}")
		newer := put(t, s, state(s, "newer", 2, 5, model.SellerTransactions))
		for i, late := range []NewNotification{
			state(s, "older", 1, 6, model.NoCounter), state(s, "of lower rank", 2, 4, model.NoCounter),
		} {
			results, errs := s.Notifications.Store(ctx, []NewNotification{late}, map[string][]int64{late.Event: {user}})
			if errs[0] != nil || results[0].ID == "" {
				t.Fatal(errs[0])
			}
			if about := subject(t, s, "transaction:1"); about != (Subject{Told: newer.ID, Newest: newer.ID}) {
				t.Errorf("%s: about the subject %+v, want %q", late.Event, about, newer.ID)
			}
			records, err := s.Records.Find(ctx, late.Event)
			if err != nil || records[0].Push != "superseded" {
				t.Errorf("%s: records %+v, %v", late.Event, records, err)
			}
			if n := rdb.XLen(ctx, s.keys(user).notifications()).Val(); n != int64(i+2) {
				t.Errorf("%s: %d in the list", late.Event, n)
			}
		}
		if n := rdb.XLen(ctx, state(s, "", 0, 0, model.NoCounter).Entry.Stream).Val(); n != 1 {
			t.Errorf("%d in the outbox", n)
		}
		if n, err := s.Counters.Unreads(ctx, user); err != nil || n.SellerTransactions != 1 {
			t.Errorf("unreads %+v, %v", n, err)
		}
		again := put(t, s, state(s, "the same again", 2, 5, model.SellerTransactions))
		if about := subject(t, s, "transaction:1"); about != (Subject{Told: newer.ID, Newest: again.ID}) {
			t.Errorf("told again: about the subject %+v, want %q and %q", about, newer.ID, again.ID)
		}
		newest := put(t, s, state(s, "newest", 2, 6, model.NoCounter))
		if about := subject(t, s, "transaction:1"); about != (Subject{Told: newest.ID, Newest: newest.ID}) {
			t.Errorf("about the subject %+v, want %q", about, newest.ID)
		}
	})
}

// A quiet event moves counters, which live sockets hear of, and is in no list, log or
// chain of numbers.
func TestQuietEventsMoveCountersOnly(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		put(t, s, state(s, "told", 1, 1, model.SellerTransactions))
		_, before, _, err := s.Live.Replay(ctx, user, 0)
		if err != nil {
			t.Fatal(err)
		}
		sub := rdb.Subscribe(ctx, s.keys(user).channel())
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		quiet := state(s, "quiet", 2, 2, model.BuyerTransactions)
		quiet.Quiet, quiet.Listed, quiet.Entry = true, false, nil
		stored := put(t, s, quiet)
		if f, err := model.ParseFrame((<-sub.Channel()).Payload); err != nil || f.Kind != model.FrameUnreads {
			t.Errorf("sockets hear %+v, %v", f, err)
		}
		n, err := s.Counters.Unreads(ctx, user)
		if err != nil || n != (model.Unreads{BuyerTransactions: 1, Notifications: 1}) {
			t.Errorf("unreads %+v, %v", n, err)
		}
		_, after, _, err := s.Live.Replay(ctx, user, 0)
		if err != nil || after != before {
			t.Errorf("sequence number %d, before %d, %v", after, before, err)
		}
		// The push of the older state is superseded by it all the same.
		if about := subject(t, s, "transaction:1"); about.Told != stored.ID {
			t.Errorf("about the subject %+v, want %q", about, stored.ID)
		}
		if again := put(t, s, quiet); !again.Duplicate || again.ID != stored.ID {
			t.Errorf("a repeat is %+v", again)
		}
	})
}

func TestSettings(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		for _, locale := range []string{"", "en", "id"} {
			if locale != "" {
				if err := s.Profiles.Set(t.Context(), user, Profile{Locale: &locale}); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Profiles.Settings(t.Context(), user)
			if err != nil || got != (Settings{Locale: locale}) {
				t.Errorf("settings %+v, want %q, %v", got, locale, err)
			}
		}
	})
}

// A state that is told again under another id does not count what was read already.
func TestTellingAStateAgainCountsNothing(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		first := put(t, s, state(s, "first", 1, 1, model.TransactionNews))
		if _, err := s.Notifications.MarkRead(t.Context(), user, first.ID); err != nil {
			t.Fatal(err)
		}
		put(t, s, state(s, "again", 1, 1, model.TransactionNews))
		if n, err := s.Counters.Unreads(t.Context(), user); err != nil || n != (model.Unreads{Notifications: 1}) {
			t.Errorf("unreads %+v, %v", n, err)
		}
	})
}

// A state that is told twice, once without saying who is who and so without a class,
// counts in either order, unless it was news that has been read.
func TestTheSameStateWithAndWithoutAClass(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, c := range map[string]struct {
			classes [2]model.Counter
			read    bool // in between
			want    model.Unreads
		}{
			"class last":       {[2]model.Counter{model.NoCounter, model.SellerTransactions}, false, model.Unreads{SellerTransactions: 1, Notifications: 2}},
			"class first":      {[2]model.Counter{model.SellerTransactions, model.NoCounter}, false, model.Unreads{SellerTransactions: 1, Notifications: 2}},
			"news last":        {[2]model.Counter{model.NoCounter, model.TransactionNews}, false, model.Unreads{TransactionNews: 1, Notifications: 2}},
			"news first":       {[2]model.Counter{model.TransactionNews, model.NoCounter}, false, model.Unreads{TransactionNews: 1, Notifications: 2}},
			"news last, read":  {[2]model.Counter{model.NoCounter, model.TransactionNews}, true, model.Unreads{Notifications: 1}},
			"news first, read": {[2]model.Counter{model.TransactionNews, model.NoCounter}, true, model.Unreads{Notifications: 1}},
		} {
			t.Run(name, func(t *testing.T) {
				s := newStore(t, rdb)
				first := put(t, s, state(s, "first", 1, 1, c.classes[0]))
				if c.read {
					if _, err := s.Notifications.MarkRead(t.Context(), user, first.ID); err != nil {
						t.Fatal(err)
					}
				}
				put(t, s, state(s, "again", 1, 1, c.classes[1]))
				if n, err := s.Counters.Unreads(t.Context(), user); err != nil || n != c.want {
					t.Errorf("unreads %+v, %v", n, err)
				}
			})
		}
	})
}

// What is not pushed takes no place on the screen: a retry of what was goes on.
func TestWhatIsNotPushedSupersedesNothing(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		p := note("told", "transaction")
		p.Subject, p.State = "transaction:1", model.State{Order: time.Now(), Rank: 5}
		p.Entry = &OutboxEntry{Stream: s.parts.Key(s.parts.OfUser(user), "out:urgent"), Header: `{"n":"`}
		pushed := put(t, s, p)
		p.Event, p.Entry = "again, for the inbox alone", nil
		put(t, s, p)
		if about := subject(t, s, "transaction:1"); about != (Subject{Told: pushed.ID, Newest: pushed.ID}) {
			t.Errorf("%+v, pushed was %s", about, pushed.ID)
		}
	})
}

func TestQuietSettings(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		jakarta, _ := model.Zone("WIB")
		want := func(q model.QuietHours, zone string) {
			t.Helper()
			got, err := s.Profiles.Settings(t.Context(), 66)
			if err != nil {
				t.Fatal(err)
			}
			if _, name := got.Zone(jakarta); got.Quiet != q || name != zone {
				t.Errorf("quiet %q in %s, want %q in %s", got.Quiet, name, q, zone)
			}
		}
		set := func(q *model.QuietHours, zone string) {
			t.Helper()
			z := &zone
			if zone == "-" {
				z = nil
			}
			if err := s.Profiles.SetQuietHours(t.Context(), 66, q, z); err != nil {
				t.Fatal(err)
			}
		}
		night := model.QuietHours{From: 22 * 60, To: 7 * 60}
		want(model.QuietHours{}, "Asia/Jakarta")
		set(nil, "-")
		if n := rdb.Exists(t.Context(), s.keys(66).profile()).Val(); n != 0 {
			t.Error("nothing was set, and something is kept")
		}
		set(&night, "-")
		want(night, "Asia/Jakarta")
		profile := "Asia/Makassar"
		if err := s.Profiles.Set(t.Context(), 66, Profile{Timezone: &profile}); err != nil {
			t.Fatal(err)
		}
		want(night, "Asia/Makassar")
		set(nil, "WIT")
		want(night, "WIT")
		set(&model.QuietHours{}, "")
		want(model.QuietHours{}, "Asia/Makassar")
		users, err := s.Users.After(t.Context(), s.parts.OfUser(66), 0, 10)
		if err != nil || len(users) != 1 {
			t.Errorf("users %v, %v", users, err)
		}
	})
}
