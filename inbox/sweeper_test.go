package inbox

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// aged returns the same store with a clock that is ahead.
func aged(s *Store, by time.Duration, change ...func(*Options)) *Store {
	opts := s.options
	opts.Now = func() time.Time { return time.Now().Add(by) }
	for _, f := range change {
		f(&opts)
	}
	return New(opts)
}

func sweep(t *testing.T, s *Store, users ...int64) Swept {
	t.Helper()
	swept, err := s.Sweeper.Sweep(context.Background(), users)
	if err != nil {
		t.Fatal(err)
	}
	return swept
}

// Sweeping users who have nothing to drop takes one round trip for all of them.
func TestSweepOfIdleUsers(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		var users []int64
		for i := range int64(50) {
			p := note(fmt.Sprint("idle", i), "discount")
			p.Receiver = 1000 + i
			users = append(users, p.Receiver)
			store(t, s, p)
		}
		var alone atomic.Int32
		rdb.AddHook(before(func(redis.Cmder) { alone.Add(1) }))
		if swept := sweep(t, s, users...); swept != (Swept{}) || alone.Load() != 0 {
			t.Errorf("swept %+v, %d commands outside of the pipeline", swept, alone.Load())
		}
	})
}

// Old notifications of an idle user are removed from the list and the counters. A
// transaction that asks the user to act is still counted. News are no longer counted when
// their notification is gone.
func TestSweepNotifications(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newStore(t, rdb)
		for i := range 250 {
			store(t, s, note(fmt.Sprint(i), "discount"))
		}
		for subject, counter := range map[string]model.Counter{"transaction:1": model.SellerTransactions, "transaction:2": model.TransactionNews} {
			p := note(subject, "transaction")
			p.Subject, p.State = subject, model.State{Order: time.Now(), Rank: 5, Counter: counter}
			store(t, s, p)
		}
		if swept := sweep(t, s, user, partner); swept != (Swept{}) {
			t.Errorf("swept %+v of what is new", swept)
		}
		sockets := rdb.Subscribe(ctx, s.Live.Channel(user))
		defer sockets.Close()
		if _, err := sockets.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		later := aged(s, s.options.Keep+time.Hour)
		if swept := sweep(t, later, user, partner); swept != (Swept{Notifications: 252, Subjects: 1}) {
			t.Errorf("swept %+v", swept)
		}
		if u := unreads(t, s); u != (model.Unreads{SellerTransactions: 1}) {
			t.Errorf("counted %+v", u)
		}
		if m, err := sockets.ReceiveMessage(ctx); err != nil || !strings.HasPrefix(m.Payload, model.FrameUnreads) {
			t.Errorf("sockets hear %v, %v", m, err)
		}
		if n := len(list(t, s, 0, 100, "discount")); n != 0 {
			t.Errorf("%d are listed", n)
		}
		meta := rdb.HGetAll(ctx, s.keys(user).meta()).Val()
		if meta["kept"] != "0" || meta["r:transaction:1"] == "" || meta["r:transaction:2"] != "" {
			t.Errorf("meta %v", meta)
		}
		if n := rdb.Exists(ctx, s.keys(user).recordIndex()).Val(); n != 0 {
			t.Error("records that have expired are still listed")
		}
	})
}

// Only old notifications are dropped, and a late state is still recognised.
func TestSweepKeepsWhatIsNew(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		old := aged(s, -s.options.Keep-time.Hour)
		p := note("old", "transaction")
		p.Subject, p.State = "transaction:1", model.State{Order: old.now(), Rank: 5, Counter: model.TransactionNews}
		store(t, old, p)
		p.Event, p.State = "new", model.State{Order: time.Now(), Rank: 6}
		store(t, s, p)
		sweep(t, s, user)
		if n := len(list(t, s, 0, 10, "transaction")); n != 1 {
			t.Errorf("%d are listed", n)
		}
		p.Event, p.State = "late", model.State{Order: time.Now().Add(-time.Minute), Rank: 5, Counter: model.SellerTransactions}
		store(t, s, p)
		if u := unreads(t, s); u != (model.Unreads{Notifications: 2}) {
			t.Errorf("counted %+v", u)
		}
	})
}

// Old messages are removed from each copy when its user is swept, and from the search and
// the counters. A conversation without messages is deleted.
func TestSweepMessages(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		const keep = 30 * 24 * time.Hour
		s := newStore(t, rdb, func(o *Options) { o.KeepMessages = keep })
		send := func(from int64, body string, ago time.Duration) {
			m := outbound(from, user, body)
			m.ID = model.NewID(time.Now().Add(-ago))
			carry(t, s, m)
		}
		for i := range 120 { // more than one script can drop
			send(partner, fmt.Sprint("lama ", i), keep+time.Hour)
		}
		send(partner, "baru", 0)
		for i := range sweepConversations + 20 { // more than one page of conversations, each empty in the end
			send(1000+int64(i), "lama sekali", keep+2*time.Hour)
		}
		if swept := sweep(t, s, user); swept.Messages != 120+sweepConversations+20 {
			t.Errorf("swept %+v", swept)
		}
		if u := unreads(t, s); u.Messages != 1 {
			t.Errorf("%d unread", u.Messages)
		}
		if got := bodies(t, s, user); strings.Join(got, ",") != "baru" {
			t.Errorf("left are %v", got)
		}
		inbox, err := s.Conversations.List(ctx, user, false, 0, 100)
		if err != nil || len(inbox) != 1 || inbox[0].Partner != partner {
			t.Errorf("inbox %v, %v", inbox, err)
		}
		k := s.keys(user)
		if n, words := rdb.HLen(ctx, k.bodies()).Val(), rdb.ZCard(ctx, k.words()).Val(); n != 1 || words != 1 {
			t.Errorf("%d bodies and %d postings", n, words)
		}
		if n := len(bodies(t, s, partner)); n != 100 { // one page; the partner is not swept yet
			t.Errorf("the partner has %d", n)
		}
		forEver := aged(s, 10*keep, func(o *Options) { o.KeepMessages = 0 })
		if swept := sweep(t, forEver, user, partner); swept.Messages != 0 {
			t.Errorf("swept %+v although messages are kept for ever", swept)
		}
	})
}

// News are no longer counted when their notification is dropped from a full list.
func TestNewsLeaveWithTheirNotification(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, func(o *Options) { o.MaxNotifications = 10 })
		p := note("news", "transaction")
		p.Subject, p.State = "transaction:1", model.State{Order: time.Now(), Rank: 5, Counter: model.TransactionNews}
		store(t, s, p)
		for i := range 50 {
			store(t, s, note(fmt.Sprint(i), "discount"))
		}
		if u := unreads(t, s); u.TransactionNews != 0 || u.Notifications > 50 {
			t.Errorf("counted %+v", u)
		}
	})
}
