package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestTicketIsGoodOnce(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := context.Background()
		s := r.store(Options{})
		plain := Session{User: 66}
		full := Session{User: 67, Until: time.UnixMilli(1390459731000), Vouched: 1390459731000001}
		first, err := s.Issue(ctx, plain)
		check(t, err)
		second, err := s.Issue(ctx, full)
		check(t, err)
		if first == second || len(first) != 43 || strings.ContainsAny(first, "+/=") {
			t.Errorf("tickets %q and %q", first, second)
		}
		if got, err := s.Redeem(ctx, first); got != plain || err != nil {
			t.Errorf("the first ticket is for %+v, %v", got, err)
		}
		for _, ticket := range []string{first, "", "x", second + "x", strings.ToLower(second)} {
			if got, err := s.Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("ticket %q is for %+v, %v", ticket, got, err)
			}
		}
		if got, err := s.Redeem(ctx, second); got != full || err != nil {
			t.Errorf("the second ticket is for %+v, %v", got, err)
		}
	})
}

// A ticket does not outlive the token that has vouched for it. Setting the same token again
// changes nothing.
func TestTicketEndsWithItsToken(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := context.Background()
		s := r.store(Options{})
		check(t, s.SetToken(ctx, ani, "old"))
		issue := func(token string) string {
			t.Helper()
			vouched, err := s.Authenticate(ctx, ani, token, home)
			check(t, err)
			ticket, err := s.Issue(ctx, Session{User: ani, Vouched: vouched})
			check(t, err)
			return ticket
		}
		redeem := func(what, ticket string, want error) {
			t.Helper()
			if _, err := s.Redeem(ctx, ticket); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		revoked, kept := issue("old"), issue("old")
		check(t, s.SetToken(ctx, ani, "old"))
		redeem("the same token was set", kept, nil)
		check(t, s.SetToken(ctx, ani, "new"))
		fresh, removed := issue("new"), issue("new")
		redeem("of the token before", revoked, ErrUnauthorized)
		redeem("of the new token", fresh, nil)
		check(t, s.SetToken(ctx, ani, ""))
		redeem("the token was removed", removed, ErrUnauthorized)
		check(t, s.SetToken(ctx, ani, "new"))
		removed = issue("new")
		check(t, s.Erase(ctx, ani))
		redeem("the token was erased", removed, ErrUnauthorized)
	})
}

// Vouched is always from before the token was found to be right: a token that is replaced
// in between, and be it a moment later, ends what it has vouched for.
func TestNoRevocationIsMissed(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := context.Background()
		s := r.store(Options{})
		const rounds = 30
		check(t, s.SetToken(ctx, ani, "token 0"))
		replaced, letIn := make(chan error, 1), make(chan struct{}, rounds)
		go func() {
			var err error
			for i := 1; i <= rounds && err == nil; i++ {
				<-letIn // with the token before
				err = s.SetToken(ctx, ani, fmt.Sprint("token ", i))
			}
			replaced <- err
		}()
		let := make(map[int]int64)
		for i := 0; i <= rounds; i++ { // each token is tried until it is not right any more
			for {
				vouched, err := s.Authenticate(ctx, ani, fmt.Sprint("token ", i), fmt.Sprint("address ", i))
				if err == nil {
					if _, again := let[i]; !again && i < rounds {
						letIn <- struct{}{}
					}
					let[i] = vouched
				}
				if err != nil || i == rounds {
					break
				}
			}
		}
		close(letIn)
		check(t, <-replaced)
		current, err := s.Vouch(ctx, ani)
		check(t, err)
		for i, vouched := range let {
			if revoked := current > vouched; revoked != (i < rounds) {
				t.Errorf("token %d: revoked %v", i, revoked)
			}
		}
	})
}

// Replacing a token tells the user's live sockets in the same step.
func TestRevocationIsPublished(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := context.Background()
		_, cluster := r.Client.(*redis.ClusterClient)
		s := r.store(Options{Sharded: cluster})
		subscribe := r.Client.Subscribe
		if cluster {
			subscribe = r.Client.SSubscribe
		}
		sub := subscribe(ctx, r.Partitions.Channel(ani))
		defer sub.Close()
		_, err := sub.Receive(ctx)
		check(t, err)
		for _, token := range []string{"first", "second", "second", "third"} {
			check(t, s.SetToken(ctx, ani, token))
		}
		for i := range 2 { // at "second" and at "third"
			m, err := sub.ReceiveMessage(ctx)
			check(t, err)
			if f := strings.Fields(m.Payload); len(f) != 4 || f[0] != "revoked" {
				t.Errorf("message %d: %q", i, m.Payload)
			}
		}
		last, err := s.Vouch(ctx, ani)
		check(t, err)
		if stored := r.Client.Get(ctx, r.Partitions.Revoked(ani)).Val(); last == 0 || fmt.Sprint(last) != stored {
			t.Errorf("revoked at %d, stored %s", last, stored)
		}
		r.Tombstone(t, ani, true)
		if _, err := s.Vouch(ctx, ani); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("an erased user: %v", err)
		}
	})
}

func TestTicketIsNotKept(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		ctx := context.Background()
		ticket, err := r.store(Options{}).Issue(ctx, Session{User: 66})
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
		if _, err := r.store(Options{}).Redeem(ctx, ticket); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestTicketForNobody(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, r server) {
		_, err := r.store(Options{}).Issue(t.Context(), Session{})
		wantInvalid(t, err, "user_id")
	})
}
