package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The user to erase, and users who are not erased.
const (
	erased  = 660066
	partner = 15
	other   = 77
)

// fill adds a user with data of every kind. Marked texts end with mark.
func (w *world) fill(user int64, mark string) {
	w.t.Helper()
	ctx := context.Background()
	name, token := "Nama"+mark, "credential"+mark
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	check(w.opts.Inbox.Profiles.Set(ctx, user, inbox.Profile{Name: &name}))
	check(w.opts.Inbox.Profiles.Set(ctx, partner, inbox.Profile{}))
	check(w.opts.Inbox.Profiles.Set(ctx, other, inbox.Profile{}))
	check(w.opts.Credentials.SetToken(ctx, user, token))
	w.register(user, devices.Android, "phone"+mark)
	w.register(user, devices.IOS, "iphone"+mark)
	w.register(partner, devices.Android, "partners")
	_, err := w.opts.Credentials.Issue(ctx, credentials.Session{User: user})
	check(err)

	for i, state := range []string{"pending", "paid"} {
		w.publish(fmt.Sprintf(`{"id":"t%s%d","type":"transaction","receiver_ids":[%d,%d],"message":"x","details":{"transaction":
			{"id":"5%d","state":%q,"seller":{"id":%d,"name":"Penjual"},"buyer":{"id":%d,"name":"Nama%s"},"products":[{"name":"barang"}]}}}`,
			mark, i, user, partner, user%1000, state, partner, user, mark))
	}
	w.publish(fmt.Sprintf(`{"id":"d%s","type":"dompet","receiver_id":%d,"message":"dana%s","details":{"id":1}}`, mark, user, mark))
	w.publish(fmt.Sprintf(`{"id":"m%s","type":"reminder","receiver_id":%d,"message":"ingat%s"}`, mark, user, mark))
	w.publish(fmt.Sprintf(`{"id":"c%s","type":"cart","receiver_id":%d,"details":{"cart_items":4}}`, mark, user))
	send := func(from, to int64, body string) {
		w.t.Helper()
		_, err := w.Chat.Send(ctx, from, chat.OutgoingMessage{Receiver: to, Body: body, ClientID: fmt.Sprint(body, to)})
		check(err)
	}
	send(user, partner, "kata"+mark)
	send(partner, user, "jawaban")
	send(partner, other, "lain")
	check(w.Chat.ReadConversation(ctx, user, model.ConversationID(user, partner), ""))
	// Only the partner still has this conversation.
	send(user, other, "rahasia"+mark)
	check(w.opts.Inbox.Conversations.Delete(ctx, user, model.ConversationID(user, other)))
}

// traces returns the keys under the world's prefix whose name or content contains one of
// the texts.
func (w *world) traces(texts ...string) []string {
	w.t.Helper()
	ctx := context.Background()
	var found []string
	all := w.rdb.Scan(ctx, 0, w.prefix+":*", 1000).Iterator()
	for all.Next(ctx) {
		held := all.Val() + "\n" + w.content(all.Val())
		for _, text := range texts {
			if strings.Contains(held, text) {
				found = append(found, all.Val())
				break
			}
		}
	}
	if err := all.Err(); err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// content returns the whole content of a key.
func (w *world) content(key string) string {
	w.t.Helper()
	ctx := context.Background()
	var held any
	var err error
	switch kind := w.rdb.Type(ctx, key).Val(); kind {
	case "string":
		held, err = w.rdb.Get(ctx, key).Result()
	case "hash":
		held, err = w.rdb.HGetAll(ctx, key).Result()
	case "set":
		held, err = w.rdb.SMembers(ctx, key).Result()
	case "zset":
		held, err = w.rdb.ZRange(ctx, key, 0, -1).Result()
	case "stream":
		held, err = w.rdb.XRange(ctx, key, "-", "+").Result()
	case "none": // it has expired
	default:
		w.t.Fatalf("%s is a %s", key, kind)
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		w.t.Fatal(err)
	}
	return fmt.Sprint(held)
}

// remains fails the test if anything of the erased user is left, except the tombstone and
// keys that expire within minutes.
func (w *world) remains(mark string) {
	w.t.Helper()
	ctx := context.Background()
	id := fmt.Sprint(erased)
	for _, key := range w.traces(id, mark) {
		held := w.content(key)
		ttl := w.rdb.PTTL(ctx, key).Val()
		switch {
		case key == w.opts.Partitions.Tombstone(erased) && strings.HasPrefix(held, "map[erased:"):
		case strings.HasSuffix(key, ":u"+id+":live:revoked"):
		case strings.Contains(key, ":ticket:") && 0 < ttl && ttl <= credentials.TicketTTL:
		case strings.HasSuffix(key, ":erasures") && held == "["+id+"]": // the erasure runs once more
		case !strings.Contains(key, id) && !strings.Contains(held, mark) && w.partners(key):
		// Notifications that services sent to the partner belong to the partner.
		case strings.HasSuffix(key, fmt.Sprintf(":u%d:notes", partner)):
		case strings.Contains(key, ":out:") || strings.Contains(key, ":dead"):
			for value := range strings.SplitSeq(held, "map[e:") {
				e, err := outbox.ParseEntry(strings.TrimSpace(value))
				if err == nil && (e.User == erased || content.MessageSender([]byte(e.Body)) == erased) || strings.Contains(value, "kata") {
					w.t.Errorf("%s holds %s", key, value)
				}
			}
		default:
			w.t.Errorf("%s is left, for %v: %.300s", key, ttl, held)
		}
	}
}

// partners reports whether a key holds what the partner has written to the user.
func (w *world) partners(key string) bool {
	for _, name := range []string{"messages", "c:" + model.ConversationID(erased, partner)} {
		if strings.HasSuffix(key, fmt.Sprintf(":u%d:%s", partner, name)) {
			return true
		}
	}
	return false
}

// later sets the inbox's clock ahead, so that delayed work is due.
func later(o *Options) {
	clock := func() time.Time { return time.Now().Add(time.Hour) }
	store := o.Inbox.Options()
	store.Now = clock
	o.Inbox = inbox.New(store)
}

// queue adds an entry of a user to every queue.
func (w *world) queue(user int64, mark string) {
	w.t.Helper()
	ctx := context.Background()
	for p := range w.opts.Partitions.Len() {
		for _, l := range push.Lanes {
			for to, from := range map[int64]string{user: "", partner: "Nama" + mark} {
				if w.opts.Partitions.OfUser(to) != p {
					continue
				}
				e := &outbox.Entry{User: to, Type: "message", From: from, ID: model.NewID(time.Now()), Until: 1 << 50, Expires: 1 << 50}
				e.Body = fmt.Sprintf(`{"type":"message","title":null,"message":"tunda%s","details":{"sender_id":%d,"unread_items":null}}`, mark, user)
				w.rdb.ZAdd(ctx, w.Outbox.DelayedKey(p, l), redis.Z{Score: 1e15, Member: e.Value()})
				w.rdb.XAdd(ctx, &redis.XAddArgs{Stream: w.Outbox.StreamKey(p, l), Values: []any{"e", e.Value()}})
				w.rdb.XAdd(ctx, &redis.XAddArgs{Stream: w.opts.Partitions.Key(p, "dead"), Values: []any{"lane", l.String(), "device", "", "reason", "x", "e", e.Value()}})
			}
		}
	}
	m := &inbox.Message{ID: model.NewID(time.Now()), Conversation: model.ConversationID(user, partner), Sender: user, Receiver: partner, Body: "kata" + mark}
	if _, _, err := w.opts.Inbox.Outbound.Prepare(ctx, m); err != nil {
		w.t.Fatal(err)
	}
	handoff, err := json.Marshal(map[string]any{"m": m})
	if err != nil {
		w.t.Fatal(err)
	}
	_, _, err = w.opts.Inbox.Outbound.StoreFirst(ctx, &inbox.OutboundMessage{ // the process dies before the hand-off
		Message: *m, Once: "id\x00" + m.ID, Frame: []byte("{}"), Handoff: string(handoff),
		Pointer: fmt.Sprintf(`{"p":{"u":%d,"c":%q}}`, m.First(), m.Conversation),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// All data of a user is erased, in all places. Another user's data stays.
func TestErase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	w.fill(erased, "XYZZY")
	w.queue(erased, "XYZZY")
	w.fill(88, "PLUGH")
	w.queue(88, "PLUGH")
	before := len(w.traces("PLUGH", ":u88:"))
	if n := len(w.traces("XYZZY", fmt.Sprintf(":u%d:", erased))); n < 40 {
		t.Fatalf("%d traces before: the test proves little", n)
	}
	if err := w.Janitor.Erase(ctx, erased); err != nil {
		t.Fatal(err)
	}
	w.remains("XYZZY")
	if after := len(w.traces("PLUGH", ":u88:")); after != before {
		t.Errorf("another user has %d traces, had %d", after, before)
	}
	u, err := w.opts.Inbox.Counters.Unreads(ctx, partner)
	if err != nil || u.Messages != 2 { // those of user 88; the erased user's are gone
		t.Errorf("the partner has %d unread messages, %v", u.Messages, err)
	}

	// Later requests are refused, or their data is dropped and the status says so.
	w.publish(fmt.Sprintf(`{"id":"late","type":"dompet","receiver_id":%d,"message":"danaXYZZY"}`, erased))
	if s := w.status("late", func(delivery.ReceiverStatus) bool { return true }); s.Push != "erased" {
		t.Errorf("a later event: %+v", s)
	}
	if found := w.traces("danaXYZZY"); len(found) > 0 {
		t.Errorf("a later event is kept in %v", found)
	}
	if _, err := w.Chat.Send(ctx, partner, chat.OutgoingMessage{Receiver: erased, Body: "halo"}); !errors.Is(err, chat.ErrUnknownReceiver) {
		t.Errorf("a message to the erased user: %v", err)
	}
	if _, err := w.Chat.Send(ctx, erased, chat.OutgoingMessage{Receiver: partner, Body: "haloXYZZY"}); !errors.Is(err, inbox.ErrErased) {
		t.Errorf("a message from the erased user: %v", err)
	}
	if _, err := w.opts.Devices.Register(ctx, erased, devices.Device{Platform: devices.Android, Token: "again"}, nil); !errors.Is(err, account.ErrErased) {
		t.Errorf("a device of the erased user: %v", err)
	}
	if err := w.opts.Credentials.SetToken(ctx, erased, "again"); !errors.Is(err, account.ErrErased) {
		t.Errorf("a credential of the erased user: %v", err)
	}
	if err := w.Janitor.Erase(ctx, erased); err != nil {
		t.Errorf("erasing again: %v", err)
	}

	// A service can add the user again.
	if err := w.opts.Inbox.Profiles.Set(ctx, erased, inbox.Profile{}); err != nil {
		t.Fatal(err)
	}
	w.publish(fmt.Sprintf(`{"id":"anew","type":"dompet","receiver_id":%d,"message":"m"}`, erased))
	if _, err := w.Chat.Send(ctx, erased, chat.OutgoingMessage{Receiver: partner, Body: "halo"}); err != nil {
		t.Error(err)
	}
	if u, err := w.opts.Inbox.Counters.Unreads(ctx, erased); err != nil || u.Notifications != 1 {
		t.Errorf("after the user was added again: %+v, %v", u, err)
	}
	if page, err := w.opts.Inbox.Conversations.Messages(ctx, partner, model.ConversationID(erased, partner), 0, 10); err != nil || page[0].Body != "halo" {
		t.Errorf("the partner has %v, %v", page, err)
	}
}

// dying lets a number of round trips through. All later ones fail, as if the process had
// died.
type dying struct{ left atomic.Int32 }

var errDead = errors.New("the process is dead")

func (*dying) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (d *dying) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if d.left.Add(-1) < 0 {
			cmd.SetErr(errDead)
			return errDead
		}
		return next(ctx, cmd)
	}
}

func (d *dying) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if d.left.Add(-1) < 0 {
			for _, c := range cmds {
				c.SetErr(errDead)
			}
			return errDead
		}
		return next(ctx, cmds)
	}
}

// If the process dies after it has set the tombstone, another process completes the
// erasure.
func TestEraseSurvivesACrash(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for trips := int32(1); ; trips += 5 {
		done := false
		t.Run(fmt.Sprint(trips), func(t *testing.T) {
			w := newWorld(t)
			w.fill(erased, "XYZZY")
			w.queue(erased, "XYZZY")
			first := newWorldOn(t, w.rdb.(*redis.Client).Options().Addr)
			hook := &dying{}
			hook.left.Store(trips)
			first.rdb.AddHook(hook)
			err := first.Janitor.Erase(ctx, erased)
			done = err == nil
			if err != nil && !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			if !w.rdb.HExists(ctx, w.opts.Partitions.Tombstone(erased), "erased").Val() {
				return // it died before it had changed anything
			}
			if err != nil && !errors.Is(w.opts.Inbox.Profiles.Set(ctx, erased, inbox.Profile{}), inbox.ErrErasing) {
				t.Error("made known while being erased")
			}
			second := newWorldOn(t, w.rdb.(*redis.Client).Options().Addr, later)
			if err := second.Janitor.ResumeErasures(ctx); err != nil {
				t.Fatal(err)
			}
			w.remains("XYZZY")
		})
		if done || t.Failed() {
			return
		}
	}
}
