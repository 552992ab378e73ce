package inbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func unreads(t *testing.T, s *Store) model.Unreads {
	t.Helper()
	u, err := s.Counters.Unreads(context.Background(), user)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestStatesCountInOrder(t *testing.T) {
	at := func(minute int) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(minute) * time.Minute)
	}
	state := func(minute, rank int, counter model.Counter) model.State {
		return model.State{Order: at(minute), Rank: rank, Counter: counter}
	}
	for name, c := range map[string]struct {
		states []model.State
		want   model.Unreads
	}{
		"one":               {[]model.State{state(1, 5, model.SellerTransactions)}, model.Unreads{SellerTransactions: 1}},
		"moves on":          {[]model.State{state(1, 5, model.SellerTransactions), state(2, 6, model.NoCounter)}, model.Unreads{}},
		"late":              {[]model.State{state(2, 6, model.BuyerTransactions), state(1, 5, model.TransactionNews)}, model.Unreads{BuyerTransactions: 1}},
		"same time by rank": {[]model.State{state(1, 6, model.NoCounter), state(1, 5, model.SellerTransactions)}, model.Unreads{}},
		"offers":            {[]model.State{{Order: at(1), Rank: 1, Counter: model.SellerOffers}}, model.Unreads{SellerOffers: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
				s := newStore(t, rdb)
				for i, st := range c.states {
					p := note(strconv.Itoa(i), "transaction")
					p.Subject, p.State = "transaction:1", st
					store(t, s, p)
				}
				got := unreads(t, s)
				got.Notifications = 0
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// Random states arrive in random order, some of them repeated. The counters are those of
// the newest state of each resource (guarantee G6).
func TestCountersCannotDrift(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		s := newStore(t, rdb)
		var events []NewNotification
		newest := make(map[string]model.State)
		for i := range 300 {
			subject := "transaction:" + strconv.Itoa(rng.IntN(20))
			st := model.State{
				Order:   time.UnixMicro(1_700_000_000_000_000 + rng.Int64N(50)),
				Rank:    i + 1, // no two alike
				Counter: model.Counter(rng.IntN(4)),
			}
			if n := newest[subject]; st.Order.After(n.Order) || st.Order.Equal(n.Order) && st.Rank > n.Rank {
				newest[subject] = st
			}
			p := note(strconv.Itoa(i), "transaction")
			p.Subject, p.State = subject, st
			events = append(events, p, p)
		}
		rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for chunk := range slices.Chunk(events, 50) {
			if _, errs := s.Notifications.Store(context.Background(), chunk, nil); errors.Join(errs...) != nil {
				t.Fatal(errors.Join(errs...))
			}
		}
		want := model.Unreads{Notifications: 300}
		for _, st := range newest {
			switch st.Counter {
			case model.SellerTransactions:
				want.SellerTransactions++
			case model.BuyerTransactions:
				want.BuyerTransactions++
			case model.TransactionNews:
				want.TransactionNews++
			}
		}
		if diff := cmp.Diff(want, unreads(t, s)); diff != "" {
			t.Error(diff)
		}
	})
}

// A transaction leaves the counter of news when the notification of its newest state is
// read. Reading an older one does not change the counter.
func TestReadingTransactionNews(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		news := func(event string, resource string, minute int) StoreResult {
			p := note(event, "transaction")
			p.Subject, p.State = resource, model.State{Order: time.Unix(int64(60*minute), 0), Rank: 1, Counter: model.TransactionNews}
			return store(t, s, p)
		}
		old, newest := news("a", "transaction:1", 1), news("b", "transaction:1", 2)
		news("c", "transaction:2", 1)
		for _, step := range []struct {
			read func() error
			want int
		}{
			{func() error { _, err := s.Notifications.MarkRead(ctx, user, old.ID); return err }, 2},
			{func() error { _, err := s.Notifications.MarkRead(ctx, user, newest.ID); return err }, 1},
			{func() error { return s.Notifications.MarkAllRead(ctx, user) }, 0},
		} {
			if err := step.read(); err != nil {
				t.Fatal(err)
			}
			if u := unreads(t, s); u.TransactionNews != step.want {
				t.Errorf("%d news, want %d", u.TransactionNews, step.want)
			}
		}
	})
}

func TestTheNewestCartCounts(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		for i, c := range []struct{ minute, items, want int }{{2, 4, 4}, {1, 9, 4}, {3, 0, 0}} {
			p := NewNotification{
				Receiver: user, Event: strconv.Itoa(i), Type: "cart", Body: []byte("{}"),
				Cart: &c.items, State: model.State{Order: time.Unix(int64(60*c.minute), 0)},
			}
			store(t, s, p)
			if u := unreads(t, s); u.CartItems != c.want || u.Notifications != 0 {
				t.Errorf("after %+v: %+v", c, u)
			}
		}
	})
}

func subject(t *testing.T, s *Store, name string) Subject {
	t.Helper()
	facts := s.PushFacts(context.Background(), s.batcher, []PushQuery{{User: user, Subject: name}})[0]
	if facts.Err != nil {
		t.Fatal(facts.Err)
	}
	return facts.Subject
}

// state returns an event with a state of a transaction in the given second.
func state(s *Store, event string, second int64, rank int, counter model.Counter) NewNotification {
	p := note(event, "transaction")
	p.Subject = "transaction:1"
	p.State = model.State{Order: time.Unix(second, 0), Rank: rank, Counter: counter}
	p.Entry = &OutboxEntry{Stream: s.parts.Key(s.parts.OfUser(user), "out"), Header: `{"u":66,"n":"`}
	return p
}

// A late state is listed, but it changes neither the counters nor Subject.Newest, and it is
// not pushed.
func TestLateStatesAreKeptAndNotPushed(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		rdb.HSet(ctx, s.options.Devices(user), "d", "{}")
		newer := store(t, s, state(s, "newer", 2, 5, model.SellerTransactions))
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
		again := store(t, s, state(s, "the same again", 2, 5, model.SellerTransactions))
		if about := subject(t, s, "transaction:1"); about != (Subject{Told: newer.ID, Newest: again.ID}) {
			t.Errorf("told again: about the subject %+v, want %q and %q", about, newer.ID, again.ID)
		}
		newest := store(t, s, state(s, "newest", 2, 6, model.NoCounter))
		if about := subject(t, s, "transaction:1"); about != (Subject{Told: newest.ID, Newest: newest.ID}) {
			t.Errorf("about the subject %+v, want %q", about, newest.ID)
		}
	})
}

// A quiet event changes the counters and is sent to live sockets. It is not in the list or
// the replay log, and it takes no sequence number.
func TestQuietEventsMoveCountersOnly(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		store(t, s, state(s, "told", 1, 1, model.SellerTransactions))
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
		stored := store(t, s, quiet)
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
		// The push of the older state is still superseded.
		if about := subject(t, s, "transaction:1"); about.Told != stored.ID {
			t.Errorf("about the subject %+v, want %q", about, stored.ID)
		}
		if again := store(t, s, quiet); !again.Duplicate || again.ID != stored.ID {
			t.Errorf("a repeat is %+v", again)
		}
	})
}

// An event that repeats a state under another id does not count news again after they were
// read.
func TestARepeatedStateCountsOnce(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		first := store(t, s, state(s, "first", 1, 1, model.TransactionNews))
		if _, err := s.Notifications.MarkRead(t.Context(), user, first.ID); err != nil {
			t.Fatal(err)
		}
		store(t, s, state(s, "again", 1, 1, model.TransactionNews))
		if n, err := s.Counters.Unreads(t.Context(), user); err != nil || n != (model.Unreads{Notifications: 1}) {
			t.Errorf("unreads %+v, %v", n, err)
		}
	})
}

// Two events have the same state, but one of them does not name the seller and the buyer,
// so that it has no counter. The state is counted in either order, unless it was news and
// has been read.
func TestTheSameStateWithAndWithoutACounter(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, c := range map[string]struct {
			counters [2]model.Counter
			read     bool // whether the first event is read before the second
			want     model.Unreads
		}{
			"counter last":     {[2]model.Counter{model.NoCounter, model.SellerTransactions}, false, model.Unreads{SellerTransactions: 1, Notifications: 2}},
			"counter first":    {[2]model.Counter{model.SellerTransactions, model.NoCounter}, false, model.Unreads{SellerTransactions: 1, Notifications: 2}},
			"news last":        {[2]model.Counter{model.NoCounter, model.TransactionNews}, false, model.Unreads{TransactionNews: 1, Notifications: 2}},
			"news first":       {[2]model.Counter{model.TransactionNews, model.NoCounter}, false, model.Unreads{TransactionNews: 1, Notifications: 2}},
			"news last, read":  {[2]model.Counter{model.NoCounter, model.TransactionNews}, true, model.Unreads{Notifications: 1}},
			"news first, read": {[2]model.Counter{model.TransactionNews, model.NoCounter}, true, model.Unreads{Notifications: 1}},
		} {
			t.Run(name, func(t *testing.T) {
				s := newStore(t, rdb)
				first := store(t, s, state(s, "first", 1, 1, c.counters[0]))
				if c.read {
					if _, err := s.Notifications.MarkRead(t.Context(), user, first.ID); err != nil {
						t.Fatal(err)
					}
				}
				store(t, s, state(s, "again", 1, 1, c.counters[1]))
				if n, err := s.Counters.Unreads(t.Context(), user); err != nil || n != c.want {
					t.Errorf("unreads %+v, %v", n, err)
				}
			})
		}
	})
}

// A notification that is not pushed does not become Subject.Newest, so the push of an
// earlier one is still retried.
func TestOnlyPushesSupersede(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		p := note("told", "transaction")
		p.Subject, p.State = "transaction:1", model.State{Order: time.Now(), Rank: 5}
		p.Entry = &OutboxEntry{Stream: s.parts.Key(s.parts.OfUser(user), "out:urgent"), Header: `{"n":"`}
		pushed := store(t, s, p)
		p.Event, p.Entry = "again, for the inbox alone", nil
		store(t, s, p)
		if about := subject(t, s, "transaction:1"); about != (Subject{Told: pushed.ID, Newest: pushed.ID}) {
			t.Errorf("%+v, pushed was %s", about, pushed.ID)
		}
	})
}
