package devices

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func wantCounted(t *testing.T, r *Registry, user int64, address string, want bool) {
	t.Helper()
	err := r.CountFailure(t.Context(), user, address)
	var locked *LockedOutError
	if want && err != nil || !want && (!errors.As(err, &locked) || locked.RetryAfter <= 0 || locked.RetryAfter > r.lockout.Window) {
		t.Errorf("counting: %v, want it counted: %v", err, want)
	}
}

// Whoever verifies credentials, the limit is one and the same.
func TestFailuresAreCountedByAddressAndUser(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{Lockout: Lockout{Failures: 3, Window: time.Minute}})
		for range 3 {
			wantCounted(t, r, ani, home, true)
		}
		wantCounted(t, s.registry(Options{Lockout: Lockout{Failures: 3, Window: time.Minute}}), ani, home, false)
		wantSignIn(t, r, ani, "any", home, errLocked)
		wantCounted(t, r, ani, cafe, true)
		wantCounted(t, r, budi, home, true)

		check(t, r.Forgive(t.Context(), ani, home))
		wantCounted(t, r, ani, home, true)
		wantCounted(t, r, ani, home, false)
		if s.mini != nil {
			s.mini.FastForward(time.Minute)
			wantCounted(t, r, ani, home, true)
		}
	})
}

func TestForgivingLeavesNothing(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		wantCounted(t, r, ani, home, true)
		for range 2 { // once more than was counted
			check(t, r.Forgive(t.Context(), ani, home))
		}
		if keys := s.client.Keys(t.Context(), s.prefix+":*:failures:*").Val(); len(keys) != 0 {
			t.Errorf("left %q", keys)
		}
	})
}

func TestFailuresAtOnceDoNotSlipPast(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{Lockout: Lockout{Failures: 3}})
		var counted atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if r.CountFailure(t.Context(), ani, home) == nil {
					counted.Add(1)
				}
			})
		}
		wg.Wait()
		if n := counted.Load(); n != 3 {
			t.Errorf("%d attempts were let through", n)
		}
	})
}
