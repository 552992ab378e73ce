package credentials

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTicketIsGoodOnce(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := context.Background()
		s := r.store(Options{})
		until := time.UnixMilli(1390459731000)
		first, err := s.Issue(ctx, 66, time.Time{})
		check(t, err)
		second, err := s.Issue(ctx, 67, until)
		check(t, err)
		if first == second || len(first) != 43 || strings.ContainsAny(first, "+/=") {
			t.Errorf("tickets %q and %q", first, second)
		}
		if user, until, err := s.Redeem(ctx, first); user != 66 || !until.IsZero() || err != nil {
			t.Errorf("the first ticket is for user %d until %v, %v", user, until, err)
		}
		for _, ticket := range []string{first, "", "x", second + "x", strings.ToLower(second)} {
			if user, _, err := s.Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("ticket %q is for user %d, %v", ticket, user, err)
			}
		}
		if user, got, err := s.Redeem(ctx, second); user != 67 || !got.Equal(until) || err != nil {
			t.Errorf("the second ticket is for user %d until %v, %v", user, got, err)
		}
	})
}

func TestTicketIsNotKept(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := context.Background()
		ticket, err := r.store(Options{}).Issue(ctx, 66, time.Time{})
		check(t, err)
		keys, err := r.Client.Keys(ctx, r.Prefix+":*:ticket:*").Result()
		check(t, err)
		if len(keys) != 1 || strings.Contains(keys[0], ticket) {
			t.Fatalf("kept under %q", keys)
		}
		if life := r.Client.PTTL(ctx, keys[0]).Val(); life <= 0 || life > TicketTTL {
			t.Errorf("for %v", life)
		}
		if r.Mini == nil {
			return
		}
		r.Mini.FastForward(TicketTTL + time.Second)
		if _, _, err := r.store(Options{}).Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestTicketForNobody(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		_, err := r.store(Options{}).Issue(t.Context(), 0, time.Time{})
		wantInvalid(t, err, "user_id")
	})
}
