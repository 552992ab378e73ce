package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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

// Pushes find the bodies of more notifications than the list has room for, of a list that
// overflows while nothing is sent, and no more bodies are kept aside than the list has had.
func TestPushesOfAFullList(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, client redis.UniversalClient) {
		now := time.Now()
		s := newStore(t, client, func(o *Options) {
			o.MaxNotifications, o.RetryFor = 10, time.Hour
			o.Now = func() time.Time { return now }
		})
		ctx, k := context.Background(), s.keys(user)
		client.HSet(ctx, s.options.Devices(user), "d", "{}")
		stream := s.parts.Key(s.parts.OfUser(user), "out")
		bodies := make(map[string]string) // by id
		storeSome := func(name string, n int, every time.Duration) (entries []redis.XMessage) {
			client.Del(ctx, stream)
			for i := range n {
				p := note(fmt.Sprint(name, i), "transaction")
				p.Body = fmt.Appendf(nil, `{"message":"%s %d"}`, name, i)
				p.Entry = &OutboxEntry{Stream: stream, Header: `{"n":"`, TTL: time.Hour, RetryFor: time.Hour}
				bodies[store(t, s, p).ID] = string(p.Body)
				now = now.Add(every)
			}
			return client.XRange(ctx, stream, "-", "+").Val()
		}
		// read checks that the body of each entry is found, and counts those that refer to it.
		read := func(entries []redis.XMessage) (refer int) {
			for _, e := range entries {
				line, body, _ := strings.Cut(e.Values["e"].(string), "\n")
				id := strings.Split(line, `"`)[3]
				if body == ListedBody {
					refer++
					body = s.PushFacts(ctx, s.batcher, []PushQuery{{User: user, Listed: id}})[0].Body
				}
				if body != bodies[id] {
					t.Errorf("%s: body %q, want %q", id, body, bodies[id])
				}
			}
			return refer
		}
		const full = 10 + 32 // notifications before the first are dropped
		if refer := read(storeSome("overflow", 200, time.Millisecond)); refer != full {
			t.Errorf("%d entries refer to the list, want %d", refer, full)
		}
		if n := client.HLen(ctx, k.keptBodies()).Val(); n != full {
			t.Errorf("%d bodies are kept aside, want %d", n, full)
		}
		if ttl := client.PTTL(ctx, k.keptBodies()).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("bodies are kept aside for %v", ttl)
		}
		storeSome("seldom", 2*full, 10*time.Minute)                               // no push of those that are dropped is under way
		if refer := read(storeSome("at last", 3, time.Millisecond)); refer != 3 { // so few that a trim drops none of the last hour
			t.Errorf("%d of 3 entries refer to a list that overflows no more", refer)
		}
		if err := s.Eraser.EraseUser(ctx, user, nil); err != nil || client.Exists(ctx, k.keptBodies()).Val() != 0 {
			t.Errorf("bodies are left after erasing, %v", err)
		}
	})
}

// The entry of a push that is retried for longer than the list keeps notifications, that of a
// broadcast and that of an event that is in no list hold what they need.
func TestEntriesThatHoldTheirBodies(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, client redis.UniversalClient) {
		s := newStore(t, client, func(o *Options) { o.Keep, o.RetryFor = time.Hour, 24*time.Hour })
		ctx := context.Background()
		client.HSet(ctx, s.options.Devices(user), "d", "{}")
		stream := s.parts.Key(s.parts.OfUser(user), "out")
		for name, change := range map[string]func(*NewNotification){
			"retried for long": func(p *NewNotification) { p.Entry.RetryFor = 2 * time.Hour },
			"broadcast":        func(p *NewNotification) { p.Body = []byte(Reference("sale")) },
			"not listed":       func(p *NewNotification) { p.Listed = false },
		} {
			client.Del(ctx, stream)
			p := note(name, "transaction")
			p.Entry = &OutboxEntry{Stream: stream, Header: `{"n":"`, TTL: time.Hour, RetryFor: time.Hour}
			change(&p)
			store(t, s, p)
			entries := client.XRange(ctx, stream, "-", "+").Val()
			if len(entries) != 1 || !strings.HasSuffix(entries[0].Values["e"].(string), "\n"+string(p.Body)) {
				t.Errorf("%s: entries %v, want the body %s", name, entries, p.Body)
			}
		}
	})
}
