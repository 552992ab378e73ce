package outbox

import (
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// leaveAlone gives an entry to a consumer, which then leaves it idle.
func (w *world) leaveAlone(key Key, l push.Lane, consumer string, idle time.Duration) {
	w.t.Helper()
	err := w.redis.Do(w.t.Context(), "xclaim", w.StreamKey(key.Partition, l), group, consumer, 0, key.ID,
		"idle", idle.Milliseconds(), "retrycount", 1, "justid").Err()
	if err != nil {
		w.t.Fatal(err)
	}
}

// answered makes a claimer believe that Redis has answered it for a whole lease.
func (w *world) answered(c *Claimer) *Claimer {
	for p := range c.answered {
		c.answered[p] = answer{at: c.now(), redis: time.UnixMilli(int64(w.redisTime())), since: c.now().Add(-w.lease)}
	}
	return c
}

// claim returns the entries that a claimer takes over, by value, with their numbers of
// deliveries.
func (w *world) claim(c *Claimer, without ...int) map[string]int64 {
	w.t.Helper()
	messages, err := c.Claim(w.t.Context(), w.batcher, without...)
	if err != nil {
		w.t.Fatal(err)
	}
	claimed := make(map[string]int64)
	for _, m := range messages {
		claimed[m.Value] = m.Deliveries
	}
	return claimed
}

// Taking over an idle entry of another consumer counts a delivery. Taking back an entry
// that this consumer never received does not. Entries under a lease are not claimed.
func TestClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const l = push.Chat
	w.leaveAlone(w.hold(2, l, "dead"), l, "another", w.lease)
	w.leaveAlone(w.hold(2, l, "unknown"), l, w.consumer, w.lease/2)
	w.leaveAlone(w.hold(2, l, "held"), l, "another", w.lease/2)
	w.leaveAlone(w.hold(3, l, "left out"), l, "another", w.lease)
	gone := w.hold(2, l, "gone")
	w.leaveAlone(gone, l, "another", w.lease)
	if err := w.redis.XDel(t.Context(), w.StreamKey(2, l), gone.ID).Err(); err != nil {
		t.Fatal(err)
	}
	if got := w.claim(w.answered(w.NewClaimer(l)), 3); len(got) != 2 || got["dead"] != 2 || got["unknown"] != 1 {
		t.Errorf("claimed %v", got)
	}
	if got := w.claim(w.answered(w.NewClaimer(l)), 3); len(got) != 0 {
		t.Errorf("claimed again %v", got)
	}
	if n := w.pending(w.StreamKey(2, l)); n != 3 {
		t.Errorf("%d held, want 3: what was dropped is forgotten", n)
	}
}

// Claim finds idle entries behind any number of entries that are held.
func TestClaimBehindHeldEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const l, held = push.Bulk, 11 * maxClaim
	for range held {
		w.leaveAlone(w.hold(1, l, "held"), l, "another", 0)
	}
	w.leaveAlone(w.hold(1, l, "dead"), l, "a third", w.lease)
	if got := w.claim(w.answered(w.NewClaimer(l))); len(got) != 1 || got["dead"] != 2 {
		t.Errorf("claimed %v", got)
	}
}

// A claimer takes over nothing right after an outage of Redis, a pause of its own, or a
// jump of Redis' clock: other consumers have had no time to renew their leases.
func TestClaimOnlyFromTheDead(t *testing.T) {
	t.Parallel()
	const l = push.Urgent
	// In each case Redis has answered for long. Then the event happens within one step.
	for name, happen := range map[string]func(mini *miniredis.Miniredis, step func(ours, redis time.Duration), c *Claimer){
		"started": func(_ *miniredis.Miniredis, _ func(ours, redis time.Duration), c *Claimer) {
			clear(c.answered)
		},
		"outage": func(mini *miniredis.Miniredis, step func(ours, redis time.Duration), c *Claimer) {
			mini.SetError("LOADING")
			defer mini.SetError("")
			step(c.o.RenewEvery(), c.o.RenewEvery())
			if _, err := c.Claim(t.Context(), c.o.batcher); err == nil {
				t.Error("claimed in an outage")
			}
		},
		"pause": func(_ *miniredis.Miniredis, step func(ours, redis time.Duration), c *Claimer) {
			step(c.o.lease, c.o.lease)
		},
		"suspended": func(_ *miniredis.Miniredis, step func(ours, redis time.Duration), c *Claimer) {
			step(0, c.o.lease) // our clock does not move
		},
		"forward": func(_ *miniredis.Miniredis, step func(ours, redis time.Duration), c *Claimer) {
			step(0, 10*time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mini := miniredis.RunT(t)
			w := newWorldAt(t, mini.Addr())
			c := w.NewClaimer(l)
			ours, redis := time.UnixMilli(0), time.UnixMilli(1_400_000_000_000)
			c.now = func() time.Time { return ours }
			step := func(o, r time.Duration) {
				ours, redis = ours.Add(o), redis.Add(r)
				mini.SetTime(redis)
			}
			step(0, 0)
			for range 4 {
				if got := w.claim(c); len(got) != 0 {
					t.Fatalf("claimed %v", got)
				}
				step(w.RenewEvery(), w.RenewEvery())
			}
			happen(mini, step, c)
			w.leaveAlone(w.hold(2, l, "v"), l, "another", w.lease)
			for range 2 {
				if got := w.claim(c); len(got) != 0 {
					t.Fatalf("claimed %v at once", got)
				}
				step(w.RenewEvery(), w.RenewEvery())
			}
			if got := w.claim(c); len(got) != 1 {
				t.Errorf("claimed %v after half a lease", got)
			}
		})
	}
}

// When Redis' clock steps back, the lease of a dead consumer's entry still ends about a
// lease later.
func TestClaimAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	w := newWorldAt(t, mini.Addr())
	c := w.NewClaimer(push.Chat)
	ours, redis := time.UnixMilli(0), time.UnixMilli(1_400_000_000_000)
	c.now = func() time.Time { return ours }
	mini.SetTime(redis)
	w.leaveAlone(w.hold(2, push.Chat, "v"), push.Chat, "another", 0)
	redis = redis.Add(-10 * time.Minute)
	for step := range 6 {
		mini.SetTime(redis)
		if got := w.claim(c); len(got) == 1 {
			if step < 3 {
				t.Errorf("claimed after %d quarters of a lease", step)
			}
			return
		}
		ours, redis = ours.Add(w.RenewEvery()), redis.Add(w.RenewEvery())
	}
	t.Error("not claimed")
}

// Renewing prevents a take-over and counts no delivery.
func TestRenew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const l = push.Chat
	var held []Key
	for range maxRenew + 1 {
		key := w.hold(2, l, "v")
		w.leaveAlone(key, l, w.consumer, w.lease)
		held = append(held, key)
	}
	lost := w.hold(2, l, "lost")
	w.leaveAlone(lost, l, "another", w.lease)
	for range 9 {
		if err := w.Renew(t.Context(), w.batcher, l, append(held, lost)); err != nil {
			t.Fatal(err)
		}
	}
	pending, err := w.redis.XPendingExt(t.Context(), &redis.XPendingExtArgs{
		Stream: w.StreamKey(2, l), Group: group, Start: "-", End: "+", Count: 1000,
	}).Result()
	if err != nil || len(pending) != len(held)+1 {
		t.Fatal(len(pending), err)
	}
	for _, p := range pending {
		mine := slices.Contains(held, Key{2, p.ID})
		if mine != (p.Consumer == w.consumer) || mine != (p.Idle < w.lease) || p.RetryCount != 1 {
			t.Errorf("%+v, mine: %t", p, mine)
		}
	}
}
