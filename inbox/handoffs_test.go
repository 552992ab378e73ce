package inbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// When a process crashes between the two scripts, a hand-off stores the message in the
// second copy, whichever user has sent it. Storing it again changes nothing, even after the
// second user has deleted it.
func TestHandoffSurvivesACrash(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		for from, to := range map[int64]int64{user: partner, partner: user} {
			later := time.Now().Add(2 * handoffDelay)
			s := newStore(t, rdb, func(o *Options) { o.Now = func() time.Time { return later } })
			ctx := context.Background()
			m := outbound(from, to, fmt.Sprint("halo from ", from))
			second := m.second()
			before := len(bodies(t, s, second))
			first(t, s, m)
			due, err := s.Handoffs.Due(ctx, 10)
			if diff := cmp.Diff([]Handoff{{s.parts.OfUser(m.First()), m.Pointer}}, due); diff != "" || err != nil {
				t.Fatal(diff, err)
			}
			wantPending(t, s, m.Handoff)
			for range 2 {
				if err := s.Outbound.StorePending(ctx, m); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(bodies(t, s, second)) - before; n != 1 {
				t.Fatalf("stored %d times", n)
			}
			if err := errors.Join(s.Conversations.DeleteMessage(ctx, second, m.ID), s.Outbound.StorePending(ctx, m)); err != nil {
				t.Fatal(err)
			}
			if n := len(bodies(t, s, second)) - before; n != 0 {
				t.Errorf("a deleted message came back")
			}
			if err := s.Outbound.ClearPending(ctx, m); err != nil {
				t.Fatal(err)
			}
			wantPending(t, s)
			if due, err := s.Handoffs.Due(ctx, 10); len(due) != 0 || err != nil {
				t.Errorf("hand-offs %v, %v", due, err)
			}
		}
	})
}

// A postponed hand-off does not hold up others.
func TestHandoffIsPostponed(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		later := time.Now().Add(2 * handoffDelay)
		s := newStore(t, rdb, func(o *Options) { o.Now = func() time.Time { return later } })
		ctx := context.Background()
		first(t, s, outbound(user, partner, "halo"))
		due, err := s.Handoffs.Due(ctx, 1)
		if err != nil || len(due) != 1 {
			t.Fatal(due, err)
		}
		if err := s.Handoffs.Postpone(ctx, due[0], time.Minute); err != nil {
			t.Fatal(err)
		}
		if due, err := s.Handoffs.Due(ctx, 1); err != nil || len(due) != 0 {
			t.Errorf("still due: %v, %v", due, err)
		}
		later = later.Add(time.Minute)
		if due, err := s.Handoffs.Due(ctx, 1); err != nil || len(due) != 1 {
			t.Errorf("due again: %v, %v", due, err)
		}
	})
}

// A hand-off is due after its delay even when Redis' clock steps back in between.
func TestHandoffIsDueWhenRedisClockStepsBack(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		start := time.Now().Add(time.Hour)
		now := start
		s, ctx := newStore(t, rdb, func(o *Options) { o.Now = func() time.Time { return now } }), t.Context()
		m := outbound(user, partner, "halo")
		first(t, s, m)
		h := Handoff{s.parts.OfUser(m.First()), m.Pointer}
		if err := s.Handoffs.Postpone(ctx, h, time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, at := range []struct {
			clock time.Duration
			due   int
		}{{0, 0}, {30 * time.Second, 0}, {-10 * time.Minute, 0}, {-10*time.Minute + 29*time.Second, 0}, {-10*time.Minute + 30*time.Second, 1}} {
			now = start.Add(at.clock)
			if due, err := s.Handoffs.Due(ctx, 10); len(due) != at.due || err != nil {
				t.Errorf("at %v: %v, %v; want %d", at.clock, due, err, at.due)
			}
		}
		if err := s.Outbound.ClearPending(ctx, m); err != nil {
			t.Fatal(err)
		}
	})
}
