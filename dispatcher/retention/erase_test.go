package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	erased  = int64(770077)
	partner = int64(66)
)

// live gives the erased user and the partner data of every kind.
func (w *world) live() {
	w.t.Helper()
	ctx := context.Background()
	for _, user := range []int64{erased, partner} {
		name := fmt.Sprint("user ", user)
		if err := w.inbox.Profiles.Set(ctx, user, inbox.Profile{Name: &name}); err != nil {
			w.t.Fatal(err)
		}
		d := devices.Device{Platform: devices.Android, Token: fmt.Sprint("token-", user)}
		if _, err := w.devices.Register(ctx, user, d, nil); err != nil {
			w.t.Fatal(err)
		}
		w.notify(user, fmt.Sprint("event-", user))
	}
	w.send(erased, partner, "secret")
	w.send(partner, erased, "answer")
	w.queue(w.outbox.StreamKey(w.partitions.OfUser(erased), push.Bulk), erased)
	p := w.partitions.OfUser(erased)
	w.queue(w.partitions.Key(p, "dead"), erased)
	z := redis.Z{Score: 1e15, Member: (&outbox.Entry{User: erased, ID: "x", Body: "{}"}).Value()}
	if err := w.redis.ZAdd(ctx, w.outbox.DelayedKey(p, push.Urgent), z).Err(); err != nil {
		w.t.Fatal(err)
	}
	receipt := redis.Z{Score: 1e15, Member: fmt.Sprintf(`{"r":{"User":%d,"Conversation":"c","Message":"","UpTo":"m","Partner":%d}}`, partner, erased)}
	if err := w.redis.ZAdd(ctx, w.partitions.Key(w.partitions.OfUser(partner), "handoffs"), receipt).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// queue adds an entry to a stream.
func (w *world) queue(stream string, user int64) {
	w.t.Helper()
	e := &outbox.Entry{User: user, ID: "x", Body: "{}"}
	if err := w.redis.XAdd(context.Background(), &redis.XAddArgs{Stream: stream, Values: []any{"e", e.Value()}}).Err(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) send(from, to int64, body string) {
	w.t.Helper()
	if _, err := w.chat.Send(context.Background(), from, chat.OutgoingMessage{Receiver: to, Body: body}); err != nil {
		w.t.Fatal(err)
	}
}

// traces returns the keys whose name or content contains the erased user's id or words.
func (w *world) traces() []string {
	w.t.Helper()
	ctx := context.Background()
	var found []string
	all := w.redis.Scan(ctx, 0, w.prefix+":*", 1000).Iterator()
	for all.Next(ctx) {
		key := all.Val()
		held := key
		switch w.redis.Type(ctx, key).Val() {
		case "string":
			held += w.redis.Get(ctx, key).Val()
		case "hash":
			held += fmt.Sprint(w.redis.HGetAll(ctx, key).Val())
		case "set":
			held += fmt.Sprint(w.redis.SMembers(ctx, key).Val())
		case "zset":
			held += fmt.Sprint(w.redis.ZRange(ctx, key, 0, -1).Val())
		case "stream":
			held += fmt.Sprint(w.redis.XRange(ctx, key, "-", "+").Val())
		}
		if strings.Contains(held, strconv.FormatInt(erased, 10)) || strings.Contains(held, "secret") {
			found = append(found, key)
		}
	}
	if err := all.Err(); err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// remains fails the test if anything is left of the erased user, except the keys that
// record the erasure and the partner's own data with the partner's message.
func (w *world) remains() {
	w.t.Helper()
	own := w.partitions.UserKey(partner, "")
	for _, key := range w.traces() {
		switch {
		case key == w.partitions.Tombstone(erased):
		case strings.HasSuffix(key, fmt.Sprintf(":u%d:live:revoked", erased)):
		case strings.HasSuffix(key, ":erasures"):
		case key == own+"messages", strings.HasPrefix(key, own+"c:"), strings.HasPrefix(key, own+"e:"):
		default:
			w.t.Errorf("left: %s", key)
		}
	}
	if _, err := w.inbox.Conversations.Message(context.Background(), partner, w.only()); err != nil {
		w.t.Errorf("the partner's message: %v", err)
	}
	if entries := w.entries(); len(entries) > 0 {
		w.t.Errorf("queued: %v", entries)
	}
}

// only returns the id of the only message that the partner has.
func (w *world) only() string {
	w.t.Helper()
	page, err := w.inbox.Conversations.Messages(context.Background(), partner, model.ConversationID(erased, partner), 0, 10)
	if err != nil || len(page) != 1 || page[0].Sender != partner {
		w.t.Fatalf("the partner has %+v, %v", page, err)
	}
	return page[0].ID
}

// entries returns the queued and delayed entries.
func (w *world) entries() (values []string) {
	w.t.Helper()
	for p := range w.partitions.Len() {
		err := w.outbox.EachEntry(context.Background(), p, func(_, value string) { values = append(values, value) })
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return values
}

// A chatRecorder records the conversations that are caught up.
type chatRecorder struct {
	Chat
	caughtUp []string
}

func (r *chatRecorder) CatchUp(ctx context.Context, first int64, conversation string) error {
	r.caughtUp = append(r.caughtUp, fmt.Sprint(first, " ", conversation))
	return r.Chat.CatchUp(ctx, first, conversation)
}

func TestErase(t *testing.T) {
	recorder := &chatRecorder{}
	w := newWorld(t, "first", 0, func(o *Options) { recorder.Chat, o.Chat = o.Chat, recorder })
	w.live()
	if n := len(w.traces()); n < 15 {
		t.Fatalf("only %d traces to erase", n)
	}
	if err := w.Erase(context.Background(), erased); err != nil {
		t.Fatal(err)
	}
	w.remains()
	if !slices.Equal(w.broadcasts.unlisted, []int64{erased}) {
		t.Errorf("unlisted %v", w.broadcasts.unlisted)
	}
	if want := []string{fmt.Sprint(partner, " ", model.ConversationID(partner, erased))}; !slices.Equal(recorder.caughtUp, want) {
		t.Errorf("caught up %v, want %v", recorder.caughtUp, want)
	}
	if got := w.erasure(erased); got != "done" {
		t.Errorf("the tombstone says %q", got)
	}
	// Erasing again, or erasing an unknown user, is no error.
	for _, user := range []int64{erased, 4711} {
		if err := w.Erase(context.Background(), user); err != nil {
			t.Errorf("user %d: %v", user, err)
		}
	}
}

// The partner has sent a message, but the request died before the partner's own copy was
// stored. Erasing the other user still stores it there.
func TestErasureDeliversWhatThePartnerHasSent(t *testing.T) {
	w := newWorld(t, "first", 0)
	ctx := context.Background()
	const lower = int64(12) // this user has the first copy
	for _, user := range []int64{lower, partner} {
		if err := w.inbox.Profiles.Set(ctx, user, inbox.Profile{}); err != nil {
			t.Fatal(err)
		}
	}
	m := inbox.Message{
		ID: model.NewID(time.Now()), Conversation: model.ConversationID(lower, partner),
		Sender: partner, Receiver: lower, Body: "answer",
	}
	if _, _, err := w.inbox.Outbound.Prepare(ctx, &m); err != nil {
		t.Fatal(err)
	}
	handoff, err := json.Marshal(map[string]any{"m": m})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.inbox.Outbound.StoreFirst(ctx, &inbox.OutboundMessage{
		Message: m, Once: m.ID, Frame: []byte("{}"), Handoff: string(handoff),
		Pointer: fmt.Sprintf(`{"p":{"u":%d,"c":%q}}`, lower, m.Conversation),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.inbox.Conversations.Message(ctx, partner, m.ID); !errors.Is(err, inbox.ErrNotFound) {
		t.Fatalf("before: %v", err)
	}
	if err := w.Erase(ctx, lower); err != nil {
		t.Fatal(err)
	}
	if _, err := w.inbox.Conversations.Message(ctx, partner, m.ID); err != nil {
		t.Errorf("the partner's message: %v", err)
	}
	for p := range w.partitions.Len() {
		if left := w.redis.ZRange(ctx, w.partitions.Key(p, "handoffs"), 0, -1).Val(); len(left) > 0 {
			t.Errorf("hand-offs are left: %v", left)
		}
	}
}

// failing is a Broadcasts that cannot unlist any user.
type failing struct{ err error }

func (f failing) Unlist(context.Context, int64) error { return f.err }

// When a process cannot finish an erasure, another process does.
func TestInterruptedErasure(t *testing.T) {
	away := errors.New("away")
	w := newWorld(t, "first", 0, func(o *Options) { o.Broadcasts = failing{away} })
	ctx := context.Background()
	w.live()
	if err := w.Erase(ctx, erased); !errors.Is(err, away) {
		t.Fatal(err)
	}
	second := newWorld(t, "second", erasureTimeout+time.Second)
	if err := second.step(ctx); err != nil {
		t.Fatal(err)
	}
	w.remains()
	// The erasure runs once more, for requests that were in progress when the tombstone was
	// set.
	w.queue(w.partitions.Key(w.partitions.OfUser(erased), "dead"), erased)
	third := newWorld(t, "second", erasureTimeout+10*time.Minute)
	if err := third.step(ctx); err != nil {
		t.Fatal(err)
	}
	w.remains()
	due, err := newWorld(t, "fourth", 365*day).inbox.Eraser.Due(ctx, 1)
	if err != nil || len(due) > 0 || w.erasure(erased) != "done" {
		t.Errorf("to be erased: %v, %v; the tombstone says %q", due, err, w.erasure(erased))
	}
}

func TestEntryConcerns(t *testing.T) {
	message := content.Body{Type: "message", Details: content.MessageDetails("m", "c", 15, "halo", "")}
	other := content.Body{Type: "discount", Details: []byte(`{"sender_id":15}`)}
	for name, c := range map[string]struct {
		entry *outbox.Entry
		user  int64
		want  bool
	}{
		"its receiver":                 {&outbox.Entry{User: 66, Body: "{}"}, 66, true},
		"a number that is no user":     {&outbox.Entry{User: 66, Expires: 15, Body: "{}"}, 15, false},
		"part of another id":           {&outbox.Entry{User: 661, Body: "{}"}, 66, false},
		"the sender of a message":      {&outbox.Entry{User: 66, From: "Me Ow", Body: string(message.Stored())}, 15, true},
		"named by a service":           {&outbox.Entry{User: 66, Body: string(other.Stored())}, 15, false},
		"the receiver, body is broken": {&outbox.Entry{User: 66, From: "Me Ow", Body: "{"}, 66, true},
	} {
		if got := entryConcerns(c.entry.Value(), c.user); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if entryConcerns("66 without a body", 66) {
		t.Error("an entry that cannot be read concerns somebody")
	}
}
