package inbox

import (
	"context"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestConversationsAreOrderedByTheNewestMessage(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		for i := range 12 {
			carry(t, s, outbound(int64(100+i), user, "from "+strconv.Itoa(i)))
		}
		back := carry(t, s, outbound(user, 103, "back"))
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

		// When its newest message is deleted, a conversation is sorted by the one before.
		if err := s.Conversations.DeleteMessage(ctx, user, back); err != nil {
			t.Fatal(err)
		}
		page, err := s.Conversations.List(ctx, user, false, 0, 1)
		if err != nil || len(page) != 1 || page[0].Partner != 111 {
			t.Errorf("first is %+v, %v", page, err)
		}
	})
}
