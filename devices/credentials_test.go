package devices

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	home = "203.0.113.7"
	cafe = "198.51.100.9"
)

// wantSignIn checks what an attempt is answered.
func wantSignIn(t *testing.T, r *Registry, user int64, token, address string, want error) {
	t.Helper()
	err := r.Authenticate(t.Context(), user, token, address)
	var locked *LockedOutError
	if want == errLocked {
		if !errors.As(err, &locked) || locked.RetryAfter <= 0 || locked.RetryAfter > r.lockout.Window {
			t.Errorf("signed in: %v, want to be locked out", err)
		}
		return
	}
	if !errors.Is(err, want) {
		t.Errorf("signed in: %v, want %v", err, want)
	}
}

// errLocked stands for any LockedOutError.
var errLocked = errors.New("locked out")

func TestAuthenticate(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r, other := s.registry(Options{}), s.registry(Options{})
		ctx := t.Context()
		wantSignIn(t, r, ani, "tok3ntok3n", home, ErrUnauthorized)
		is := func(token string, want bool) {
			t.Helper()
			if got, err := r.TokenIs(ctx, ani, token); got != want || err != nil {
				t.Errorf("token is %q: %v, %v", token, got, err)
			}
		}
		is("", true)
		check(t, r.SetToken(ctx, ani, "tok3ntok3n"))
		is("tok3ntok3n", true)
		is("another", false)
		is("", false)
		for range 2 { // verified, then known
			wantSignIn(t, other, ani, "tok3ntok3n", home, nil)
		}
		wantSignIn(t, r, ani, "tok3ntok3N", home, ErrUnauthorized)
		wantSignIn(t, r, ani, "", home, ErrUnauthorized)
		wantSignIn(t, r, budi, "tok3ntok3n", home, ErrUnauthorized)

		check(t, r.SetToken(ctx, ani, "another"))
		wantSignIn(t, other, ani, "tok3ntok3n", home, ErrUnauthorized)
		wantSignIn(t, other, ani, "another", home, nil)

		check(t, r.SetToken(ctx, ani, ""))
		wantSignIn(t, other, ani, "another", home, ErrUnauthorized)
		wantSignIn(t, other, ani, "", home, ErrUnauthorized)
	})
}

func TestSetTokenBounds(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		longest := strings.Repeat("t", MaxCredential)
		check(t, r.SetToken(t.Context(), ani, longest))
		wantSignIn(t, r, ani, longest, home, nil)
		wantInvalid(t, r.SetToken(t.Context(), ani, longest+"t"), "token")
		wantInvalid(t, r.SetToken(t.Context(), 0, "t"), "user_id")
	})
}

func TestARightSignInIsOneRoundTrip(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		check(t, r.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, r, budi, "loads the script", home, ErrUnauthorized)
		trips := &counter{}
		s.client.AddHook(trips)
		for want := 1; want <= 2; want++ { // verified, then known
			wantSignIn(t, r, ani, "right", home, nil)
			if trips.n != want {
				t.Errorf("%d round trips for %d sign-ins", trips.n, want)
			}
		}
		trips.n = 0
		wantSignIn(t, r, ani, "wrong", home, ErrUnauthorized)
		wrong := trips.n
		wantSignIn(t, r, budi, "wrong", home, ErrUnauthorized)
		if unknown := trips.n - wrong; unknown != wrong {
			t.Errorf("%d round trips for a wrong token, %d for an unknown user", wrong, unknown)
		}
	})
}

func TestLockout(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{Lockout: Lockout{Failures: 3, Window: time.Minute}})
		check(t, r.SetToken(t.Context(), ani, "right"))
		check(t, r.SetToken(t.Context(), budi, "right"))
		wantSignIn(t, r, ani, "right", home, nil)
		for _, address := range []string{home, cafe} {
			for range 3 {
				wantSignIn(t, r, ani, "wrong", address, ErrUnauthorized)
			}
			wantSignIn(t, r, ani, "wrong", address, errLocked)
		}
		wantSignIn(t, r, ani, "right", cafe, errLocked) // not even verified
		wantSignIn(t, r, ani, "right", home, nil)       // known good
		wantSignIn(t, r, ani, "right", "elsewhere", nil)
		wantSignIn(t, r, budi, "right", cafe, nil)

		// Known good once, but no longer right: locked out like any other.
		check(t, r.SetToken(t.Context(), ani, "new"))
		wantSignIn(t, r, ani, "right", home, errLocked)

		// What another process knows, this one does not.
		wantSignIn(t, s.registry(Options{Lockout: r.lockout}), ani, "new", home, errLocked)
	})
}

func TestLockoutEndsWithItsWindow(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{Lockout: Lockout{Failures: 1, Window: time.Hour}})
		check(t, r.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, r, ani, "wrong", home, ErrUnauthorized)
		wantSignIn(t, r, ani, "right", home, errLocked)
		failures := r.keys.failures(ani, sha256.Sum256([]byte(home)))
		if left := s.client.PTTL(t.Context(), failures).Val(); left <= 0 || left > r.lockout.Window {
			t.Errorf("the window ends in %v", left)
		}
		if s.mini != nil {
			s.mini.FastForward(r.lockout.Window) // its clock stands still
		} else {
			check(t, s.client.PExpire(t.Context(), failures, time.Millisecond).Err()) // in place of the hour
		}
		check(t, poll(func() bool { return r.Authenticate(t.Context(), ani, "right", home) == nil }))
	})
}

func TestAttemptsAtOnceDoNotSlipPastTheLimit(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		var wg sync.WaitGroup
		var verified atomic.Int32
		for range 100 {
			wg.Go(func() {
				if errors.Is(r.Authenticate(t.Context(), ani, "guess", home), ErrUnauthorized) {
					verified.Add(1)
				}
			})
		}
		wg.Wait()
		if n := int(verified.Load()); n != r.lockout.Failures {
			t.Errorf("%d guesses were verified, want %d", n, r.lockout.Failures)
		}
	})
}

func TestOnlyADigestIsKept(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		check(t, r.SetToken(t.Context(), ani, "s3cret"))
		wantSignIn(t, r, ani, "s3cret", home, nil)
		wantSignIn(t, r, ani, "s3cret2", home, ErrUnauthorized)

		keys, err := s.client.Keys(t.Context(), s.prefix+"*").Result()
		check(t, err)
		if len(keys) != 2 {
			t.Fatalf("keys %q", keys)
		}
		for _, key := range keys {
			value, err := s.client.Get(t.Context(), key).Result()
			check(t, err)
			for _, secret := range []string{"s3cret", home} {
				if strings.Contains(key+value, secret) {
					t.Errorf("%q = %q holds %q", key, value, secret)
				}
			}
		}
	})
}

func TestRedisAwayIsNeitherRightNorWrong(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var locked *LockedOutError
		if err := r.Authenticate(ctx, ani, "t", home); err == nil || errors.Is(err, ErrUnauthorized) || errors.As(err, &locked) {
			t.Errorf("signed in: %v", err)
		}
	})
}

func TestKnownGoodIsBounded(t *testing.T) {
	var k knownGood
	start := time.Now()
	in := func(user int) signIn { return signIn{user: int64(user)} }
	for user := range 3 * knownHalf {
		k.add(in(user), start)
	}
	if n := len(k.recent) + len(k.older); n > 2*knownHalf {
		t.Errorf("remembers %d sign-ins", n)
	}
	last := in(3*knownHalf - 1)
	for name, tc := range map[string]struct {
		in   signIn
		at   time.Time
		want bool
	}{
		"the last one":           {last, start, true},
		"one of the newest half": {in(2 * knownHalf), start, true},
		"the first one":          {in(0), start, false},
		"almost an hour later":   {last, start.Add(knownFor - 1), true},
		"an hour later":          {last, start.Add(knownFor), false},
	} {
		if got := k.has(tc.in, tc.at); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	k.remove(last)
	if k.has(last, start) {
		t.Error("remembers what was removed")
	}
}
