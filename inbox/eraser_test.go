package inbox

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// When a request hands over a message after its sender was erased, the message is dropped,
// and so is a message to an erased user. Once the user is known again, the next message is
// stored.
func TestErasedUsersMessagesAreDropped(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newStore(t, rdb)
		late := outbound(partner, user, "terlambat")
		to := outbound(user, partner, "untuk dia")
		if _, _, err := s.Outbound.Prepare(ctx, &late.Message); err != nil {
			t.Fatal(err)
		}
		first(t, s, late)
		erase := func() {
			partners, err := s.Eraser.Partners(ctx, partner)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range partners {
				err = errors.Join(err, s.Eraser.EraseAtPartner(ctx, p, partner))
			}
			if err := errors.Join(err, s.Eraser.EraseUser(ctx, partner, partners), s.Eraser.Finish(ctx, partner, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Eraser.Begin(ctx, partner, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := s.Profiles.Set(ctx, partner, Profile{}); !errors.Is(err, ErrErasing) {
			t.Errorf("made known while being erased: %v", err)
		}
		erase()
		if err := s.Outbound.StorePending(ctx, late); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Outbound.Prepare(ctx, &late.Message); !errors.Is(err, ErrErased) {
			t.Errorf("sent by an erased user: %v", err)
		}
		if _, _, err := s.Outbound.StoreFirst(ctx, to); !errors.Is(err, ErrErased) {
			t.Errorf("sent to an erased user: %v", err)
		}
		for _, who := range []int64{user, partner} {
			if got := bodies(t, s, who); len(got) != 0 {
				t.Errorf("user %d has %v", who, got)
			}
		}
		p := note("e", "discount")
		p.Receiver = partner
		if stored := store(t, s, p); !stored.Erased {
			t.Errorf("stored for an erased user: %+v", stored)
		}

		// The erasure is due once more, after the requests in progress have ended, and then
		// no more.
		later := aged(s, time.Second)
		for round, want := range []int{1, 0} {
			due, err := later.Eraser.Due(ctx, 10)
			if err != nil || len(due) != want {
				t.Fatalf("round %d: %v, %v", round, due, err)
			}
			for range due {
				if goOn, err := s.Eraser.Resume(ctx, partner, time.Minute); !goOn || err != nil {
					t.Fatal(goOn, err)
				}
				erase()
			}
		}
		if err := s.Profiles.MarkKnown(ctx, partner); !errors.Is(err, ErrErased) {
			t.Errorf("signing in lifted the tombstone: %v", err)
		}
		if err := s.Profiles.Set(ctx, partner, Profile{}); err != nil {
			t.Fatal(err)
		}
		carry(t, s, outbound(partner, user, "halo lagi"))
		if got := bodies(t, s, user); strings.Join(got, ",") != "halo lagi" {
			t.Errorf("user has %v", got)
		}
	})
}

// Both copies drop a message that was accepted before its sender was erased, even if the
// clock of the sender's gateway is ahead and the sender is a known user again.
func TestMessagesOfEarlierGenerationsAreDropped(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, c := range map[string]struct{ sender, receiver int64 }{
			"the sender has the first copy":   {partner, user},
			"the receiver has the first copy": {user, partner},
		} {
			t.Run(name, func(t *testing.T) {
				ctx := context.Background()
				s := newStore(t, rdb)
				late := outbound(c.sender, c.receiver, "terlambat")
				late.ID = model.NewID(time.Now().Add(5 * time.Minute))
				if _, _, err := s.Outbound.Prepare(ctx, &late.Message); err != nil {
					t.Fatal(err)
				}
				err := errors.Join(
					s.Eraser.Begin(ctx, c.sender, time.Minute),
					s.Eraser.EraseAtPartner(ctx, c.receiver, c.sender),
					s.Eraser.EraseUser(ctx, c.sender, []int64{c.receiver}),
					s.Eraser.Finish(ctx, c.sender, 0),
					s.Profiles.Set(ctx, c.sender, Profile{}),
				)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := s.Outbound.StoreFirst(ctx, late); !errors.Is(err, ErrErased) {
					t.Errorf("the first copy: %v", err)
				}
				if err := s.Outbound.StorePending(ctx, late); err != nil {
					t.Errorf("the second copy: %v", err)
				}
				for _, who := range []int64{user, partner} {
					if got := bodies(t, s, who); len(got) != 0 {
						t.Errorf("user %d has %v", who, got)
					}
				}
				carry(t, s, outbound(c.sender, c.receiver, "halo lagi"))
				for _, who := range []int64{user, partner} {
					if got := bodies(t, s, who); strings.Join(got, ",") != "halo lagi" {
						t.Errorf("user %d has %v", who, got)
					}
				}
			})
		}
	})
}

// An erasure that was put off before Redis' clock stepped back ten minutes is due at once.
func TestErasureIsDueWhenRedisClockStepsBack(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newStore(t, rdb)
		if err := s.Eraser.Begin(ctx, user, time.Minute); err != nil {
			t.Fatal(err)
		}
		if due, err := s.Eraser.Due(ctx, 10); err != nil || len(due) != 0 {
			t.Fatalf("due at once: %v, %v", due, err)
		}
		later := redis.Z{Score: float64(time.Now().Add(11 * time.Minute).UnixMilli()), Member: user}
		if err := rdb.ZAdd(ctx, s.Eraser.erasures(s.parts.OfUser(user)), later).Err(); err != nil {
			t.Fatal(err)
		}
		if due, err := s.Eraser.Due(ctx, 10); err != nil || len(due) != 1 || due[0] != user {
			t.Errorf("due %v, %v", due, err)
		}
	})
}
