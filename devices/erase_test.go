package devices

import (
	"errors"
	"testing"

	"github.com/kabar-gateway/kabar/devices/account"
)

// Erase leaves none of the user's tokens and does not affect other users.
func TestErase(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		ctx := t.Context()
		r := s.registry(Options{})
		anis := register(t, r, ani, phone("A"))
		budis := register(t, r, budi, phone("B"))
		s.Tombstone(t, ani, true)
		for range 2 {
			check(t, r.Erase(ctx, ani))
		}
		for _, key := range []string{r.keys.devices(ani), r.keys.owner(Android, anis.Token)} {
			if s.Client.Exists(ctx, key).Val() != 0 {
				t.Errorf("%s is left", key)
			}
		}
		// A registration that began before the erasure does not leave anything behind,
		// either.
		if _, err := r.Register(ctx, ani, phone("C"), nil); !errors.Is(err, account.ErrErased) {
			t.Errorf("registered: %v", err)
		}
		if n := s.Client.Exists(ctx, r.keys.owner(Android, "C")).Val(); n != 0 {
			t.Error("its token has an owner")
		}
		wantList(t, r, budi, budis)
		if !owner(t, r, budis).Owns(budi, budis) {
			t.Error("another user's device has lost its owner")
		}
		s.Tombstone(t, ani, false)
		register(t, r, ani, phone("A"))
	})
}
