package credentials

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func wantCounted(t *testing.T, s *Store, user int64, address string, want bool) {
	t.Helper()
	err := s.CountFailure(t.Context(), user, address)
	if want {
		check(t, err)
		return
	}
	wantLocked(t, s, err, LimitFailures)
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

// The budget of upstream calls is that of an address, whoever its users are, and is shared by
// all processes. Failures that are only counted do not use it.
func TestCallsHaveABudget(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		o := Options{Lockout: Lockout{Calls: 6, Users: 100}}
		s, other := r.store(o), r.store(o)
		for i := range int64(3) { // half of them at once
			check(t, s.CountCall(t.Context(), 1000+i, home))
			check(t, s.Forgive(t.Context(), 1000+i, home)) // gives back nothing of the budget
		}
		for i := range int64(3) {
			wantLocked(t, s, other.CountCall(t.Context(), 2000+i, home), LimitCalls)
		}
		if n := r.Client.HLen(t.Context(), s.keys.failures(newCredential(0, "", home).address)).Val(); n != 0 {
			t.Errorf("%d users were counted", n)
		}
		check(t, other.CountCall(t.Context(), ani, cafe))
		wantCounted(t, other, ani, home, true)
		if left := r.Client.PTTL(t.Context(), s.keys.calls(newCredential(0, "", home).address)).Val(); left <= 0 || left > time.Minute {
			t.Errorf("the whole budget is back in %v", left)
		}
		if r.Mini != nil {
			r.Mini.FastForward(20 * time.Second)
			check(t, s.CountCall(t.Context(), 3000, home))
			wantLocked(t, s, s.CountCall(t.Context(), 3001, home), LimitCalls)
		}

		unlimited := r.store(Options{Lockout: Lockout{Users: 100}})
		for i := range int64(50) {
			check(t, unlimited.CountCall(t.Context(), 4000+i, "elsewhere"))
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
