package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
)

const partner = 15

// sending is a message from one of the two to the other.
func sending(from, to int64, body string) *OutboundMessage {
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

// carry sends a message and hands it over.
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
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		m := sending(partner, user, "mantab gan")
		m.Category, m.Product = 5, "mwza"
		carry(t, s, m)
		carry(t, s, sending(user, partner, "sip"))
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
			t.Errorf("a third one's look: %v", err)
		}
	})
}

func TestMessageIsSentOncePerClientID(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		var ids []string
		for range 3 {
			m := sending(user, partner, "halo")
			m.ClientID, m.Once = "c1", "c1"
			ids = append(ids, carry(t, s, m))
		}
		if ids[0] != ids[1] || ids[1] != ids[2] || len(bodies(t, s, partner)) != 1 || len(bodies(t, s, user)) != 1 {
			t.Errorf("ids %v, %d received", ids, len(bodies(t, s, partner)))
		}
		for what, m := range map[string]*OutboundMessage{
			"content": sending(user, partner, "other"), "receiver": sending(user, 100, "halo"),
		} {
			m.ClientID = "c1"
			if _, _, err := s.Outbound.Prepare(ctx, &m.Message); !errors.Is(err, ErrConflict) {
				t.Errorf("other %s under the same client id: %v", what, err)
			}
		}
		m := sending(user, partner, "halo")
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

func TestReadingMessages(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		conversation := model.ConversationID(user, partner)
		var ids []string
		for i := range 5 {
			ids = append(ids, carry(t, s, sending(partner, user, strconv.Itoa(i))))
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

func TestInboxIsOrderedByTheNewestMessage(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		for i := range 12 {
			carry(t, s, sending(int64(100+i), user, "from "+strconv.Itoa(i)))
		}
		back := carry(t, s, sending(user, 103, "back"))
		var got []int64
		for offset := 0; offset < 20; offset += 5 {
			page, err := s.Conversations.List(ctx, user, false, offset, 5)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range page {
				got = append(got, c.Partner)
			}
		}
		want := []int64{103, 111, 110, 109, 108, 107, 106, 105, 104, 102, 101, 100}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}

		// Without its newest message a conversation is as old as the one before.
		if err := s.Conversations.DeleteMessage(ctx, user, back); err != nil {
			t.Fatal(err)
		}
		page, err := s.Conversations.List(ctx, user, false, 0, 1)
		if err != nil || len(page) != 1 || page[0].Partner != 111 {
			t.Errorf("first is %+v, %v", page, err)
		}
	})
}

func TestDeleting(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		conversation := model.ConversationID(user, partner)
		for i := range 250 {
			carry(t, s, sending(partner, user, "pesan nomor "+strconv.Itoa(i)))
		}
		if err := s.Conversations.Delete(ctx, user, conversation); err != nil {
			t.Fatal(err)
		}
		if err := s.Conversations.Delete(ctx, user, conversation); !errors.Is(err, ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		if n := len(bodies(t, s, partner)); n != 100 { // a page of it
			t.Errorf("the partner's copy has %d on its first page", n)
		}
		if u := unreads(t, s); u.Messages != 0 {
			t.Errorf("%d unread of a deleted conversation", u.Messages)
		}
		k := s.keys(user)
		for _, left := range []int64{
			rdb.HLen(ctx, k.bodies()).Val(), rdb.ZCard(ctx, k.words()).Val(), rdb.SCard(ctx, k.trash()).Val(), rdb.ZCard(ctx, k.conversations()).Val(),
		} {
			if left != 0 {
				t.Errorf("%d left", left)
			}
		}
		id := carry(t, s, sending(partner, user, "baru"))
		if diff := cmp.Diff([]string{"baru"}, bodies(t, s, user)); diff != "" {
			t.Errorf("a new message brings back the conversation alone: %s", diff)
		}
		if err := s.Conversations.DeleteMessage(ctx, user, id); err != nil {
			t.Fatal(err)
		}
		if err := s.Conversations.DeleteMessage(ctx, user, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		if in, err := s.Conversations.List(ctx, user, false, 0, 10); len(in) != 0 || err != nil {
			t.Errorf("an empty conversation is listed: %v %v", in, err)
		}
		if u := unreads(t, s); u.Messages != 0 || rdb.ZCard(ctx, k.words()).Val() != 0 {
			t.Errorf("a deleted message left %+v", u)
		}
	})
}

func TestSearch(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		for from, texts := range map[int64][]string{
			101: {"Nanya om, bantal bibir masih ada?", "warna pink"},
			102: {"OM NANYA dong", "bantal"},
			103: {"bantalnya sudah dikirim", "pinknya cakep"},
		} {
			for _, text := range texts {
				carry(t, s, sending(from, user, text))
			}
		}
		for text, want := range map[string][]int64{
			`"nanya om"`:        {101, 102},
			"om nanya":          {101, 102},
			"nanya bantal":      {101}, // both in one message
			"bant":              {101, 102, 103},
			"bant nanya":        nil, // only the last word may be cut short
			"nanya bant":        {101},
			"pink":              {101, 103},
			"KIRIM":             nil,
			"dikirim BANTALNYA": {103},
			"":                  nil,
			"!?":                nil,
		} {
			page, err := s.Conversations.Search(ctx, user, text, false, 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, c := range page {
				got = append(got, c.Partner)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q: %s", text, diff)
			}
		}
	})
}

// Random sends, reads and deletions leave the number of unread messages as a
// simple model has it.
func TestUnreadMessagesCannotDrift(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		s := newStore(t, rdb)
		ctx := context.Background()
		unread := make(map[string]int64) // id to sender
		for i := range 300 {
			from := int64(100 + rng.IntN(4))
			conversation := model.ConversationID(user, from)
			switch rng.IntN(5) {
			case 0, 1, 2:
				unread[carry(t, s, sending(from, user, fmt.Sprint("m", i)))] = from
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
