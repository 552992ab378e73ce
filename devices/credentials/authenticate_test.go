package credentials

import (
	"errors"
	"fmt"
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
	_, err := s.Authenticate(t.Context(), user, token, address)
	if want == errLocked {
		wantLocked(t, s, err, LimitFailures)
		return
	}
	if !errors.Is(err, want) {
		t.Errorf("signed in: %v, want %v", err, want)
	}
}

// wantLocked checks that a limit was reached, and that the error says how long to wait.
func wantLocked(t *testing.T, s *Store, err error, limit Limit) {
	t.Helper()
	var locked *LockedOutError
	if !errors.As(err, &locked) || locked.Limit != limit || locked.RetryAfter <= 0 || locked.RetryAfter > s.lockout.Window {
		t.Errorf("%v, want the limit %s to be reached", err, limit)
	}
}

// errLocked stands for any LockedOutError.
var errLocked = errors.New("locked out")

func TestAuthenticate(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s, other := r.store(Options{}), r.store(Options{})
		ctx := t.Context()
		wantSignIn(t, s, ani, "tok3ntok3n", home, ErrUnauthorized)
		check(t, s.SetToken(ctx, ani, "tok3ntok3n"))
		for range 2 { // the second is known to be good
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
		ticket, err := s.Issue(ctx, Session{User: ani})
		check(t, err)
		r.Tombstone(t, ani, true)
		for range 2 {
			check(t, s.Erase(ctx, ani))
		}
		wantSignIn(t, s, ani, "right", home, ErrUnauthorized)
		wantSignIn(t, s, budi, "right", home, nil)
		if _, err := s.Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
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

func TestAKnownSignInIsOneRoundTrip(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		check(t, s.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, s, ani, "right", home, nil) // loads the scripts
		trips := r.CountTrips(t)
		cost := func(user int64, token, address string, want error) (n int) {
			t.Helper()
			before := trips.N
			wantSignIn(t, s, user, token, address, want)
			return trips.N - before
		}
		if n := cost(ani, "right", home, nil); n != 1 {
			t.Errorf("%d round trips for a credential that is known", n)
		}
		if n := cost(ani, "right", cafe, nil); n != 3 {
			t.Errorf("%d round trips for the first time from an address", n)
		}
		wrong, unknown := cost(ani, "wrong", home, ErrUnauthorized), cost(budi, "wrong", home, ErrUnauthorized)
		if wrong != 2 || unknown != wrong {
			t.Errorf("%d round trips for a wrong token, %d for an unknown user", wrong, unknown)
		}
	})
}

// Failures as one user from one address lock out that user's credentials from there, apart
// from those that are known to be good, in every process.
func TestLockout(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		o := Options{Lockout: Lockout{Failures: 3, Window: time.Minute}}
		s, other := r.store(o), r.store(o) // like a process before, or beside it
		check(t, s.SetToken(t.Context(), ani, "right"))
		check(t, s.SetToken(t.Context(), budi, "right"))
		wantSignIn(t, s, ani, "right", home, nil)
		for _, address := range []string{home, cafe} {
			for range 3 {
				wantSignIn(t, s, ani, "wrong", address, ErrUnauthorized)
			}
			wantSignIn(t, s, ani, "wrong", address, errLocked)
		}
		wantSignIn(t, s, ani, "right", cafe, errLocked) // a guess may not learn that it is right
		wantSignIn(t, s, ani, "right", "elsewhere", nil)
		wantSignIn(t, s, budi, "right", cafe, nil)
		for _, process := range []*Store{s, other} {
			wantSignIn(t, process, ani, "right", home, nil) // known to be good
		}

		// A token that was known to be good and is no longer valid is locked out like any
		// other, and so is one that was valid before and is again.
		check(t, s.SetToken(t.Context(), ani, "new"))
		wantSignIn(t, s, ani, "right", home, errLocked)
		check(t, s.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, s, ani, "right", home, errLocked)
	})
}

// Whoever guesses for ever more users leaves one key of a bounded size, and locks out no
// credential that is known to be good.
func TestGuessesForManyUsers(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		const users = 5
		o := Options{Lockout: Lockout{Users: users, Window: time.Minute}}
		s, other := r.store(o), r.store(o)
		check(t, s.SetToken(t.Context(), ani, "right"))
		check(t, s.SetToken(t.Context(), budi, "right"))
		wantSignIn(t, s, ani, "right", home, nil)
		before := len(r.Client.Keys(t.Context(), r.Prefix+":*").Val())
		for user := int64(1000); user < 1000+users; user++ {
			wantSignIn(t, s, user, "guess", home, ErrUnauthorized)
		}
		for user := int64(2000); user < 2030; user++ {
			_, err := s.Authenticate(t.Context(), user, "guess", home)
			wantLocked(t, s, err, LimitUsers)
		}
		wantSignIn(t, s, 1000, "guess", home, ErrUnauthorized) // counted by user
		if keys := r.Client.Keys(t.Context(), r.Prefix+":*").Val(); len(keys) != before+1 {
			t.Errorf("keys %q, %d of them from before", keys, before)
		}
		failures := s.keys.failures(newCredential(0, "", home).address)
		if n := r.Client.HLen(t.Context(), failures).Val(); n != users {
			t.Errorf("%d users are kept", n)
		}
		wantSignIn(t, other, ani, "right", home, nil)
		wantSignIn(t, other, budi, "right", cafe, nil)
		_, err := other.Authenticate(t.Context(), budi, "right", home)
		wantLocked(t, s, err, LimitUsers)
	})
}

// A user who travels is known at the newest addresses.
func TestKnownCredentialsAreBounded(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		for i := range maxKnown + 10 {
			check(t, s.Remember(t.Context(), ani, "right", fmt.Sprint(i)))
		}
		key := s.keys.known(ani)
		if n := r.Client.ZCard(t.Context(), key).Val(); n != maxKnown {
			t.Errorf("%d are kept", n)
		}
		if life := r.Client.PTTL(t.Context(), key).Val(); life <= knownTTL-time.Hour || life > knownTTL {
			t.Errorf("for %v", life)
		}
		for token, want := range map[string]bool{"right": true, "wrong": false} {
			ago, known, err := s.LastSuccess(t.Context(), ani, token, fmt.Sprint(maxKnown+9))
			if err != nil || known != want || ago < 0 && known {
				t.Errorf("%s: known %v, %v ago, %v", token, known, ago, err)
			}
		}
		check(t, s.Forget(t.Context(), ani, "right", fmt.Sprint(maxKnown+9)))
		if _, known, err := s.LastSuccess(t.Context(), ani, "right", fmt.Sprint(maxKnown+9)); known || err != nil {
			t.Errorf("known after it was forgotten, %v", err)
		}
	})
}

// The time of the last success is renewed once a day, and ends after 30 days.
func TestKnownCredentialsAreRenewed(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{Lockout: Lockout{Failures: 1}})
		check(t, s.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, s, ani, "right", home, nil)
		wantSignIn(t, s, ani, "wrong", home, ErrUnauthorized)
		key, member := s.keys.known(ani), string(newCredential(ani, "right", home).member())
		score := func() time.Time { return time.UnixMilli(int64(r.Client.ZScore(t.Context(), key, member).Val())) }
		now := score()
		for _, tc := range []struct {
			age     time.Duration
			want    error
			renewed bool
		}{
			{time.Hour, nil, false},
			{knownRenewal + time.Hour, nil, true},
			{knownTTL - time.Hour, nil, true},
			{knownTTL + time.Hour, errLocked, false},
		} {
			at := now.Add(-tc.age)
			check(t, r.Client.ZAdd(t.Context(), key, redis.Z{Score: float64(at.UnixMilli()), Member: member}).Err())
			wantSignIn(t, s, ani, "right", home, tc.want)
			if renewed := !score().Equal(at); renewed != tc.renewed {
				t.Errorf("%v after the last success: renewed %v", tc.age, renewed)
			}
		}
	})
}

func TestLockoutEndsWithItsWindow(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{Lockout: Lockout{Failures: 1, Window: time.Hour}})
		check(t, s.SetToken(t.Context(), ani, "right"))
		wantSignIn(t, s, ani, "wrong", home, ErrUnauthorized)
		wantSignIn(t, s, ani, "right", home, errLocked)
		failures := s.keys.failures(newCredential(0, "", home).address)
		if left := r.Client.PTTL(t.Context(), failures).Val(); left <= 0 || left > s.lockout.Window {
			t.Errorf("the window ends in %v", left)
		}
		if r.Mini != nil {
			r.Mini.FastForward(s.lockout.Window) // the embedded Redis has a clock that stands still
		} else {
			check(t, r.Client.PExpire(t.Context(), failures, time.Millisecond).Err()) // do not wait for an hour
		}
		check(t, redistest.Poll(func() bool {
			_, err := s.Authenticate(t.Context(), ani, "right", home)
			return err == nil
		}))
	})
}

func TestAttemptsAtOnceDoNotSlipPastTheLimit(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		s := r.store(Options{})
		var wg sync.WaitGroup
		var verified atomic.Int32
		for range 100 {
			wg.Go(func() {
				if _, err := s.Authenticate(t.Context(), ani, "guess", home); errors.Is(err, ErrUnauthorized) {
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
		if len(keys) != 3 {
			t.Fatalf("keys %q", keys)
		}
		for _, key := range keys {
			var value any
			switch kind := r.Client.Type(t.Context(), key).Val(); kind {
			case "string":
				value = r.Client.Get(t.Context(), key).Val()
			case "hash":
				value = r.Client.HGetAll(t.Context(), key).Val()
			case "zset":
				value = r.Client.ZRange(t.Context(), key, 0, -1).Val()
			}
			for _, secret := range []string{"s3cret", home} {
				if shown := fmt.Sprint(key, value); strings.Contains(shown, secret) {
					t.Errorf("%q holds %q", shown, secret)
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
	s := New(Options{Batcher: batcher, Partitions: rdb.NewPartitions("away", 1)})
	check(t, client.Close())
	var locked *LockedOutError
	if _, err := s.Authenticate(t.Context(), ani, "t", home); !errors.Is(err, redis.ErrClosed) || errors.Is(err, ErrUnauthorized) || errors.As(err, &locked) {
		t.Errorf("signed in: %v", err)
	}
}
