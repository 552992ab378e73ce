package devices

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Erasing leaves neither tokens nor credential, and takes from nobody else.
func TestErase(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		ctx := context.Background()
		r := s.registry(Options{})
		for user, token := range map[int64]string{660066: "A", 660067: "B"} {
			if _, err := r.Register(ctx, user, Device{Platform: Android, Token: token}, nil); err != nil {
				t.Fatal(err)
			}
			if err := r.SetToken(ctx, user, "t"); err != nil {
				t.Fatal(err)
			}
		}
		ticket, err := r.Issue(ctx, 660066, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		s.client.HSet(ctx, tombstone(660066), "erased", "first")
		for range 2 {
			if err := r.Erase(ctx, 660066); err != nil {
				t.Fatal(err)
			}
		}
		left := s.client.Exists(ctx, r.keys.devices(660066)).Val() + s.client.Exists(ctx, r.keys.credential(660066)).Val() +
			s.client.Exists(ctx, r.keys.owner(Android, "A")).Val()
		if left != 0 {
			t.Errorf("%d keys are left", left)
		}
		if _, _, err := r.Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("a ticket from before: %v", err)
		}
		// A registration that was let in before has nothing to show for it either.
		if _, err := r.Register(ctx, 660066, Device{Platform: Android, Token: "C"}, nil); !errors.Is(err, ErrErased) {
			t.Errorf("registered: %v", err)
		}
		if n := s.client.Exists(ctx, r.keys.owner(Android, "C")).Val(); n != 0 {
			t.Error("its token has an owner")
		}
		if err := r.SetToken(ctx, 660066, "t"); !errors.Is(err, ErrErased) {
			t.Errorf("credential: %v", err)
		}
		list, err := r.List(ctx, 660067)
		if err != nil || len(list) != 1 {
			t.Errorf("another user has %v, %v", list, err)
		}
		if err := r.Authenticate(ctx, 660067, "t", "address"); err != nil {
			t.Errorf("another user: %v", err)
		}
		s.client.Del(ctx, tombstone(660066))
		if _, err := r.Register(ctx, 660066, Device{Platform: Android, Token: "A"}, nil); err != nil {
			t.Error(err)
		}
	})
}
