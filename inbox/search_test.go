package inbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A mailbox has 50,000 messages in 500 conversations, one conversation after the other.
// Message i is older than message i+1, and the conversation with partner 1001 is the
// oldest.
const (
	mailboxMessages      = 50_000
	mailboxConversations = 500
	mailboxOften         = 30_000 // the oldest ones, which contain the word "sering"
)

// mailboxRare has the messages that contain the word "langka".
var mailboxRare = []int{7, 24_999, 25_000}

func mailboxBody(i int) string {
	words := []string{"barang", fmt.Sprint("nomor", i)}
	if i < mailboxOften {
		words = append(words, "sering")
	}
	if slices.Contains(mailboxRare, i) {
		words = append(words, "langka")
	}
	return strings.Join(words, " ")
}

func mailboxPartner(i int) int64 {
	return int64(1001 + i*mailboxConversations/mailboxMessages)
}

// fillMailbox stores the mailbox in the form that store_message.lua leaves when all
// messages have been read.
func fillMailbox(t testing.TB, s *Store) {
	t.Helper()
	ctx, k := context.Background(), s.keys(user)
	start := time.Now().Add(-mailboxMessages * time.Second)
	pipe := s.redis.Pipeline()
	for i := range mailboxMessages {
		from := mailboxPartner(i)
		m := Message{
			ID: model.NewID(start.Add(time.Duration(i) * time.Second)), Conversation: model.ConversationID(from, user),
			Sender: from, Receiver: user, Body: mailboxBody(i),
		}
		for _, posting := range m.postings() {
			pipe.ZAdd(ctx, k.words(), redis.Z{Member: posting})
		}
		pipe.HSet(ctx, k.bodies(), m.ID, m.stored())
		pipe.ZAdd(ctx, k.messages(m.Conversation), redis.Z{Member: m.ID})
		pipe.Do(ctx, "zadd", k.conversations(), "gt", score(m.ID), m.Conversation)
		if pipe.Len() < 10_000 && i < mailboxMessages-1 {
			continue
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// A search finds messages of any age in a large mailbox, and each page has the right
// conversations.
func TestSearchInALargeMailbox(t *testing.T) {
	t.Parallel()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, localredistest.Client(t, server.Addr())) // the embedded Redis sorts its sets on every call
	fillMailbox(t, s)
	rare := make([]int64, 0, len(mailboxRare))
	for _, i := range mailboxRare {
		rare = append(rare, mailboxPartner(i))
	}
	partners := func(below int) (newestFirst []int64) {
		for p := mailboxPartner(below - 1); p > 1000; p-- {
			newestFirst = append(newestFirst, p)
		}
		return newestFirst
	}
	slices.Reverse(rare)
	rare = slices.Compact(rare)
	for text, want := range map[string][]int64{
		"langka":               rare,
		"langka barang":        rare,
		"barang langka":        rare,
		"barang lang":          rare,
		"barang sering langka": rare,
		"nomor7 barang":        {mailboxPartner(7)},
		"barang":               partners(mailboxMessages),
		"bara":                 partners(mailboxMessages),
		"sering":               partners(mailboxOften),
		"ser":                  partners(mailboxOften),
		"barang sering":        partners(mailboxOften),
		"sering barang":        partners(mailboxOften),
		"barang ser":           partners(mailboxOften),
		"nomor30000 sering":    nil,
	} {
		for offset := 0; offset <= len(want); offset += 100 {
			page, err := s.Conversations.Search(t.Context(), user, text, false, offset, 100)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, c := range page {
				got = append(got, c.Partner)
			}
			rest := want[offset:]
			if diff := cmp.Diff(slices.Clone(rest[:min(100, len(rest))]), got); diff != "" && len(rest)+len(got) > 0 {
				t.Errorf("%q from %d on: %s", text, offset, diff)
			}
		}
	}
	oldest := mailboxPartner(0)
	err = s.redis.ZAdd(t.Context(), s.keys(user).unreadConversations(), redis.Z{Score: 1, Member: model.ConversationID(oldest, user)}).Err()
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.Conversations.Search(t.Context(), user, "barang", true, 0, 100)
	if err != nil || len(page) != 1 || page[0].Partner != oldest {
		t.Errorf("unread ones: %+v, %v", page, err)
	}
}

func TestSearch(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		for from, texts := range map[int64][]string{
			101: {"Nanya om, bantal bibir masih ada?", "warna pink"},
			102: {"OM NANYA dong", "bantal"},
			103: {"bantalnya sudah dikirim", "pinknya cakep"},
		} {
			for _, text := range texts {
				carry(t, s, outbound(from, user, text))
			}
		}
		for text, want := range map[string][]int64{
			`"nanya om"`:        {101, 102},
			"om nanya":          {101, 102},
			"nanya bantal":      {101}, // both words are in one message
			"bant":              {101, 102, 103},
			"bant nanya":        nil, // only the last word may be a prefix
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
