package credentials

import (
	"errors"
	"testing"
)

// Every write may be repeated after a lost reply. At worst a failure counts twice, one
// failure too many is forgiven, or a ticket is lost.
func TestLostReplies(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := t.Context()
		s := New(Options{Batcher: r.LoseReplies(t), Partitions: r.Partitions, Lockout: Lockout{Failures: 3}})
		check(t, s.SetToken(ctx, ani, "right"))
		wantSignIn(t, s, ani, "right", home, nil)
		wantSignIn(t, s, ani, "wrong", home, ErrUnauthorized)
		wantSignIn(t, s, ani, "wrong", home, errLocked)
		check(t, s.Forgive(ctx, ani, home))
		wantCounted(t, s, ani, home, true)
		wantSignIn(t, s, ani, "right", home, nil)

		ticket, err := s.Issue(ctx, Session{User: ani})
		check(t, err)
		if _, err := s.Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("redeemed a ticket again: %v", err)
		}
		check(t, s.Erase(ctx, ani))
		wantSignIn(t, s, ani, "right", cafe, ErrUnauthorized)
	})
}
