package devices

import (
	"errors"
	"testing"
)

func TestRemove(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		d := register(t, r, ani, phone("A"))
		if err := r.Remove(t.Context(), budi, Android, "A"); !errors.Is(err, ErrNotOwner) {
			t.Errorf("another user's: %v", err)
		}
		wantList(t, r, ani, d)
		check(t, r.Remove(t.Context(), ani, Android, "A"))
		wantList(t, r, ani)
		if o := owner(t, r, d); o != (Owner{}) {
			t.Errorf("owner is %+v", o)
		}
		if err := r.Remove(t.Context(), ani, Android, "A"); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("a second time: %v", err)
		}
		if again := register(t, r, ani, phone("A")); again.ID == d.ID || again.Generation <= d.Generation {
			t.Errorf("registered %+v after %+v was removed", again, d)
		}
	})
}

func TestForgetActsOnItsGenerationOnly(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		forget := func(user int64, d Device, want bool) {
			t.Helper()
			if got, err := r.Forget(t.Context(), user, d); err != nil || got != want {
				t.Errorf("forgot %v, %v, want %v", got, err, want)
			}
		}
		old := register(t, r, ani, phone("A"))
		d := register(t, r, ani, phone("A"))
		forget(ani, old, false)
		wantList(t, r, ani, d)
		if !owner(t, r, d).Owns(ani, d) {
			t.Error("an old answer took the device away")
		}
		forget(budi, d, false)
		if !owner(t, r, d).Owns(ani, d) {
			t.Error("an answer about another user's device took it away")
		}
		forget(ani, d, true)
		wantList(t, r, ani)
		if o := owner(t, r, d); o != (Owner{}) {
			t.Errorf("owner is %+v", o)
		}
		forget(ani, d, false)

		// A removal that stopped between its two steps can be repeated.
		d = register(t, r, ani, phone("A"))
		_, err := r.release(t.Context(), ani, d)
		check(t, err)
		forget(ani, d, true)
		wantList(t, r, ani)
	})
}

func TestUnlist(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		old := register(t, r, ani, phone("A"))
		d := register(t, r, ani, phone("A"))
		check(t, r.Unlist(t.Context(), ani, old))
		wantList(t, r, ani, d)
		check(t, r.Unlist(t.Context(), ani, d))
		wantList(t, r, ani)
		if o := owner(t, r, d); !o.Owns(ani, d) {
			t.Errorf("owner is %+v", o)
		}

		// The id may have passed to another token, whose generations are lower.
		d = register(t, r, ani, phone("A"))
		other, err := r.Replace(t.Context(), ani, "A", Device{Platform: Android, Token: "B"})
		check(t, err)
		d.Generation = other.Generation + 1
		check(t, r.Unlist(t.Context(), ani, d))
		wantList(t, r, ani, other)
	})
}
