package inbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// first stores a message in its first copy alone, as a request that dies there.
func first(t *testing.T, s *Store, m *OutboundMessage) (before string) {
	t.Helper()
	id, before, err := s.Outbound.StoreFirst(context.Background(), m)
	if err != nil || id != m.ID {
		t.Fatal(id, err)
	}
	return before
}

func wantPending(t *testing.T, s *Store, want ...string) {
	t.Helper()
	got, err := s.Outbound.Pending(context.Background(), min(user, partner), model.ConversationID(user, partner), 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("pending: %s", diff)
	}
}

// A hand-off makes a crash between the two scripts harmless, whoever was sending,
// and storing again, or after the second user has deleted the message, changes
// nothing.
func TestHandoffSurvivesACrash(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for from, to := range map[int64]int64{user: partner, partner: user} {
			later := time.Now().Add(2 * handoffDelay)
			s := newStore(t, rdb, func(o *Options) { o.Now = func() time.Time { return later } })
			ctx := context.Background()
			m := sending(from, to, fmt.Sprint("halo from ", from))
			second := m.second()
			before := len(bodies(t, s, second))
			first(t, s, m)
			due, err := s.Handoffs.Due(ctx, 10)
			if diff := cmp.Diff([]Handoff{{s.parts.OfUser(m.First()), m.Pointer}}, due); diff != "" || err != nil {
				t.Fatal(diff, err)
			}
			wantPending(t, s, m.Handoff)
			for range 2 {
				if err := s.Outbound.StorePending(ctx, m); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(bodies(t, s, second)) - before; n != 1 {
				t.Fatalf("stored %d times", n)
			}
			if err := errors.Join(s.Conversations.DeleteMessage(ctx, second, m.ID), s.Outbound.StorePending(ctx, m)); err != nil {
				t.Fatal(err)
			}
			if n := len(bodies(t, s, second)) - before; n != 0 {
				t.Errorf("a deleted message came back")
			}
			if err := s.Outbound.ClearPending(ctx, m); err != nil {
				t.Fatal(err)
			}
			wantPending(t, s)
			if due, err := s.Handoffs.Due(ctx, 10); len(due) != 0 || err != nil {
				t.Errorf("hand-offs %v, %v", due, err)
			}
		}
	})
}

// The first copy takes only ids above all others, the second one only what follows
// the one before: nobody sees a conversation in another order than that of its ids.
func TestMessagesKeepTheirOrder(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		late := sending(partner, user, "made first, stored last")
		one, two := sending(user, partner, "one"), sending(partner, user, "two")
		two.ID = model.NewIDAfter(one.ID, time.Now())
		beforeOne := first(t, s, one)
		beforeTwo := first(t, s, two)

		var order *OrderError
		if _, _, err := s.Outbound.StoreFirst(ctx, late); !errors.As(err, &order) || order.Newest != two.ID {
			t.Fatalf("an id below the newest one: %v", err)
		}
		if err := s.Outbound.StoreSecond(ctx, two, beforeTwo); !errors.As(err, &order) || order.Newest != "" {
			t.Fatalf("the second message before the first: %v", err)
		}
		wantPending(t, s, one.Handoff, two.Handoff)
		if err := errors.Join(s.Outbound.StoreSecond(ctx, one, beforeOne), s.Outbound.StoreSecond(ctx, two, beforeTwo)); err != nil {
			t.Fatal(err)
		}

		// The answer to the first script was lost: what was before is not known.
		id, before, err := s.Outbound.StoreFirst(ctx, two)
		if err != nil || id != two.ID {
			t.Fatal(id, err)
		}
		late.ID = model.NewIDAfter(two.ID, time.Now())
		first(t, s, late)
		if err := s.Outbound.StoreSecond(ctx, late, before); !errors.As(err, &order) {
			t.Errorf("after an unknown one: %v", err)
		}
		if err := s.Outbound.StorePending(ctx, late); err != nil {
			t.Fatal(err)
		}
		for _, who := range []int64{user, partner} {
			if diff := cmp.Diff([]string{late.Body, "two", "one"}, bodies(t, s, who)); diff != "" {
				t.Errorf("user %d: %s", who, diff)
			}
		}
	})
}

// A receipt does not overtake the message that was read.
func TestReceiptOfAPendingMessage(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		m := sending(max(user, partner), min(user, partner), "halo")
		first(t, s, m)
		r := ReadReceipt{User: m.Receiver, Partner: m.Sender, Conversation: m.Conversation, UpTo: m.ID}
		if err := s.Conversations.ApplyReceipt(ctx, m.Sender, r, nil, false); !errors.Is(err, ErrPending) {
			t.Fatalf("read before it was there: %v", err)
		}
		if err := s.Conversations.ApplyReceipt(ctx, m.Sender, r, nil, true); err != nil {
			t.Errorf("when nothing is pending: %v", err)
		}
		if err := errors.Join(s.Outbound.StorePending(ctx, m), s.Conversations.ApplyReceipt(ctx, m.Sender, r, nil, false)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Conversations.Message(ctx, m.Sender, m.ID); err != nil || !got.Read {
			t.Errorf("read %v, %v", got.Read, err)
		}
	})
}

// What cannot be carried out makes room for the others.
func TestHandoffIsPutOff(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		later := time.Now().Add(2 * handoffDelay)
		s := newStore(t, rdb, func(o *Options) { o.Now = func() time.Time { return later } })
		ctx := context.Background()
		first(t, s, sending(user, partner, "halo"))
		due, err := s.Handoffs.Due(ctx, 1)
		if err != nil || len(due) != 1 {
			t.Fatal(due, err)
		}
		if err := s.Handoffs.Postpone(ctx, due[0], time.Minute); err != nil {
			t.Fatal(err)
		}
		if due, err := s.Handoffs.Due(ctx, 1); err != nil || len(due) != 0 {
			t.Errorf("still due: %v, %v", due, err)
		}
		later = later.Add(time.Minute)
		if due, err := s.Handoffs.Due(ctx, 1); err != nil || len(due) != 1 {
			t.Errorf("due again: %v, %v", due, err)
		}
	})
}
