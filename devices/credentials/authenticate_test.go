package credentials

import (
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/devices/internal/redistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	home = "203.0.113.7"
	cafe = "198.51.100.9"
)

// wantSignIn checks the result of a sign-in.
func wantSignIn(t *testing.T, s *Store, user int64, token, address string, want error) {
	t.Helper()
	err := s.Authenticate(t.Context(), user, token, address)
	var locked *LockedOutError
	if want == errLocked {
		if !errors.As(err, &locked) || locked.RetryAfter <= 0 || locked.RetryAfter > s.lockout.Window {
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
	onEveryRedis(t, func(t *testing.T, r server) {
		s, other := r.store(Options{}), r.store(Options{})
		ctx := t.Context()
		wantSignIn(t, s, ani, "tok3ntok3n", home, ErrUnauthorized)
		is := func(token string, want bool) {
			t.Helper()
			if got, err := s.TokenIs(ctx, ani, token); got != want || err != nil {
				t.Errorf("token is %q: %v, %v", token, got, err)
			}
		}
		is("", true)
		check(t, s.SetToken(ctx, ani, "tok3ntok3n"))
		is("tok3ntok3n", true)
		is("another", false)
		is("", false)
		for range 2 { // the first is verified, the second is remembered
			wantSignIn(t, other, ani, "tok3ntok3n", home, nil)
		}
		wantSignIn(t, s, ani, "tok3ntok3N", home, ErrUnauthorized)
		wantSignIn(t, s, ani, "", home, ErrUnauthorized)
		wantSignIn(t, s, budi, "tok3ntok3n", home, ErrUnauthorized)

		check(t, s.SetToken(ctx, ani, "another"))
		wantSignIn(t, other, ani, "tok3ntok3n", home, ErrUnauthorized)
		wantSignIn(t, other, ani, "another", home, nil)

		check(t, s.SetToken(ctx, ani, ""))
		wantSignIn(t, other, ani, "another", home, ErrUnauthorized)
		wantSignIn(t, other, ani, "", home, ErrUnauthorized)
	})
}

func TestSetTokenBounds(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		longest := strings.Repeat("t", MaxToken)
		check(t, s.SetToken(t.Context(), ani, longest))
		wantSignIn(t, s, ani, longest, home, nil)
		wantInvalid(t, s.SetToken(t.Context(), ani, longest+"t"), "token")
		wantInvalid(t, s.SetToken(t.Context(), 0, "t"), "user_id")
	})
}

// Erase removes a user's token and makes the user's tickets invalid. Other users are not
// affected.
func TestErase(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		ctx := t.Context()
		check(t, s.SetToken(ctx, ani, "right"))
		check(t, s.SetToken(ctx, budi, "right"))
		ticket, err := s.Issue(ctx, ani, time.Time{})
		check(t, err)
		r.Tombstone(t, ani, true)
		for range 2 {
			check(t, s.Erase(ctx, ani))
		}
		wantSignIn(t, s, ani, "right", home, ErrUnauthorized)
		wantSignIn(t, s, budi, "right", home, nil)
		if _, _, err := s.Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("a ticket from before: %v", err)
		}
		if err := s.SetToken(ctx, ani, "right"); !errors.Is(err, account.ErrErased) {
			t.Errorf("set a token: %v", err)
		}
		wantInvalid(t, s.Erase(ctx, 0), "user_id")

		r.Tombstone(t, ani, false)
		check(t, s.SetToken(ctx, ani, "new"))
		wantSignIn(t, s, ani, "new", home, nil)
	})
}

func TestARightSignInIsOneRoundTrip(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		check(t, s.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, s, budi, "loads the script", home, ErrUnauthorized)
		_, err := s.TokenIs(t.Context(), ani, "right") // opens the connection that single reads use
		check(t, err)
		trips := &redistest.Counter{}
		r.Client.AddHook(trips)
		for want := 1; want <= 2; want++ { // the first is verified, the second is remembered
			wantSignIn(t, s, ani, "right", home, nil)
			if trips.N != want {
				t.Errorf("%d round trips for %d sign-ins", trips.N, want)
			}
		}
		trips.N = 0
		wantSignIn(t, s, ani, "wrong", home, ErrUnauthorized)
		wrong := trips.N
		wantSignIn(t, s, budi, "wrong", home, ErrUnauthorized)
		if unknown := trips.N - wrong; unknown != wrong {
			t.Errorf("%d round trips for a wrong token, %d for an unknown user", wrong, unknown)
		}
	})
}

func TestLockout(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{Lockout: Lockout{Failures: 3, Window: time.Minute}})
		check(t, s.SetToken(t.Context(), ani, "right"))
		check(t, s.SetToken(t.Context(), budi, "right"))
		wantSignIn(t, s, ani, "right", home, nil)
		for _, address := range []string{home, cafe} {
			for range 3 {
				wantSignIn(t, s, ani, "wrong", address, ErrUnauthorized)
			}
			wantSignIn(t, s, ani, "wrong", address, errLocked)
		}
		wantSignIn(t, s, ani, "right", cafe, errLocked) // refused without being verified
		wantSignIn(t, s, ani, "right", home, nil)       // remembered as good
		wantSignIn(t, s, ani, "right", "elsewhere", nil)
		wantSignIn(t, s, budi, "right", cafe, nil)

		// A token that was remembered as good but is no longer valid is locked out like any
		// other.
		check(t, s.SetToken(t.Context(), ani, "new"))
		wantSignIn(t, s, ani, "right", home, errLocked)

		// A token that one process remembers is not known to another process.
		wantSignIn(t, r.store(Options{Lockout: s.lockout}), ani, "new", home, errLocked)
	})
}

func TestLockoutEndsWithItsWindow(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{Lockout: Lockout{Failures: 1, Window: time.Hour}})
		check(t, s.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, s, ani, "wrong", home, ErrUnauthorized)
		wantSignIn(t, s, ani, "right", home, errLocked)
		failures := s.keys.failures(ani, sha256.Sum256([]byte(home)))
		if left := r.Client.PTTL(t.Context(), failures).Val(); left <= 0 || left > s.lockout.Window {
			t.Errorf("the window ends in %v", left)
		}
		if r.Mini != nil {
			r.Mini.FastForward(s.lockout.Window) // the embedded Redis has a clock that stands still
		} else {
			check(t, r.Client.PExpire(t.Context(), failures, time.Millisecond).Err()) // do not wait for an hour
		}
		check(t, redistest.Poll(func() bool { return s.Authenticate(t.Context(), ani, "right", home) == nil }))
	})
}

func TestAttemptsAtOnceDoNotSlipPastTheLimit(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		var wg sync.WaitGroup
		var verified atomic.Int32
		for range 100 {
			wg.Go(func() {
				if errors.Is(s.Authenticate(t.Context(), ani, "guess", home), ErrUnauthorized) {
					verified.Add(1)
				}
			})
		}
		wg.Wait()
		if n := int(verified.Load()); n != s.lockout.Failures {
			t.Errorf("%d guesses were verified, want %d", n, s.lockout.Failures)
		}
	})
}

func TestOnlyADigestIsKept(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		check(t, s.SetToken(t.Context(), ani, "s3cret"))
		wantSignIn(t, s, ani, "s3cret", home, nil)
		wantSignIn(t, s, ani, "s3cret2", home, ErrUnauthorized)

		keys, err := r.Client.Keys(t.Context(), r.Prefix+":*").Result()
		check(t, err)
		if len(keys) != 2 {
			t.Fatalf("keys %q", keys)
		}
		for _, key := range keys {
			value, err := r.Client.Get(t.Context(), key).Result()
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
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	batcher := rdb.NewBatcher(client, 0)
	defer batcher.Close()
	s := New(Options{Redis: client, Batcher: batcher, Partitions: rdb.NewPartitions("away", 1)})
	check(t, client.Close())
	var locked *LockedOutError
	if err := s.Authenticate(t.Context(), ani, "t", home); !errors.Is(err, redis.ErrClosed) || errors.Is(err, ErrUnauthorized) || errors.As(err, &locked) {
		t.Errorf("signed in: %v", err)
	}
}

func TestSuccessCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c successCache
	start := time.Now()
	in := func(user int) signIn { return signIn{user: int64(user)} }
	for user := range 3 * minSuccesses {
		c.add(in(user), start)
	}
	if n := len(c.recent) + len(c.older); n > 2*minSuccesses {
		t.Errorf("remembers %d sign-ins", n)
	}
	last := in(3*minSuccesses - 1)
	for name, tc := range map[string]struct {
		in   signIn
		at   time.Time
		want bool
	}{
		"the last one":           {last, start, true},
		"one of the newest half": {in(2 * minSuccesses), start, true},
		"the first one":          {in(0), start, false},
		"almost an hour later":   {last, start.Add(successTTL - 1), true},
		"an hour later":          {last, start.Add(successTTL), false},
	} {
		if got := c.has(tc.in, tc.at); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	c.remove(last)
	if c.has(last, start) {
		t.Error("remembers what was removed")
	}
}
