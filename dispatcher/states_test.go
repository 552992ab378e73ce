package dispatcher

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// asks is the model of the property test below: the counter that each state belongs to, for
// the seller and for the buyer, as in the marketplace's v2 API documents.
var asks = map[string][2]func(*model.Unreads){
	"transaction pending":         {nil, func(n *model.Unreads) { n.BuyerTransactions++ }},
	"transaction addressed":       {nil, func(n *model.Unreads) { n.BuyerTransactions++ }},
	"transaction payment_chosen":  {nil, func(n *model.Unreads) { n.BuyerTransactions++ }},
	"transaction confirm_payment": {nil, func(n *model.Unreads) { n.TransactionNews++ }},
	"transaction paid":            {func(n *model.Unreads) { n.SellerTransactions++ }, func(n *model.Unreads) { n.TransactionNews++ }},
	"transaction delivered":       {nil, func(n *model.Unreads) { n.BuyerTransactions++ }},
	"transaction received":        {nil, func(n *model.Unreads) { n.TransactionNews++ }},
	"transaction remitted":        {nil, func(n *model.Unreads) { n.TransactionNews++ }},
	"transaction rejected":        {nil, func(n *model.Unreads) { n.TransactionNews++ }},
	"transaction cancelled":       {nil, func(n *model.Unreads) { n.TransactionNews++ }},
	"transaction expired":         {nil, func(n *model.Unreads) { n.TransactionNews++ }},
	"transaction refunded":        {nil, func(n *model.Unreads) { n.TransactionNews++ }},
	"nego waiting":                {func(n *model.Unreads) { n.SellerOffers++ }, nil},
	"nego accepted":               {nil, func(n *model.Unreads) { n.BuyerOffers++ }},
}

var (
	transactionStates = strings.Fields("pending addressed payment_chosen confirm_payment paid delivered received remitted rejected cancelled expired refunded")
	offerStates       = strings.Fields("waiting accepted rejected cancelled expired finished")
)

// A told is a state of a resource at a time, as a service reports it.
type told struct {
	resource      string // "transaction" or "nego"
	id            int
	seller, buyer int64
	rank, second  int // the rank counts from 0
}

func (s *told) state() string {
	if s.resource == "nego" {
		return offerStates[s.rank]
	}
	return transactionStates[s.rank]
}

func (s *told) newerThan(other *told) bool {
	return s.second > other.second || s.second == other.second && s.rank > other.rank
}

// event returns the state as a service sends it. another may contain an id member, which
// makes it a different event.
func (s *told) event(another string) string {
	key := map[string]string{"transaction": "transaction", "nego": "negotiation"}[s.resource]
	at := time.Unix(1390459731, 0).Add(time.Duration(s.second) * time.Second)
	return fmt.Sprintf(`{%s%q:{"id":%d,"state":%q,"updated_at":%q,"seller":{"id":%d,"name":"S%d"},"buyer":{"id":%d,"name":"B%d"}}}`,
		another, key, s.id, s.state(), at.Format(time.RFC3339), s.seller, s.seller, s.buyer, s.buyer)
}

// The states of several transactions and offers arrive in any order and any number of
// times. The counters of both users are those of the newest states (G6). Only the newest
// state is pushed, once for each event that reports it.
func TestStatesInAnyOrder(t *testing.T) {
	t.Parallel()
	for range 3 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { statesInAnyOrder(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

// A history is the sequence of states that services report about several transactions and
// offers.
type history struct {
	events   []*event.Event
	newest   map[int]*told              // by resource
	parsed   map[int]*event.Event       // the event with the newest state, by resource
	tellings map[[3]int]map[string]bool // ids of the events with a state, by resource, second and rank
}

// history returns a random history. Some of its states are repeated, with the same or
// another id.
func (w *world) history(rnd *rand.Rand, users []int64) *history {
	h := &history{newest: make(map[int]*told), parsed: make(map[int]*event.Event), tellings: make(map[[3]int]map[string]bool)}
	for id := 1; id <= 60; id++ {
		who := rnd.Perm(len(users))
		s := told{resource: "transaction", id: id, seller: users[who[0]], buyer: users[who[1]]}
		most := len(transactionStates)
		if rnd.IntN(2) == 0 {
			s.resource, most = "nego", len(offerStates)
		}
		for range 1 + rnd.IntN(8) {
			s := s
			s.rank, s.second = rnd.IntN(most), rnd.IntN(3)
			for n := range 1 + rnd.IntN(3) {
				another := ""
				if n > 0 && rnd.IntN(2) == 0 {
					another = fmt.Sprintf(`"id":"%d-%d-%d",`, id, len(h.events), n)
				}
				h.tell(&s, w.parse(s.event(another)))
			}
		}
	}
	rnd.Shuffle(len(h.events), func(i, j int) { h.events[i], h.events[j] = h.events[j], h.events[i] })
	return h
}

func (h *history) tell(s *told, e *event.Event) {
	h.events = append(h.events, e)
	at := [3]int{s.id, s.second, s.rank}
	if h.tellings[at] == nil {
		h.tellings[at] = make(map[string]bool)
	}
	h.tellings[at][e.ID] = true
	if old := h.newest[s.id]; old == nil || s.newerThan(old) {
		h.newest[s.id], h.parsed[s.id] = s, e
	}
}

// model returns the expected counters and pushes.
func (h *history) model() (unreads map[int64]model.Unreads, pushes map[string]int) {
	unreads, pushes = make(map[int64]model.Unreads), make(map[string]int)
	for _, s := range h.newest {
		for i, user := range []int64{s.seller, s.buyer} {
			n := unreads[user]
			if enter := asks[s.resource+" "+s.state()][i]; enter != nil {
				enter(&n)
			}
			unreads[user] = n
			if c := h.parsed[s.id].ContentFor(user); c.Level == event.Pushed {
				pushes[fmt.Sprintf("%d %s:%d %s", user, s.resource, s.id, c.Message)] += len(h.tellings[[3]int{s.id, s.second, s.rank}])
			}
		}
	}
	return unreads, pushes
}

func statesInAnyOrder(t *testing.T, rnd *rand.Rand) {
	w := newWorld(t)
	users := []int64{1, 2, 3, 4, 5}
	for _, user := range users {
		w.register(user, devices.Android, fmt.Sprint("T", user))
	}
	h := w.history(rnd, users)
	for chunk := range slices.Chunk(h.events, 1+rnd.IntN(40)) {
		for _, r := range w.Publish(t.Context(), "service:test", chunk...) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	unreads, pushes := h.model()
	for _, user := range users {
		got, err := w.opts.Inbox.Counters.Unreads(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		got.Notifications = 0
		if diff := cmp.Diff(unreads[user], got); diff != "" {
			t.Errorf("user %d (-model +counted):\n%s", user, diff)
		}
	}
	w.run()
	w.settled()
	sent := make(map[string]int)
	for _, d := range w.android.pushes() {
		sent[fmt.Sprintf("%s %s %s", d.Data[1].Value, d.Tag, d.Body)]++
	}
	if diff := cmp.Diff(pushes, sent); diff != "" {
		t.Errorf("pushes (-model +sent):\n%s", diff)
	}
}

const offer = `{"id":%q,"type":"nego","receiver_id":66,"time":%q,"message":%q,"details":{"id":1,"state":%q,"seller":{"id":66},"buyer":{"id":15}}}`

func (w *world) offer(id, at, state string) {
	w.t.Helper()
	w.publish(fmt.Sprintf(offer, id, "2014-01-23T13:"+at+":00+07:00", id, state))
}

// A queued push is dropped when a newer state of the same offer has been reported. Nothing
// is pushed about an expired offer. A late state supersedes nothing.
func TestSupersededPushesAreDropped(t *testing.T) {
	t.Parallel()
	type tell struct{ id, at, state string }
	for name, c := range map[string]struct {
		tells []tell
		sent  []string // bodies of the expected pushes
		push  map[string]string
	}{
		"a newer offer": {
			[]tell{{"old", "01", "waiting"}, {"new", "02", "waiting"}},
			[]string{"new"}, map[string]string{"old": "superseded", "new": "done"},
		},
		"the offer has expired": {
			[]tell{{"old", "01", "waiting"}, {"over", "02", "expired"}},
			nil, map[string]string{"old": "superseded", "over": "none"},
		},
		"an older state comes late": {
			[]tell{{"new", "02", "accepted"}, {"late", "01", "waiting"}},
			[]string{"new"}, map[string]string{"new": "done", "late": "superseded"},
		},
		"a state comes after the offer has expired": {
			[]tell{{"over", "02", "expired"}, {"late", "01", "waiting"}},
			nil, map[string]string{"over": "none", "late": "superseded"},
		},
		"told again, in other words": {
			[]tell{{"first", "01", "waiting"}, {"again", "01", "waiting"}},
			[]string{"again", "first"}, map[string]string{"first": "done", "again": "done"},
		},
		"the same time, a later state": {
			[]tell{{"second", "01", "accepted"}, {"first", "01", "waiting"}},
			[]string{"second"}, map[string]string{"second": "done", "first": "superseded"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.register(66, devices.Android, "A")
			for _, tell := range c.tells {
				w.offer(tell.id, tell.at, tell.state)
			}
			w.run()
			w.settled()
			var sent []string
			for _, d := range w.android.pushes() {
				sent = append(sent, d.Body)
			}
			slices.Sort(sent)
			if diff := cmp.Diff(c.sent, sent); diff != "" {
				t.Errorf("pushes (-want +got):\n%s", diff)
			}
			for id, want := range c.push {
				w.status(id, func(s delivery.ReceiverStatus) bool { return s.Push == want })
			}
			notes, err := w.opts.Inbox.Notifications.List(t.Context(), 66, []string{"nego"}, 0, 10)
			if err != nil || len(notes) != len(c.tells) {
				t.Errorf("%d in the list, %v", len(notes), err)
			}
		})
	}
}

// A delayed retry is dropped when the offer has expired in the meantime. The expiry itself
// is never pushed. A late state does not drop the retry.
func TestRetriesOfOffers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at, state string
		outcome   string
	}{
		"expired meanwhile": {"02", "expired", "superseded"},
		"a late state":      {"00", "cancelled", "accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			release := make(chan struct{})
			var attempts atomic.Int32
			w.android.answer = func(*push.Delivery) push.Result {
				if attempts.Add(1) > 1 {
					return push.Result{Outcome: push.Accepted}
				}
				<-release
				return push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", RetryAfter: 10 * time.Millisecond}
			}
			w.register(66, devices.Android, "A")
			w.run()
			w.offer("old", "01", "waiting")
			w.android.wait(t, "first attempt", count(1))
			w.offer("later", c.at, c.state)
			close(release)
			w.status("old", func(s delivery.ReceiverStatus) bool { return len(s.Devices) == 1 && s.Devices[0].Outcome == c.outcome })
			w.settled()
		})
	}
}

// A state that only changes counters supersedes queued pushes, too.
func TestQuietStatesSupersede(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(66, devices.Android, "A")
	s := told{resource: "transaction", id: 1, seller: 66, buyer: 15, rank: 4, second: 1} // paid
	old := w.parse(s.event(`"id":"old",`))
	s.rank, s.second = 2, 2 // payment_chosen: unusual after paid, but it is the newest
	for _, r := range w.Publish(t.Context(), "service:test", old, w.parse(s.event(""))) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	w.run()
	w.settled()
	if n := len(w.android.pushes()); n != 0 {
		t.Errorf("%d pushes", n)
	}
}
