package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Facts of many pushes are looked up together, in the order of the queries, and one that
// cannot be looked up fails alone.
func TestPushFacts(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, client redis.UniversalClient) {
		s, ctx := newStore(t, client), context.Background()
		const users, broken = 40, 7
		var queries []PushQuery
		for user := int64(users); user > 0; user-- {
			queries = append(queries, PushQuery{User: user})
			list, value := s.options.Devices(user), fmt.Sprint("device of ", user)
			if user == broken {
				client.LPush(ctx, list, value)
				continue
			}
			client.HSet(ctx, list, "d", value)
			for i := range user % 3 {
				p := note(fmt.Sprint(i), "transaction")
				p.Receiver = user
				store(t, s, p)
			}
			locale := fmt.Sprint("locale ", user)
			if err := s.Profiles.Set(ctx, user, Profile{Locale: &locale}); err != nil {
				t.Fatal(err)
			}
		}
		for i, got := range s.PushFacts(ctx, s.batcher, queries) {
			user := queries[i].User
			if user == broken {
				if !redis.HasErrorPrefix(got.Err, "WRONGTYPE") {
					t.Errorf("a device list of the wrong type: %+v", got)
				}
				continue
			}
			want := PushFacts{
				At: got.At, Devices: []string{fmt.Sprint("device of ", user)},
				Unreads: model.Unreads{Notifications: int(user % 3)}, Settings: Settings{Locale: fmt.Sprint("locale ", user)},
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(model.QuietHours{})); diff != "" {
				t.Errorf("user %d (-want +got):\n%s", user, diff)
			}
			if got.At.IsZero() {
				t.Errorf("user %d: at %v", user, got.At)
			}
		}
		if got := s.PushFacts(ctx, s.batcher, nil); len(got) != 0 {
			t.Errorf("facts of nothing: %+v", got)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for _, got := range s.PushFacts(ended, s.batcher, queries) {
			if !errors.Is(got.Err, context.Canceled) {
				t.Errorf("not looked up: %+v", got)
			}
		}
	})
}

func TestPushFactsOfMessages(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, client redis.UniversalClient) {
		s, ctx := newStore(t, client), context.Background()
		conversation := model.ConversationID(user, partner)
		var queries []PushQuery
		for range 3 {
			m := outbound(partner, user, "halo")
			carry(t, s, m)
			queries = append(queries, PushQuery{User: user, Conversation: conversation, Message: m.ID}, PushQuery{User: partner})
		}
		statuses := func() (all []MessageStatus) {
			for i, facts := range s.PushFacts(ctx, s.batcher, queries) {
				if facts.Err != nil || queries[i].Message == "" && facts.Message != (MessageStatus{}) {
					t.Errorf("%+v", facts)
				}
				if queries[i].Message != "" {
					all = append(all, facts.Message)
				}
			}
			return all
		}
		if got := statuses(); !slices.Equal(got, slices.Repeat([]MessageStatus{{Unread: 3}}, 3)) {
			t.Errorf("unread: %+v", got)
		}
		receipt := ReadReceipt{User: user, Conversation: conversation, UpTo: queries[2].Message, Partner: partner, Handoff: "read"}
		if _, err := s.Conversations.MarkRead(ctx, receipt); err != nil {
			t.Fatal(err)
		}
		if got, want := statuses(), []MessageStatus{{true, 1}, {true, 1}, {false, 1}}; !slices.Equal(got, want) {
			t.Errorf("after two were read: %+v, want %+v", got, want)
		}
	})
}

func TestReadPushFactsRefuses(t *testing.T) {
	for name, reply := range map[string][2]any{
		"few values": {int64(1), []any{int64(1)}}, "no values": {int64(1), nil}, "no time": {nil, make([]any, 16)},
	} {
		if facts := readPushFacts(reply[0], reply[1]); !errors.Is(facts.Err, rdb.ErrReply) {
			t.Errorf("%s: %+v", name, facts)
		}
	}
}
