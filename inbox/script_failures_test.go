package inbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Redis 7 gives a user with `~* +@all` no right to channels. Then live sockets receive
// nothing, but every event is stored, counted and enqueued exactly once.
func TestUserWithoutChannels(t *testing.T) {
	t.Parallel()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	admin, ctx := localredistest.Client(t, server.Addr()), t.Context()
	name := prefixOf(t)
	if err := admin.Do(ctx, "acl", "setuser", name, "reset", "on", ">pw", "~*", "+@all", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	restricted := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: name, Password: "pw"})
	t.Cleanup(func() { restricted.Close() })
	var log bytes.Buffer
	s := newStore(t, restricted, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	admin.HSet(ctx, s.options.Devices(user), "d", "{}")
	out := s.parts.Key(s.parts.OfUser(user), "out")

	p := note("e", "transaction")
	p.Subject, p.State = "transaction:1", model.State{Order: time.Now(), Rank: 5, Counter: model.SellerTransactions}
	p.Entry = &OutboxEntry{Stream: out, Header: `{"u":66,"n":"`}
	for repeat := range 3 {
		if stored := store(t, s, p); stored.Duplicate != (repeat > 0) {
			t.Errorf("call %d: %+v", repeat, stored)
		}
	}
	if n := len(list(t, s, 0, 100, "transaction")); n != 1 {
		t.Errorf("listed %d times", n)
	}
	if u := unreads(t, s); u.Notifications != 1 || u.SellerTransactions != 1 {
		t.Errorf("counted %+v", u)
	}
	if n := admin.XLen(ctx, out).Val(); n != 1 {
		t.Errorf("enqueued %d times", n)
	}

	m := outbound(partner, user, "halo")
	m.ClientID, m.Once = "c1", "c1"
	m.Push = &MessagePush{Stream: out, Line: "{}", Subject: "message:1", Delayed: out + "-delayed"}
	for range 2 {
		carry(t, s, m)
	}
	if got := bodies(t, s, user); len(got) != 1 || admin.XLen(ctx, out).Val() != 2 || unreads(t, s).Messages != 1 {
		t.Errorf("messages %v, %d pushes, unread %+v", got, admin.XLen(ctx, out).Val(), unreads(t, s))
	}
	receipt := ReadReceipt{User: user, Conversation: m.Conversation, UpTo: m.ID, Partner: partner, Handoff: "read"}
	if n, err := s.Conversations.MarkRead(ctx, receipt); n != 1 || err != nil {
		t.Errorf("%d messages read, %v", n, err)
	}
	if err := s.Conversations.ApplyReceipt(ctx, partner, receipt, []byte("{}"), false); err != nil {
		t.Error(err)
	}
	if err := s.Notifications.MarkAllRead(ctx, user); err != nil {
		t.Error(err)
	}
	if err := s.Live.Revoke(ctx, user); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "refuses to publish"); n != 1 {
		t.Errorf("%d log lines, want 1: %s", n, &log)
	}
}

// A scriptCall is one call whose script writes several keys.
type scriptCall struct {
	name    string
	prepare func(t *testing.T, s *Store)
	run     func(s *Store) error
	check   func(t *testing.T, s *Store) // checks the data after the call; may be nil
}

// eventStored ends the names of the calls that store an event; see harmlessAlone.
const eventStored = " event is stored"

// scriptCalls returns every such call of the inbox.
func scriptCalls() []scriptCall {
	ctx := context.Background()
	nothing := func(*testing.T, *Store) {}
	withDevice := func(_ *testing.T, s *Store) { s.redis.HSet(ctx, s.options.Devices(user), "d", "{}") }
	event := note("e", "transaction")
	event.Subject, event.State = "transaction:1", model.State{Order: time.Now(), Rank: 5, Counter: model.SellerTransactions}
	event.Contact = &model.Contact{Role: model.Buyer, Partner: partner, Name: "n", Transaction: "transaction:1"}
	entered := func(s *Store, p NewNotification) NewNotification {
		p.Entry = &OutboxEntry{Stream: s.parts.Key(s.parts.OfUser(user), "out"), Header: `{"u":66,"n":"`}
		return p
	}
	storeOne := func(s *Store, p NewNotification) error {
		_, errs := s.Notifications.Store(ctx, []NewNotification{p}, nil)
		return errs[0]
	}
	once := func(listed int) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) {
			out := s.redis.XLen(ctx, s.parts.Key(s.parts.OfUser(user), "out")).Val()
			if u := unreads(t, s); len(list(t, s, 0, 10, "transaction")) != listed || u.Notifications != listed || out != 1 {
				t.Errorf("listed %d times, counted %+v, enqueued %d times", len(list(t, s, 0, 10, "transaction")), u, out)
			}
		}
	}
	unlisted := event
	unlisted.Listed, unlisted.Event = false, "unlisted"
	counted := event
	counted.Listed, counted.Quiet, counted.Event = false, true, "counted"
	items := 3
	cart := NewNotification{Receiver: user, Event: "cart", Content: "c", Type: "cart", Quiet: true, Cart: &items, State: model.State{Order: time.Now()}}

	conversation := model.ConversationID(user, partner)
	received := func(s *Store) *OutboundMessage {
		m := outbound(partner, user, "halo gan")
		m.ID = "52e0b8f3" + strings.Repeat("0", 16)
		m.Once, m.ClientID = "c1", "c1"
		stream := s.parts.Key(s.parts.OfUser(user), "out")
		m.Push = &MessagePush{Stream: stream, Line: "{}", Subject: model.ConversationSubject(conversation), Delayed: stream + "-delayed"}
		return m
	}
	withMessage := func(t *testing.T, s *Store) { carry(t, s, received(s)) }
	withNote := func(t *testing.T, s *Store) { store(t, s, event) }
	receipt := ReadReceipt{User: user, Conversation: conversation, UpTo: maxID, Partner: partner, Handoff: "read"}
	return []scriptCall{
		{"listed" + eventStored, withDevice, func(s *Store) error { return storeOne(s, entered(s, event)) }, once(1)},
		{"unlisted" + eventStored, withDevice, func(s *Store) error { return storeOne(s, entered(s, unlisted)) }, once(0)},
		{"counted" + eventStored, nothing, func(s *Store) error { return storeOne(s, counted) }, nil},
		{"cart" + eventStored, nothing, func(s *Store) error { return storeOne(s, cart) }, nil},
		{"prepare a message", nothing, func(s *Store) error {
			_, _, err := s.Outbound.Prepare(ctx, &received(s).Message)
			return err
		}, nil},
		{"store a message first", nothing, func(s *Store) error {
			_, _, err := s.Outbound.StoreFirst(ctx, received(s))
			return err
		}, nil},
		{
			"store a message second",
			func(t *testing.T, s *Store) {
				withDevice(t, s)
				if _, _, err := s.Outbound.StoreFirst(ctx, received(s)); err != nil {
					t.Fatal(err)
				}
			},
			func(s *Store) error { return s.Outbound.StorePending(ctx, received(s)) },
			func(t *testing.T, s *Store) {
				out := s.redis.XLen(ctx, s.parts.Key(s.parts.OfUser(user), "out")).Val()
				if u := unreads(t, s); u.Messages != 1 || out != 1 {
					t.Errorf("counted %+v, enqueued %d times", u, out)
				}
			},
		},
		{"clear a pending message", func(t *testing.T, s *Store) {
			if _, _, err := s.Outbound.StoreFirst(ctx, received(s)); err != nil {
				t.Fatal(err)
			}
		}, func(s *Store) error { return s.Outbound.ClearPending(ctx, received(s)) }, nil},
		{"mark messages as read", withMessage, func(s *Store) error {
			_, err := s.Conversations.MarkRead(ctx, receipt)
			return err
		}, nil},
		{"apply a receipt", withMessage, func(s *Store) error {
			return s.Conversations.ApplyReceipt(ctx, partner, receipt, []byte("{}"), true)
		}, nil},
		{"delete a message", withMessage, func(s *Store) error {
			return s.Conversations.DeleteMessage(ctx, user, received(s).ID)
		}, nil},
		{"delete a conversation", withMessage, func(s *Store) error {
			err := s.Conversations.Delete(ctx, user, conversation)
			if err != nil && strings.HasPrefix(err.Error(), "purge") {
				return nil // the conversation is deleted, and the sweep purges its bodies
			}
			return err
		}, nil},
		{"mark all as read", withNote, func(s *Store) error { return s.Notifications.MarkAllRead(ctx, user) }, nil},
		{"mark one as read", withNote, func(s *Store) error {
			found, err := s.redis.XRangeN(ctx, s.keys(user).notifications(), "-", "+", 1).Result()
			if err != nil || len(found) == 0 {
				return err
			}
			id, _ := found[0].Values["i"].(string)
			_, err = s.Notifications.MarkRead(ctx, user, id)
			return err
		}, nil},
		{"retract an event", func(t *testing.T, s *Store) {
			if _, errs := s.Notifications.Store(ctx, []NewNotification{event}, map[string][]int64{"e": {user}}); errs[0] != nil {
				t.Fatal(errs[0])
			}
		}, func(s *Store) error {
			_, err := s.Notifications.Retract(ctx, "e")
			if errors.Is(err, ErrNotFound) {
				return nil // its record is what was renamed
			}
			return err
		}, func(t *testing.T, s *Store) {
			if u := unreads(t, s); len(list(t, s, 0, 10, "transaction")) != 0 || u.Notifications != 0 || u.SellerTransactions != 1 {
				t.Errorf("counted %+v", u)
			}
		}},
		{"schedule an event", nothing, func(s *Store) error {
			_, err := s.Notifications.Schedule(ctx, "e", "c", []int64{user}, time.Now().Add(time.Hour))
			return err
		}, nil},
		{"scheduled" + eventStored, func(t *testing.T, s *Store) {
			withDevice(t, s)
			if _, err := s.Notifications.Schedule(ctx, "e", event.Content, []int64{user}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, func(s *Store) error {
			_, errs := s.Notifications.StoreScheduled(ctx, []NewNotification{entered(s, event)}, nil)
			return errs[0]
		}, nil},
		{"set a profile", withNote, func(s *Store) error {
			name := "n"
			return s.Profiles.Set(ctx, user, Profile{Name: &name})
		}, nil},
		{"begin to erase", nothing, func(s *Store) error { return s.Eraser.Begin(ctx, user, time.Minute) }, nil},
	}
}

// A script that meets a key of another type fails before its first write that could be listed
// or counted twice: a repeat after that has no extra effect.
func TestScriptsExpectTheTypesOfTheirKeys(t *testing.T) {
	t.Parallel()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range scriptCalls() {
		t.Run(call.name, func(t *testing.T) {
			t.Parallel()
			redisClient := localredistest.Client(t, server.Addr())
			s := newStore(t, redisClient)
			call.prepare(t, s)
			names := maps.Clone(dump(t, redisClient, prefixOf(t)))
			if err := call.run(s); err != nil {
				t.Fatal(err)
			}
			maps.Copy(names, dump(t, redisClient, prefixOf(t)))
			for name := range names {
				t.Run(strings.ReplaceAll(name, ":", " "), func(t *testing.T) { meetOtherType(t, redisClient, call, name) })
			}
		})
	}
}

// harmlessAlone reports whether a key may be written before storing an event fails: what it
// says means nothing without the writes that follow, and a repeat replaces it.
func harmlessAlone(name, _ string) bool {
	return strings.HasSuffix(name, ":"+recordIndexKey) || strings.HasSuffix(name, ":"+contactsKey) || strings.HasSuffix(name, ":"+recentContactsKey)
}

// meetOtherType makes a call while one of its keys is a list, and again after the key is
// restored.
func meetOtherType(t *testing.T, redisClient redis.UniversalClient, call scriptCall, name string) {
	ctx, s := context.Background(), newStore(t, redisClient)
	call.prepare(t, s)
	key, saved := prefixOf(t)+name, prefixOf(t)+":saved"
	moved := redisClient.Rename(ctx, key, saved).Err() == nil
	if err := redisClient.RPush(ctx, key, "planted").Err(); err != nil {
		t.Fatal(err)
	}
	before := dump(t, redisClient, prefixOf(t))
	failed := call.run(s)
	if after := dump(t, redisClient, prefixOf(t)); failed != nil && strings.Contains(failed.Error(), "script:") {
		if strings.HasSuffix(call.name, eventStored) {
			maps.DeleteFunc(before, harmlessAlone)
			maps.DeleteFunc(after, harmlessAlone)
		}
		if diff := cmp.Diff(keys(before), keys(after)); diff != "" || !maps.Equal(before, after) {
			t.Errorf("%v, after writes: %s", failed, diff)
		}
	}
	if redisClient.Type(ctx, key).Val() == "list" {
		redisClient.Del(ctx, key)
	}
	if moved && redisClient.RenameNX(ctx, saved, key).Err() != nil {
		t.Fatal("the key cannot be put back")
	}
	if failed == nil {
		return // the script overwrites the key, or checks only its existence
	}
	if err := call.run(s); err != nil {
		t.Fatalf("repeated: %v", err)
	}
	if call.check != nil {
		call.check(t, s)
	}
}

func keys(m map[string]string) map[string]bool {
	names := make(map[string]bool, len(m))
	for name := range m {
		names[name] = true
	}
	return names
}

// dump returns the values of all keys with a prefix, by the rest of the key.
func dump(t *testing.T, redisClient redis.UniversalClient, prefix string) map[string]string {
	t.Helper()
	ctx, all := context.Background(), make(map[string]string)
	for cursor := uint64(0); ; {
		found, next, err := redisClient.Scan(ctx, cursor, "*", 1000).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range found {
			if name, ok := strings.CutPrefix(key, prefix); ok && strings.HasPrefix(name, ":") {
				value, err := redisClient.Dump(ctx, key).Result()
				if err != nil {
					t.Fatal(fmt.Errorf("dump %s: %w", key, err))
				}
				all[name] = value
			}
		}
		if cursor = next; cursor == 0 {
			return all
		}
	}
}
