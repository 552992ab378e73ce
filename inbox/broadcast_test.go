package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const castBody = `{"type":"campaign","title":null,"message":"Diskon","details":{}}`

// newCast is a broadcast of a test.
func newCast(key string, users ...int64) NewBroadcast {
	return NewBroadcast{
		Key: key, Content: "content", Definition: []byte("{}"), Body: []byte(castBody), Audience: []byte("{}"), Users: users,
		Created: time.Now(), Expires: time.Now().Add(time.Hour),
	}
}

// told is what a user is told of a broadcast.
func told(s *Store, key string, user int64) *NewNotification {
	return &NewNotification{
		Receiver: user, Event: key, Content: "content", Type: "campaign", Listed: true, Body: []byte(Reference(key)),
		Entry: &OutboxEntry{Stream: s.parts.Key(s.parts.OfUser(user), "out"), Header: fmt.Sprintf(`{"u":%d,"n":"`, user)},
	}
}

// create keeps a broadcast and the users 1 to n, who have a device each.
func create(t *testing.T, s *Store, b NewBroadcast, n int) {
	t.Helper()
	for user := range int64(n) {
		if err := errors.Join(
			s.Profiles.Set(t.Context(), user+1, Profile{}),
			s.redis.HSet(t.Context(), s.options.Devices(user+1), "id", "device").Err(),
		); err != nil {
			t.Fatal(err)
		}
	}
	if duplicate, err := s.Broadcasts.CreateBroadcast(t.Context(), b); err != nil || duplicate {
		t.Fatal(duplicate, err)
	}
}

// hold takes the lease on a broadcast as soon as it is free.
func hold(t *testing.T, s *Store, b *rdb.Batcher, key, holder string, lease time.Duration) *Walk {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		w, err := s.Broadcasts.HoldBroadcast(t.Context(), b, key, holder, lease)
		if err != nil && !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		if w != nil {
			return w
		}
	}
	t.Fatalf("%s cannot hold %s", holder, key)
	return nil
}

// errCut is what the client of a cut connection sees.
var errCut = errors.New("connection cut")

// A cutter cuts pipelines short at random: the commands after some point are not
// carried out, or all of them are and the answers are lost.
type cutter struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (*cutter) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*cutter) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (c *cutter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.mu.Lock()
		cut, n := c.rnd.IntN(3) == 0, c.rnd.IntN(len(cmds)+1)
		c.mu.Unlock()
		if !cut {
			return next(ctx, cmds)
		}
		if n > 0 {
			_ = next(ctx, cmds[:n]) // each command holds its own error
		}
		for _, cmd := range cmds[n/2:] {
			cmd.SetErr(errCut)
		}
		return errCut
	}
}

// cutBatcher returns a batcher whose connections are cut.
func cutBatcher(t *testing.T, redisClient redis.UniversalClient, seed uint64) *rdb.Batcher {
	flaky := redis.NewClient(&redis.Options{Addr: redisClient.(*redis.Client).Options().Addr})
	flaky.AddHook(&cutter{rnd: rand.New(rand.NewPCG(seed, 2))})
	b := rdb.NewBatcher(flaky, 0)
	t.Cleanup(func() { b.Close(); flaky.Close() })
	return b
}

// The first content wins, a repeat changes nothing, and what is over stays so.
func TestCreateBroadcast(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, redisClient redis.UniversalClient) {
		ctx, s := t.Context(), newStore(t, redisClient)
		create(t, s, newCast("c", 7, 8), 0)
		if duplicate, err := s.Broadcasts.CreateBroadcast(ctx, newCast("c", 7, 8)); err != nil || !duplicate {
			t.Errorf("a repeat: %t %v", duplicate, err)
		}
		other := newCast("c")
		other.Content = "other"
		if _, err := s.Broadcasts.CreateBroadcast(ctx, other); !errors.Is(err, ErrConflict) {
			t.Errorf("other content: %v", err)
		}
		open, err := s.Broadcasts.OpenBroadcasts(ctx)
		if err != nil || len(open) != 1 || open[0].State != BroadcastActive {
			t.Fatalf("open: %+v %v", open, err)
		}
		if err := s.Broadcasts.EndBroadcast(ctx, "c", BroadcastCancelled, 2, BroadcastActive); err != nil {
			t.Fatal(err)
		}
		if err := s.Broadcasts.SetBroadcast(ctx, "c", BroadcastActive, BroadcastPaused); !errors.Is(err, ErrBroadcastState) {
			t.Errorf("resumed: %v", err)
		}
		if err := s.Broadcasts.SetBroadcast(ctx, "unknown", BroadcastPaused, BroadcastActive); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		if open, err := s.Broadcasts.OpenBroadcasts(ctx); err != nil || len(open) != 1 || !open[0].State.Over() {
			t.Errorf("to be put away: %+v %v", open, err)
		}
		if err := s.Broadcasts.CloseBroadcast(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		if open, err := s.Broadcasts.OpenBroadcasts(ctx); err != nil || len(open) != 0 {
			t.Errorf("open: %+v %v", open, err)
		}
		got, err := s.Broadcasts.Broadcast(ctx, "c")
		if err != nil || got.State != BroadcastCancelled || got.Total != 2 || got.Finished.IsZero() {
			t.Errorf("%+v %v", got, err)
		}
		for _, key := range []string{s.broadcast("c"), s.text(0, "c"), s.walk(0, "c")} {
			if life := redisClient.PTTL(ctx, key).Val(); life < s.options.Keep || life > s.options.Keep+40*24*time.Hour {
				t.Errorf("%s lives for %s", key, life)
			}
		}
		if n := redisClient.Exists(ctx, s.named(s.parts.OfUser(7), "c")).Val(); n != 0 {
			t.Error("the list of users is kept")
		}
	})
}

// What a request that died has left is nobody's broadcast, until it is repeated; the
// repeat's times count.
func TestPreparedBroadcast(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, redisClient redis.UniversalClient) {
		ctx, s := t.Context(), newStore(t, redisClient)
		left := createScript.Command(ctx, []string{s.broadcast("c")}, "content", "{}", s.broadcastLife(time.Now()).UnixMilli())
		if err := s.batcher.Do(ctx, left); err != nil {
			t.Fatal(err)
		}
		if w, err := s.Broadcasts.HoldBroadcast(ctx, s.batcher, "c", "w", time.Hour); err != nil || w != nil {
			t.Errorf("it is walked: %v", err)
		}
		if err := s.Broadcasts.SetBroadcast(ctx, "c", BroadcastPaused, BroadcastActive); !errors.Is(err, ErrNotFound) {
			t.Errorf("it is paused: %v", err)
		}
		again := newCast("c")
		again.Definition = []byte(`{"later":1}`)
		if duplicate, err := s.Broadcasts.CreateBroadcast(ctx, again); err != nil || duplicate {
			t.Errorf("repeated: %t %v", duplicate, err)
		}
		if b, err := s.Broadcasts.Broadcast(ctx, "c"); err != nil || string(b.Definition) != string(again.Definition) {
			t.Errorf("definition %s, %v", b.Definition, err)
		}
	})
}

// A broadcast that was not kept entirely is not walked, and repeating mends it.
func TestCreatingIsCut(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, redisClient redis.UniversalClient) {
		s := newStore(t, redisClient, func(o *Options) { o.Batcher = cutBatcher(t, redisClient, 1) })
		for i := range 20 {
			c := newCast(fmt.Sprint("c", i), 1, 2, 3, 4, 5, 6, 7, 8)
			for {
				_, err := s.Broadcasts.CreateBroadcast(t.Context(), c)
				if err == nil {
					break
				}
				if w, err := s.Broadcasts.HoldBroadcast(t.Context(), s.batcher, c.Key, "w", time.Hour); w != nil && err == nil {
					// The answer to the last script was lost: it is kept.
					break
				}
			}
			named := 0
			for p := range s.parts.Len() {
				named += int(redisClient.ZCard(t.Context(), s.named(p, c.Key)).Val())
				if body := redisClient.HGet(t.Context(), s.text(p, c.Key), "body").Val(); body != castBody {
					t.Errorf("partition %d has the body %q", p, body)
				}
			}
			if named != len(c.Users) {
				t.Errorf("%d users are named, want %d", named, len(c.Users))
			}
		}
	})
}
