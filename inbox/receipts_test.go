package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestMarkMessagesRead(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		conversation := model.ConversationID(user, partner)
		var ids []string
		for i := range 5 {
			ids = append(ids, carry(t, s, outbound(partner, user, strconv.Itoa(i))))
		}
		read := func(r ReadReceipt, want, left int) {
			t.Helper()
			r.User, r.Conversation = user, conversation
			if n, err := s.Conversations.MarkRead(ctx, r); n != want || err != nil {
				t.Errorf("%+v marked %d, %v; want %d", r, n, err, want)
			}
			if err := s.Conversations.ApplyReceipt(ctx, partner, r, []byte("{}"), false); err != nil {
				t.Fatal(err)
			}
			if u := unreads(t, s); u.Messages != left {
				t.Errorf("%d unread, want %d", u.Messages, left)
			}
			for _, who := range []int64{user, partner} {
				page, err := s.Conversations.Messages(ctx, who, conversation, 0, 10)
				if err != nil {
					t.Fatal(err)
				}
				unread := 0
				for _, m := range page {
					if !m.Read {
						unread++
					}
				}
				if unread != left {
					t.Errorf("user %d sees %d unread, want %d", who, unread, left)
				}
			}
		}
		read(ReadReceipt{Message: ids[3]}, 1, 4)
		read(ReadReceipt{Message: ids[3]}, 0, 4)
		read(ReadReceipt{UpTo: ids[1]}, 2, 2)
		if in, err := s.Conversations.List(ctx, user, true, 0, 10); len(in) != 1 || err != nil {
			t.Errorf("unread inboxes %v, %v", in, err)
		}
		read(ReadReceipt{UpTo: ids[4]}, 2, 0)
		if in, err := s.Conversations.List(ctx, user, true, 0, 10); len(in) != 0 || err != nil {
			t.Errorf("unread inboxes %v, %v", in, err)
		}
	})
}

// Reading a message moves its updated_at in both copies, once. What is deleted leaves nothing
// of that behind.
func TestReadingMovesUpdatedAt(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		conversation := model.ConversationID(user, partner)
		var ids []string
		for i := range 3 {
			ids = append(ids, carry(t, s, outbound(partner, user, strconv.Itoa(i))))
		}
		last, err := model.IDTime(ids[2])
		if err != nil {
			t.Fatal(err)
		}
		first := last.Truncate(time.Second).Add(time.Hour)
		second := first.Add(time.Minute)
		read := func(r ReadReceipt) {
			t.Helper()
			r.User, r.Conversation = user, conversation
			if _, err := s.Conversations.MarkRead(ctx, r); err != nil {
				t.Fatal(err)
			}
			if err := s.Conversations.ApplyReceipt(ctx, partner, r, []byte("{}"), false); err != nil {
				t.Fatal(err)
			}
		}
		want := func(who int64, times ...time.Time) {
			t.Helper()
			page, err := s.Conversations.Messages(ctx, who, conversation, 0, 10)
			if err != nil || len(page) != len(times) {
				t.Fatalf("%d messages, %v", len(page), err)
			}
			for i, m := range page {
				alone, err := s.Conversations.Message(ctx, who, m.ID)
				if err != nil {
					t.Fatal(err)
				}
				updated := times[i]
				if updated.IsZero() {
					updated = m.CreatedAt
				}
				for _, m := range []Message{m, alone} {
					if got, want := m.View(Profile{}, Profile{}, time.UTC).UpdatedAt, updated.UTC().Format(MessageTime); got != want {
						t.Errorf("message %d of user %d: updated_at %s, want %s", i, who, got, want)
					}
				}
			}
		}
		want(user, time.Time{}, time.Time{}, time.Time{})
		read(ReadReceipt{Message: ids[1], At: first})
		read(ReadReceipt{Message: ids[1], At: second}) // it was read before
		want(user, time.Time{}, first, time.Time{})
		want(partner, time.Time{}, first, time.Time{})
		read(ReadReceipt{UpTo: ids[2], At: second})
		want(user, second, first, second)
		want(partner, second, first, second)
		if err := s.Conversations.DeleteMessage(ctx, user, ids[1]); err != nil {
			t.Fatal(err)
		}
		want(user, second, second)
		if err := s.Conversations.Delete(ctx, user, conversation); err != nil {
			t.Fatal(err)
		}
		if left := rdb.HKeys(ctx, s.keys(user).bodies()).Val(); len(left) != 0 {
			t.Errorf("%q stay behind", left)
		}
	})
}

// After random sends, reads and deletions, the number of unread messages equals that of a
// simple model.
func TestUnreadMessagesCannotDrift(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		s := newStore(t, rdb)
		ctx := context.Background()
		unread := make(map[string]int64) // sender by message id
		for i := range 300 {
			from := int64(100 + rng.IntN(4))
			conversation := model.ConversationID(user, from)
			switch rng.IntN(5) {
			case 0, 1, 2:
				unread[carry(t, s, outbound(from, user, fmt.Sprint("m", i)))] = from
			case 3:
				if _, err := s.Conversations.MarkRead(ctx, ReadReceipt{User: user, Conversation: conversation, UpTo: model.NewID(time.Now())}); err != nil {
					t.Fatal(err)
				}
				for id, sender := range unread {
					if sender == from {
						delete(unread, id)
					}
				}
			case 4:
				for id := range unread {
					if err := s.Conversations.DeleteMessage(ctx, user, id); err != nil {
						t.Fatal(err)
					}
					delete(unread, id)
					break
				}
			}
			if u := unreads(t, s); u.Messages != len(unread) {
				t.Fatalf("step %d: %d unread, the model has %d", i, u.Messages, len(unread))
			}
		}
	})
}

// A read receipt is not applied while the message that was read is still pending.
func TestReceiptOfAPendingMessage(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		m := outbound(max(user, partner), min(user, partner), "halo")
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
