package broadcast

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// notification returns the notification that a user gets from a test's broadcast.
func (g *gateway) notification(key string, user int64) *inbox.NewNotification {
	c := broadcaster{b: g.Broadcasts, key: key, def: definition{Type: "campaign", Digest: "content"}}
	return c.notification(g.partitions.OfUser(user), user, time.Now())
}

// hold takes the lease on the broadcast "c" as soon as it is free.
func (g *gateway) hold(b *rdb.Batcher, holder string, lease time.Duration) *walk {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		w, err := g.store.startWalk(g.t.Context(), b, "c", holder, lease)
		if err != nil && !errors.Is(err, errCut) {
			g.t.Fatal(err)
		}
		if w != nil {
			return w
		}
	}
	g.t.Fatalf("%s cannot take the lease", holder)
	return nil
}

// Several broadcasters start and crash at any moment, connections are cut, and Redis loses
// scripts. Even so, every user in the audience is notified exactly once, and the counts are
// right.
func TestBroadcastersCrash(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { crashBroadcasters(t, client, seed) })
		}
	})
}

func crashBroadcasters(t *testing.T, client redis.UniversalClient, seed uint64) {
	const users = 120
	fit := func(user int64) bool { return user%3 != 0 }
	g, rnd := newGateway(t, client), rand.New(rand.NewPCG(seed, 1))
	g.know(users)
	g.create(newTestRecord("c"))
	b := cutBatcher(t, client, seed)

	var walks []*walk // only the last one still has the lease
	for made, done := 0, 0; done < g.partitions.Len(); {
		if len(walks) == 0 || rnd.IntN(6) == 0 {
			made++
			walks = append(walks[max(0, len(walks)-2):], g.hold(b, fmt.Sprint("process", made), time.Millisecond))
		}
		if rnd.IntN(10) == 0 {
			if err := client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		i := rnd.IntN(len(walks))
		w, p := walks[i], rnd.IntN(g.partitions.Len())
		next, err := w.next(t.Context(), p, false, 1+rnd.IntN(8))
		if err != nil {
			t.Fatal(err)
		}
		var candidates []candidate
		for _, user := range next {
			c := candidate{user: user}
			if fit(user) {
				c.notification = g.notification("c", user)
			}
			candidates = append(candidates, c)
		}
		err = w.step(t.Context(), p, candidates)
		if i < len(walks)-1 && err == nil && len(next) > 0 {
			t.Fatalf("walk %d of %d went on after it had lost the lease", i+1, len(walks))
		}
		if done = 0; i == len(walks)-1 {
			for p := range g.partitions.Len() {
				if next, err := w.next(t.Context(), p, false, 1); err != nil {
					t.Fatal(err)
				} else if len(next) == 0 {
					done++
				}
			}
		}
	}
	entries := 0
	for p := range g.partitions.Len() {
		entries += int(client.XLen(t.Context(), g.options.Outbox.StreamKey(p, push.Bulk)).Val())
	}
	if want := users - users/3; entries != want {
		t.Errorf("%d entries in the outbox, want %d", entries, want)
	}
	for user := range int64(users) {
		want := 0
		if fit(user + 1) {
			want = 1
		}
		if got := g.notes(user + 1); got != want {
			t.Errorf("user %d was notified %d times, want %d", user+1, got, want)
		}
	}
	got, err := g.store.read(t.Context(), "c")
	if err != nil || got.sent != users-users/3 || got.skipped != users/3 {
		t.Errorf("sent %d, skipped %d, %v", got.sent, got.skipped, err)
	}
}

// When Redis has lost only one of a step's two scripts, the Batcher sends that script again
// after the other one. The cursor must not pass users who were not notified. The test is
// not parallel, because other tests would load the scripts.
func TestStepOutOfOrder(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, g := t.Context(), newGateway(t, client)
		g.know(40)
		g.create(newTestRecord("c"))
		w := g.hold(g.store.batcher, "w", time.Hour)
		users, err := w.next(ctx, 0, false, 4)
		if err != nil || len(users) != 4 {
			t.Fatal(users, err)
		}
		if err := client.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if err := w.step(ctx, 0, []candidate{{user: users[0]}}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // Redis has both scripts the second time
			var candidates []candidate
			next, err := w.next(ctx, 0, false, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range next {
				c := candidate{user: user}
				if user != users[3] {
					c.notification = g.notification("c", user)
				}
				candidates = append(candidates, c)
			}
			if err = w.step(ctx, 0, candidates); err == nil {
				break
			}
		}
		for _, user := range users[1:3] {
			if n := g.notes(user); n != 1 {
				t.Errorf("user %d has %d notifications, want 1", user, n)
			}
		}
	})
}

// No user is notified after pausing has returned. A later walk continues at the cursor.
func TestPausedWalk(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, g := t.Context(), newGateway(t, client)
		g.know(8)
		g.create(newTestRecord("c"))
		w := g.hold(g.store.batcher, "one", time.Hour)
		p := g.partitions.OfUser(1)
		if err := w.step(ctx, p, []candidate{{user: 1, notification: g.notification("c", 1)}}); err != nil {
			t.Fatal(err)
		}
		if other, err := g.store.startWalk(ctx, g.store.batcher, "c", "two", time.Hour); err != nil || other != nil {
			t.Errorf("two hold it: %v %v", other, err)
		}
		if err := g.store.setState(ctx, "c", Paused, active); err != nil {
			t.Fatal(err)
		}
		for p := range g.partitions.Len() {
			next, err := w.next(ctx, p, false, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range next {
				if err := w.step(ctx, p, []candidate{{user: user, notification: g.notification("c", user)}}); !errors.Is(err, errFenced) {
					t.Errorf("user %d is notified of a paused broadcast: %v", user, err)
				}
			}
		}
		if err := w.renew(ctx, 1); !errors.Is(err, errFenced) {
			t.Errorf("renewed: %v", err)
		}
		if err := w.finish(ctx, Done, 8); !errors.Is(err, ErrState) {
			t.Errorf("finished: %v", err)
		}
		if err := g.store.setState(ctx, "c", active, Paused); err != nil {
			t.Fatal(err)
		}
		w = g.hold(g.store.batcher, "two", time.Hour)
		if next, err := w.next(ctx, p, false, 8); err != nil || slices.Contains(next, 1) {
			t.Errorf("user 1 comes again: %v %v", next, err)
		}
		if err := w.release(ctx); err != nil {
			t.Fatal(err)
		}
		g.hold(g.store.batcher, "three", time.Hour)
	})
}
