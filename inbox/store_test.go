package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
)

const user = 66

// note is a NewNotification of a listed notification.
func note(event, typ string) NewNotification {
	return NewNotification{
		Receiver: user, Event: event, Content: "c", Type: typ, Listed: true,
		Body: fmt.Appendf(nil, `{"type":%q,"title":null,"message":"m","details":{}}`, typ),
	}
}

func put(t *testing.T, s *Store, p NewNotification) StoreResult {
	t.Helper()
	stored, errs := s.Notifications.Store(context.Background(), []NewNotification{p}, nil)
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	return stored[0]
}

func unreads(t *testing.T, s *Store) model.Unreads {
	t.Helper()
	u, err := s.Counters.Unreads(context.Background(), user)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func list(t *testing.T, s *Store, offset, count int, types ...string) []Notification {
	t.Helper()
	notes, err := s.Notifications.List(context.Background(), user, types, offset, count)
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

func TestPutStoresOnce(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
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

func TestPutRefusesOtherContent(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		first := put(t, s, note("e", "discount"))
		other := note("e", "discount")
		other.Content = "changed"
		_, errs := s.Notifications.Store(context.Background(), []NewNotification{other}, nil)
		if !errors.Is(errs[0], ErrConflict) {
			t.Errorf("error %v, want ErrConflict", errs[0])
		}
		if got := list(t, s, 0, 10, "discount"); len(got) != 1 || got[0].ID != first.ID {
			t.Errorf("the first content does not stand alone: %v", got)
		}
	})
}

// A network failure makes the batcher send a script again.
func TestPutRepeatedByTheClientIsNoDuplicate(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		p := note("e", "discount")
		suffix := model.NewIDSuffix()
		keys, args := s.Notifications.storeArgs(&p, suffix)
		ctx := context.Background()
		var stored []StoreResult
		for range 2 {
			c := storeNotificationScript.Command(ctx, keys, args...)
			result, err := storeResult(c.Cmd, suffix, s.batcher.Do(ctx, c))
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

func TestListPagesAndTypes(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		var want []string
		for i := range 450 {
			typ := []string{"discount", "campaign", "transaction"}[i%3]
			p := note(strconv.Itoa(i), typ)
			stored := put(t, s, p)
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
			t.Errorf("%d of a type that there is none of", n)
		}
	})
}

func TestRead(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		a, b := put(t, s, note("a", "discount")), put(t, s, note("b", "discount"))
		for range 2 { // reading again changes nothing
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

func TestStatesCountInOrder(t *testing.T) {
	at := func(minute int) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(minute) * time.Minute)
	}
	state := func(minute, rank int, class model.Counter) model.State {
		return model.State{Order: at(minute), Rank: rank, Counter: class}
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
			onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
				s := newStore(t, rdb)
				for i, st := range c.states {
					p := note(strconv.Itoa(i), "transaction")
					p.Subject, p.State = "transaction:1", st
					put(t, s, p)
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

// Random orders and repeats of random states leave the counters as the newest
// state of each resource says (guarantee G6).
func TestCountersCannotDrift(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		s := newStore(t, rdb)
		var puts []NewNotification
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
			puts = append(puts, p, p)
		}
		rng.Shuffle(len(puts), func(i, j int) { puts[i], puts[j] = puts[j], puts[i] })
		for chunk := range slices.Chunk(puts, 50) {
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

// A transaction's news leaves its counter when the notification is read that told
// the newest state, and not when an older one is.
func TestReadingTransactionNews(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		news := func(event string, resource string, minute int) StoreResult {
			p := note(event, "transaction")
			p.Subject, p.State = resource, model.State{Order: time.Unix(int64(60*minute), 0), Rank: 1, Counter: model.TransactionNews}
			return put(t, s, p)
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

func TestCartSaysTheNewest(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		for i, c := range []struct{ minute, items, want int }{{2, 4, 4}, {1, 9, 4}, {3, 0, 0}} {
			p := NewNotification{
				Receiver: user, Event: strconv.Itoa(i), Type: "cart", Body: []byte("{}"),
				Cart: &c.items, State: model.State{Order: time.Unix(int64(60*c.minute), 0)},
			}
			put(t, s, p)
			if u := unreads(t, s); u.CartItems != c.want || u.Notifications != 0 {
				t.Errorf("after %+v: %+v", c, u)
			}
		}
	})
}

// The oldest notifications go, a few more than allowed at a time, and with them
// what counted them.
func TestNotificationsAreBounded(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, func(o *Options) { o.MaxNotifications = 10 })
		var last StoreResult
		for i := range 200 {
			last = put(t, s, note(strconv.Itoa(i), "discount"))
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

// What is older than allowed goes when the user gets something new, once a day,
// and an idle user's all at once.
func TestOldNotificationsGo(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		now := time.Now()
		s := newStore(t, rdb, func(o *Options) {
			o.Keep = time.Hour
			o.Now = func() time.Time { return now }
		})
		put(t, s, note("old", "discount"))
		ttl := rdb.PTTL(context.Background(), s.keys(user).notifications()).Val()
		if ttl <= time.Hour || ttl > time.Hour+expiryRenewInterval {
			t.Errorf("an idle user's notifications expire in %v", ttl)
		}
		now = now.Add(expiryRenewInterval)
		young := put(t, s, note("young", "discount"))
		if page := list(t, s, 0, 10, "discount"); len(page) != 1 || page[0].ID != young.ID {
			t.Errorf("kept %v", page)
		}
		if u := unreads(t, s); u.Notifications != 1 {
			t.Errorf("%d unread of one", u.Notifications)
		}
	})
}

func TestPutEnqueuesForDevicesOnly(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		stream := s.parts.Key(s.parts.OfUser(user), "out")
		entry := &OutboxEntry{Stream: stream, Header: `{"u":66,"n":"`}
		p := note("without", "transaction")
		p.Subject, p.Entry = "transaction:1", entry
		put(t, s, p)
		if n := rdb.XLen(ctx, stream).Val(); n != 0 {
			t.Fatalf("%d entries for a user without devices", n)
		}
		rdb.HSet(ctx, s.options.Devices(user), "d", "{}")
		p = note("with", "transaction")
		p.Subject, p.Entry = "transaction:1", entry
		stored := put(t, s, p)
		got := rdb.XRange(ctx, stream, "-", "+").Val()
		if len(got) != 1 || got[0].Values["e"] != `{"u":66,"n":"`+stored.ID+"\"}\n"+string(p.Body) {
			t.Errorf("entries %v", got)
		}
		if about := subject(t, s, "transaction:1"); about != (Subject{Newest: stored.ID}) {
			t.Errorf("about the subject %+v, want %q", about, stored.ID)
		}
	})
}

func TestPutPublishesAndLogs(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		sub := rdb.Subscribe(ctx, s.keys(user).channel())
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		var prev string
		for i := range 3 {
			p := note(strconv.Itoa(i), "discount")
			results, errs := s.Notifications.Store(ctx, []NewNotification{p}, map[string][]int64{p.Event: {user}})
			if errs[0] != nil {
				t.Fatal(errs[0])
			}
			stored := results[0]
			msg := (<-sub.Channel()).Payload
			head, body, _ := strings.Cut(msg, "\n")
			f := strings.Fields(head)
			if f[0] != "event" || f[1] != stored.Seq || i > 0 && f[2] != prev || f[3] != stored.ID || body != string(p.Body) {
				t.Errorf("frame %q after %s of %+v", msg, prev, stored)
			}
			prev = stored.Seq
		}
		p := note("unlisted", "message")
		p.Listed = false
		put(t, s, p)
		if listed, log := rdb.XLen(ctx, s.keys(user).notifications()).Val(), rdb.XLen(ctx, s.keys(user).replayLog()).Val(); listed != 3 || log != 1 {
			t.Errorf("%d frames in the list, %d in the log", listed, log)
		}
		records, err := s.Records.Find(ctx, "2")
		if err != nil || len(records) != 1 || !records[0].Live {
			t.Errorf("records %+v, %v: a socket was listening", records, err)
		}
	})
}

func TestSequenceNeverRunsBack(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		future := time.Now().Add(time.Hour).UnixMicro()
		rdb.HSet(context.Background(), s.keys(user).meta(), "seq", future)
		if got := put(t, s, note("e", "discount")).Seq; got != strconv.FormatInt(future+1, 10) {
			t.Errorf("seq %s after %d", got, future)
		}
	})
}

func TestRecords(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		if _, err := s.Records.Find(ctx, "none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown event: %v", err)
		}
		a, b := note("e", "discount"), note("e", "discount")
		b.Receiver = 7
		// From two requests: the receivers add up.
		first, errs := s.Notifications.Store(ctx, []NewNotification{a}, map[string][]int64{"e": {user}})
		second, more := s.Notifications.Store(ctx, []NewNotification{b}, map[string][]int64{"e": {7, 7}})
		if err := errors.Join(append(errs, more...)...); err != nil {
			t.Fatal(err)
		}
		rdb.Append(ctx, s.Records.Key(7, "e"), DeviceOutcome("d1", "an outcome")+DeviceOutcome("d1", "the last outcome")+PushOutcome("done"))
		got, err := s.Records.Find(ctx, "e")
		want := []Record{
			{Receiver: 7, ID: second[0].ID, Push: "done", Devices: map[string]string{"d1": "the last outcome"}},
			{Receiver: user, ID: first[0].ID, Push: "none", Devices: map[string]string{}},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
		if ttl := rdb.PTTL(ctx, s.Records.Key(7, "e")).Val(); ttl <= 6*24*time.Hour {
			t.Errorf("a record is forgotten after %v", ttl)
		}
	})
}

func TestProfile(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		if _, err := s.Profiles.Get(ctx, user); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown user: %v", err)
		}
		name, locale, admin := "Me Ow", "en", true
		for _, p := range []Profile{{Name: &name, Admin: &admin}, {Locale: &locale}} {
			if err := s.Profiles.Set(ctx, user, p); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Profiles.Get(ctx, user)
		if diff := cmp.Diff(Profile{Name: &name, Admin: &admin, Locale: &locale}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}
