package devices

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTicketIsGoodOnce(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		ctx := context.Background()
		r := s.registry(Options{})
		until := time.UnixMilli(1390459731000)
		first, err := r.Issue(ctx, 66, time.Time{})
		check(t, err)
		second, err := r.Issue(ctx, 67, until)
		check(t, err)
		if first == second || len(first) != 43 || strings.ContainsAny(first, "+/=") {
			t.Errorf("tickets %q and %q", first, second)
		}
		if user, until, err := r.Redeem(ctx, first); user != 66 || !until.IsZero() || err != nil {
			t.Errorf("the first one stands for %d until %v, %v", user, until, err)
		}
		for _, ticket := range []string{first, "", "x", second + "x", strings.ToLower(second)} {
			if user, _, err := r.Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%q stands for %d, %v", ticket, user, err)
			}
		}
		if user, got, err := r.Redeem(ctx, second); user != 67 || !got.Equal(until) || err != nil {
			t.Errorf("the second one stands for %d until %v, %v", user, got, err)
		}
	})
}

func TestTicketIsNotKept(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		ctx := context.Background()
		ticket, err := s.registry(Options{}).Issue(ctx, 66, time.Time{})
		check(t, err)
		keys, err := s.client.Keys(ctx, s.prefix+":*:ticket:*").Result()
		check(t, err)
		if len(keys) != 1 || strings.Contains(keys[0], ticket) {
			t.Fatalf("kept under %q", keys)
		}
		if life := s.client.PTTL(ctx, keys[0]).Val(); life <= 0 || life > TicketLife {
			t.Errorf("for %v", life)
		}
		if s.mini == nil {
			return
		}
		s.mini.FastForward(TicketLife + time.Second)
		if _, _, err := s.registry(Options{}).Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestTicketForNobody(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		var invalid *InvalidError
		if _, err := s.registry(Options{}).Issue(context.Background(), 0, time.Time{}); !errors.As(err, &invalid) {
			t.Errorf("%v", err)
		}
	})
}
