package inbox

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestDeleteMessagesAndConversations(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		conversation := model.ConversationID(user, partner)
		for i := range 250 {
			carry(t, s, outbound(partner, user, "pesan nomor "+strconv.Itoa(i)))
		}
		if err := s.Conversations.Delete(ctx, user, conversation); err != nil {
			t.Fatal(err)
		}
		if err := s.Conversations.Delete(ctx, user, conversation); !errors.Is(err, ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		if n := len(bodies(t, s, partner)); n != 100 { // one page
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
		id := carry(t, s, outbound(partner, user, "baru"))
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
