package inbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Walkers come and go, at any moment, several at once, with connections that are cut
// and scripts that are forgotten: every user of the audience is told exactly once,
// and the counts say so.
func TestWalkersCrash(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { crashWalkers(t, rdb, seed) })
		}
	})
}

func crashWalkers(t *testing.T, rdb redis.UniversalClient, seed uint64) {
	const users = 120
	fit := func(user int64) bool { return user%3 != 0 }
	s, rnd := newStore(t, rdb), rand.New(rand.NewPCG(seed, 1))
	create(t, s, newCast("c"), users)
	b := cutBatcher(t, rdb, seed)

	var walks []*Walk // all but the last one have been overtaken
	for made, done := 0, 0; done < s.parts.Len(); {
		if len(walks) == 0 || rnd.IntN(6) == 0 {
			made++
			walks = append(walks[max(0, len(walks)-2):], hold(t, s, b, "c", fmt.Sprint("walker", made), time.Millisecond))
		}
		if rnd.IntN(10) == 0 {
			if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		i := rnd.IntN(len(walks))
		w, p := walks[i], rnd.IntN(s.parts.Len())
		next, err := w.Next(t.Context(), p, false, 1+rnd.IntN(8))
		if err != nil {
			t.Fatal(err)
		}
		var shares []Share
		for _, user := range next {
			share := Share{User: user}
			if fit(user) {
				share.Put = told(s, "c", user)
			}
			shares = append(shares, share)
		}
		err = w.Step(t.Context(), p, shares)
		if i < len(walks)-1 && err == nil && len(next) > 0 {
			t.Fatalf("walker %d of %d went on after it had been overtaken", i+1, len(walks))
		}
		if done = 0; i == len(walks)-1 {
			for p := range s.parts.Len() {
				if next, err := w.Next(t.Context(), p, false, 1); err != nil {
					t.Fatal(err)
				} else if len(next) == 0 {
					done++
				}
			}
		}
	}
	entries := 0
	for p := range s.parts.Len() {
		entries += int(rdb.XLen(t.Context(), s.parts.Key(p, "out")).Val())
	}
	if want := users - users/3; entries != want {
		t.Errorf("%d entries in the outbox, want %d", entries, want)
	}
	for user := range int64(users) {
		notes, err := s.Notifications.List(t.Context(), user+1, []string{"campaign"}, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 1}[fit(user+1)]; len(notes) != want {
			t.Errorf("user %d was told %d times, want %d", user+1, len(notes), want)
		}
	}
	got, err := s.Broadcasts.Broadcast(t.Context(), "c")
	if err != nil || got.Sent != users-users/3 || got.Skipped != users/3 {
		t.Errorf("sent %d, skipped %d, %v", got.Sent, got.Skipped, err)
	}
}

// When Redis has forgotten one of a step's scripts and not the other, the Batcher
// sends the former once more, after the latter: the walk must not pass whom it has
// not told.
func TestStepOutOfOrder(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, s := t.Context(), newStore(t, rdb)
		create(t, s, newCast("c"), 40)
		w := hold(t, s, s.batcher, "c", "w", time.Hour)
		users, err := w.Next(ctx, 0, false, 4)
		if err != nil || len(users) != 4 {
			t.Fatal(users, err)
		}
		if err := rdb.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if err := w.Step(ctx, 0, []Share{{User: users[0]}}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time everything is known
			var shares []Share
			next, err := w.Next(ctx, 0, false, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range next {
				share := Share{User: user}
				if user != users[3] {
					share.Put = told(s, "c", user)
				}
				shares = append(shares, share)
			}
			if err = w.Step(ctx, 0, shares); err == nil {
				break
			}
		}
		for _, user := range users[1:3] {
			if notes, err := s.Notifications.List(ctx, user, []string{"campaign"}, 0, 10); err != nil || len(notes) != 1 {
				t.Errorf("user %d has %d notifications, %v", user, len(notes), err)
			}
		}
	})
}

// Nobody tells anyone once pausing has returned; after that it goes on where it was.
func TestPausedWalk(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, s := t.Context(), newStore(t, rdb)
		create(t, s, newCast("c"), 8)
		w := hold(t, s, s.batcher, "c", "one", time.Hour)
		p := s.parts.OfUser(1)
		if err := w.Step(ctx, p, []Share{{User: 1, Put: told(s, "c", 1)}}); err != nil {
			t.Fatal(err)
		}
		if other, err := s.Broadcasts.HoldBroadcast(ctx, s.batcher, "c", "two", time.Hour); err != nil || other != nil {
			t.Errorf("two hold it: %v %v", other, err)
		}
		if err := s.Broadcasts.SetBroadcast(ctx, "c", BroadcastPaused, BroadcastActive); err != nil {
			t.Fatal(err)
		}
		for p := range s.parts.Len() {
			next, err := w.Next(ctx, p, false, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range next {
				if err := w.Step(ctx, p, []Share{{User: user, Put: told(s, "c", user)}}); !errors.Is(err, ErrFenced) {
					t.Errorf("user %d is told of a paused broadcast: %v", user, err)
				}
			}
		}
		if err := w.Renew(ctx, 1); !errors.Is(err, ErrFenced) {
			t.Errorf("renewed: %v", err)
		}
		if err := w.Finish(ctx, BroadcastDone, 8); !errors.Is(err, ErrBroadcastState) {
			t.Errorf("finished: %v", err)
		}
		if err := s.Broadcasts.SetBroadcast(ctx, "c", BroadcastActive, BroadcastPaused); err != nil {
			t.Fatal(err)
		}
		w = hold(t, s, s.batcher, "c", "two", time.Hour)
		if next, err := w.Next(ctx, p, false, 8); err != nil || slices.Contains(next, 1) {
			t.Errorf("user 1 comes again: %v %v", next, err)
		}
		if err := w.Release(ctx); err != nil {
			t.Fatal(err)
		}
		hold(t, s, s.batcher, "c", "three", time.Hour)
	})
}
