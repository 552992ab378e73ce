package credentials

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func wantCounted(t *testing.T, s *Store, user int64, address string, want bool) {
	t.Helper()
	err := s.CountFailure(t.Context(), user, address)
	var locked *LockedOutError
	if want && err != nil || !want && (!errors.As(err, &locked) || locked.RetryAfter <= 0 || locked.RetryAfter > s.lockout.Window) {
		t.Errorf("counting: %v, want it counted: %v", err, want)
	}
}

// CountFailure and Authenticate share one limit.
func TestFailuresAreCountedByAddressAndUser(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{Lockout: Lockout{Failures: 3, Window: time.Minute}})
		for range 3 {
			wantCounted(t, s, ani, home, true)
		}
		wantCounted(t, r.store(Options{Lockout: Lockout{Failures: 3, Window: time.Minute}}), ani, home, false)
		wantSignIn(t, s, ani, "any", home, errLocked)
		wantCounted(t, s, ani, cafe, true)
		wantCounted(t, s, budi, home, true)

		check(t, s.Forgive(t.Context(), ani, home))
		wantCounted(t, s, ani, home, true)
		wantCounted(t, s, ani, home, false)
		if r.Mini != nil {
			r.Mini.FastForward(time.Minute)
			wantCounted(t, s, ani, home, true)
		}
	})
}

func TestForgivingLeavesNothing(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		wantCounted(t, s, ani, home, true)
		for range 2 { // once more than there were failures
			check(t, s.Forgive(t.Context(), ani, home))
		}
		if keys := r.Client.Keys(t.Context(), r.Prefix+":*:failures:*").Val(); len(keys) != 0 {
			t.Errorf("left %q", keys)
		}
	})
}

func TestFailuresAtOnceDoNotSlipPast(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{Lockout: Lockout{Failures: 3}})
		var counted atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if s.CountFailure(t.Context(), ani, home) == nil {
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
