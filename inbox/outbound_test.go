package inbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const partner = 15

// outbound returns a message from one user to another.
func outbound(from, to int64, body string) *OutboundMessage {
	id := model.NewID(time.Now())
	return &OutboundMessage{
		Message: Message{
			ID: id, Conversation: model.ConversationID(from, to), Sender: from, Receiver: to, Body: body,
		},
		Once:    id,
		Frame:   []byte(`{}`),
		Handoff: "handoff " + body,
		Pointer: "pointer",
	}
}

// carry stores a message in both copies.
func carry(t testing.TB, s *Store, m *OutboundMessage) string {
	t.Helper()
	ctx := context.Background()
	if _, _, err := s.Outbound.Prepare(ctx, &m.Message); err != nil {
		t.Fatal(err)
	}
	for {
		id, before, err := s.Outbound.StoreFirst(ctx, m)
		if order := new(OrderError); errors.As(err, &order) {
			m.ID = model.NewIDAfter(order.Newest, time.Now())
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if id != m.ID {
			return id
		}
		if err := errors.Join(s.Outbound.StoreSecond(ctx, m, before), s.Outbound.ClearPending(ctx, m)); err != nil {
			t.Fatal(err)
		}
		return id
	}
}

func bodies(t *testing.T, s *Store, of int64) []string {
	t.Helper()
	page, err := s.Conversations.Messages(context.Background(), of, model.ConversationID(user, partner), 0, 100)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, m := range page {
		texts = append(texts, m.Body)
	}
	return texts
}

func TestMessageReachesBothCopies(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		m := outbound(partner, user, "mantab gan")
		m.Category, m.Product = 5, "mwza"
		carry(t, s, m)
		carry(t, s, outbound(user, partner, "sip"))
		for _, who := range []int64{user, partner} {
			if diff := cmp.Diff([]string{"sip", "mantab gan"}, bodies(t, s, who)); diff != "" {
				t.Errorf("user %d: %s", who, diff)
			}
		}
		if u := unreads(t, s); u.Messages != 1 {
			t.Errorf("%d unread", u.Messages)
		}
		got, err := s.Conversations.Message(context.Background(), user, m.ID)
		if err != nil || got.Body != m.Body || got.Category != 5 || got.Product != "mwza" || got.Read || got.Sender != partner {
			t.Errorf("message %+v, %v", got, err)
		}
		if _, err := s.Conversations.Message(context.Background(), 7, m.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("the message as a third user sees it: %v", err)
		}
	})
}

func TestMessageIsSentOncePerClientID(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		var ids []string
		for range 3 {
			m := outbound(user, partner, "halo")
			m.ClientID, m.Once = "c1", "c1"
			ids = append(ids, carry(t, s, m))
		}
		if ids[0] != ids[1] || ids[1] != ids[2] || len(bodies(t, s, partner)) != 1 || len(bodies(t, s, user)) != 1 {
			t.Errorf("ids %v, %d received", ids, len(bodies(t, s, partner)))
		}
		for what, m := range map[string]*OutboundMessage{
			"content": outbound(user, partner, "other"), "receiver": outbound(user, 100, "halo"),
		} {
			m.ClientID = "c1"
			if _, _, err := s.Outbound.Prepare(ctx, &m.Message); !errors.Is(err, ErrConflict) {
				t.Errorf("other %s under the same client id: %v", what, err)
			}
		}
		m := outbound(user, partner, "halo")
		m.ClientID = "c1"
		if err := s.Outbound.ReleaseClientID(ctx, &m.Message); err != nil {
			t.Fatal(err)
		}
		m.Body = "other"
		if _, _, err := s.Outbound.Prepare(ctx, &m.Message); err != nil {
			t.Errorf("after it was given back: %v", err)
		}
	})
}

// first stores a message in the first copy only, like a request that dies after that.
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

// The first copy accepts only ids above all others. The second copy accepts only the
// message that follows its newest one. So nobody sees a conversation in any other order
// than that of the ids.
func TestMessagesKeepTheirOrder(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		late := outbound(partner, user, "made first, stored last")
		one, two := outbound(user, partner, "one"), outbound(partner, user, "two")
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

		// The answer to the first script was lost, so the preceding message is not known.
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
