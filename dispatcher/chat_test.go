package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/inbox"
)

// newChat returns a world in which users 66, 15 and the administrator 1 are known.
func newChat(t *testing.T, change ...func(*Options)) *world {
	w := newWorld(t, append([]func(*Options){func(o *Options) { o.Admins = []int64{1} }}, change...)...)
	for user, name := range map[int64]string{66: "Testing Account", 15: "Me Ow", 1: "Admin"} {
		if err := w.Inbox.SetProfile(context.Background(), user, inbox.Profile{Name: &name}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) send(from, to int64, text string) string {
	w.t.Helper()
	id, err := w.Send(context.Background(), from, OutgoingMessage{Receiver: to, Body: text})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) unreadMessages(user int64) int {
	w.t.Helper()
	u, err := w.Inbox.Unreads(context.Background(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Messages
}

func TestSendRefuses(t *testing.T) {
	w := newChat(t)
	for name, c := range map[string]struct {
		m    OutgoingMessage
		want any
	}{
		"no text":          {OutgoingMessage{Receiver: 15, Body: " \n"}, "body_bb is required"},
		"too long":         {OutgoingMessage{Receiver: 15, Body: strings.Repeat("é", MaxMessage+1)}, "body_bb must have at most 4000 characters"},
		"to oneself":       {OutgoingMessage{Receiver: 66, Body: "m"}, "receiver_id must be somebody else"},
		"a category":       {OutgoingMessage{Receiver: 15, Body: "m", Category: 7}, "category must be a number from 0 to 6"},
		"to a stranger":    {OutgoingMessage{Receiver: 404, Body: "m"}, ErrUnknownReceiver},
		"to no admin":      {OutgoingMessage{Receiver: 15, Body: "m", Category: 1}, ErrAdminsOnly},
		"an odd client id": {OutgoingMessage{Receiver: 15, Body: "m", ClientID: strings.Repeat("x", 129)}, "client_id must have at most 128 characters, none of them control characters"},
	} {
		_, err := w.Send(context.Background(), 66, c.m)
		switch want := c.want.(type) {
		case error:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
		case string:
			if err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
	if _, err := w.Send(context.Background(), 66, OutgoingMessage{Receiver: 1, Body: "m", Category: 1}); err != nil {
		t.Errorf("to an administrator: %v", err)
	}
}

func TestMessageIsPushed(t *testing.T) {
	w := newChat(t)
	w.register(66, devices.IOS, "A")
	w.run()
	first := w.send(15, 66, "[b]mantab[/b] gan")
	sent := w.ios.wait(t, "push", count(1))
	var got map[string]any
	if err := json.Unmarshal(object(sent[0].Data), &got); err != nil {
		t.Fatal(err)
	}
	conversation := inbox.ConversationID(15, 66)
	want := map[string]any{
		"type": "message", "receiver_id": 66.0, "message": "Anda mendapatkan pesan dari Me Ow",
		"details": map[string]any{
			"id": first, "inbox_id": conversation, "sender_id": 15.0, "message": "mantab gan",
			"unread_items": map[string]any{
				"messages": 1.0, "transactions_need_action_as_seller": 0.0, "transactions_need_action_as_buyer": 0.0,
				"offers_need_action_as_seller": 0.0, "offers_need_action_as_buyer": 0.0,
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w.send(15, 66, "halo")
	sent = w.ios.wait(t, "second push", count(2))
	if sent[0].Body != "Anda mendapatkan pesan dari Me Ow" || sent[1].Body != "2 pesan dari Me Ow" ||
		sent[0].Tag != sent[1].Tag || sent[0].Thread != sent[1].Thread || sent[1].Badge != 2 || sent[0].Lane != Chat {
		t.Errorf("pushes %+v and %+v", sent[0], sent[1])
	}
}

// The process dies between the scripts of the two copies, whichever is first:
// another one hands the message over.
func TestCrashBetweenTheTwoCopies(t *testing.T) {
	for name, c := range map[string]struct{ from, to int64 }{
		"the receiver's is missing": {15, 66},
		"the sender's is missing":   {66, 15},
	} {
		t.Run(name, func(t *testing.T) {
			w := newChat(t)
			w.register(c.to, devices.Android, "A")
			ctx := context.Background()
			m := inbox.Message{ID: inbox.NewID(time.Now()), Conversation: inbox.ConversationID(15, 66), Sender: c.from, Receiver: c.to, Body: "halo"}
			profiles, _, err := w.Inbox.Prepare(ctx, &m)
			if err != nil {
				t.Fatal(err)
			}
			if s, _, err := w.storeFirst(ctx, &m, profiles); s == nil || err != nil {
				t.Fatal(err)
			}
			if page, err := w.Inbox.Messages(ctx, 66, m.Conversation, 0, 10); err == nil {
				t.Fatalf("before the hand-off: %v", page)
			}
			w.run()
			w.android.wait(t, "push", count(1))
			w.eventually("nothing is pending", func() bool {
				due, err := w.Inbox.Pending(ctx, m.First(), m.Conversation, 1)
				return err == nil && len(due) == 0
			})
			if n := w.unreadMessages(c.to); n != 1 {
				t.Errorf("%d received", n)
			}
			for _, user := range []int64{15, 66} {
				page, err := w.Inbox.Messages(ctx, user, m.Conversation, 0, 10)
				if err != nil || len(page) != 1 || page[0].ID != m.ID {
					t.Errorf("page of %d: %+v, %v", user, page, err)
				}
			}
		})
	}
}

// The sender repeats a message whose request has died: that hands it over.
func TestRepeatedMessageIsHandedOver(t *testing.T) {
	w := newChat(t)
	ctx := context.Background()
	m := inbox.Message{ID: inbox.NewID(time.Now()), Conversation: inbox.ConversationID(15, 66), Sender: 15, Receiver: 66, Body: "satu", ClientID: "c1"}
	profiles, _, err := w.Inbox.Prepare(ctx, &m)
	if err != nil {
		t.Fatal(err)
	}
	if s, _, err := w.storeFirst(ctx, &m, profiles); s == nil || err != nil {
		t.Fatal(err)
	}
	for range 2 {
		id, err := w.Send(ctx, 15, OutgoingMessage{Receiver: 66, Body: "satu", ClientID: "c1"})
		if err != nil || id != m.ID {
			t.Fatalf("sent again as %s, %v; want %s", id, err, m.ID)
		}
	}
	if n := w.unreadMessages(66); n != 1 {
		t.Errorf("%d received", n)
	}
	next := w.send(15, 66, "dua")
	frames, _, _, err := w.Inbox.Replay(ctx, 66, 0)
	if err != nil || len(frames) != 2 || frames[0].ID != m.ID || frames[1].ID != next {
		t.Errorf("the receiver's log has %+v, %v", frames, err)
	}
	handoffs := w.Partitions.Key(w.Partitions.OfUser(15), "handoffs")
	if n, err := w.Redis.ZCard(ctx, handoffs).Result(); err != nil || n != 0 {
		t.Errorf("%d hand-offs are left, %v", n, err)
	}
}

// Reading up to an id that is in nobody's future leaves nothing behind.
func TestReadingBeyondTheNewestMessage(t *testing.T) {
	w := newChat(t)
	ctx := context.Background()
	w.send(66, 15, "halo")
	if err := w.ReadConversation(ctx, 15, inbox.ConversationID(66, 15), strings.Repeat("f", inbox.IDLen)); err != nil {
		t.Fatal(err)
	}
	if n := w.unreadMessages(15); n != 0 {
		t.Errorf("%d unread", n)
	}
	for p := range w.Partitions.Len() {
		if left := w.rdb.ZRange(ctx, w.Partitions.Key(p, "handoffs"), 0, -1).Val(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// A message that may not be sent any more is not sent again, nor is another one in
// its place.
func TestRepeatOfAMessageThatMayNotBeSentAnyMore(t *testing.T) {
	w := newChat(t)
	ctx := context.Background()
	admin := true
	setAdmin := func() {
		if err := w.Inbox.SetProfile(ctx, 15, inbox.Profile{Admin: &admin}); err != nil {
			t.Fatal(err)
		}
	}
	m := OutgoingMessage{Receiver: 15, Body: "satu", Category: 1, ClientID: "c1"}
	other := OutgoingMessage{Receiver: 15, Body: "dua", ClientID: "c1"}
	admin = false
	setAdmin()
	if _, err := w.Send(ctx, 66, m); !errors.Is(err, ErrAdminsOnly) {
		t.Fatal(err)
	}
	admin = true
	setAdmin()
	id, err := w.Send(ctx, 66, m)
	if err != nil {
		t.Fatal(err)
	}
	admin = false
	setAdmin()
	if again, err := w.Send(ctx, 66, m); err != nil || again != id {
		t.Errorf("the repeat: %s, %v", again, err)
	}
	if _, err := w.Send(ctx, 66, other); !errors.Is(err, inbox.ErrConflict) {
		t.Errorf("another one under its client id: %v", err)
	}
	// Even if the binding is lost, the first copy knows better.
	if err := w.Inbox.Unbind(ctx, &inbox.Message{Sender: 66, ClientID: "c1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Send(ctx, 66, other); !errors.Is(err, inbox.ErrConflict) {
		t.Errorf("another one when the binding is lost: %v", err)
	}
}

// A failover loses the first copy's newest message, and a gateway whose clock is
// behind sends the next one: it reaches both.
func TestMessageAfterAFailover(t *testing.T) {
	var ahead time.Duration
	w := newChat(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(ahead) } })
	ctx := context.Background()
	conversation := inbox.ConversationID(66, 15)
	w.send(15, 66, "nol")
	heads := w.Partitions.Key(w.Partitions.OfUser(15), "u15:heads")
	before := w.rdb.HGet(ctx, heads, conversation).Val()
	ahead = 300 * time.Millisecond
	lost := w.send(15, 66, "satu")
	if err := w.Inbox.DeleteMessage(ctx, 15, lost); err != nil { // and what else the script wrote
		t.Fatal(err)
	}
	if before == "" || w.rdb.HSet(ctx, heads, conversation, before).Err() != nil {
		t.Fatal("no head")
	}
	ahead = 0
	id := w.send(15, 66, "dua")
	for _, user := range []int64{15, 66} {
		if _, err := w.Inbox.Message(ctx, user, id); err != nil {
			t.Errorf("user %d: %v", user, err)
		}
	}
}

// Both write at once, through processes whose clocks differ: both see everything,
// in the order of the ids.
func TestMessagesComeInTheOrderOfTheirIDs(t *testing.T) {
	w := newChat(t)
	behind := newWorld(t, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(-100 * time.Millisecond) }
	})
	const each = 12
	var wg sync.WaitGroup
	for i, d := range []*Dispatcher{w.Dispatcher, behind.Dispatcher, w.Dispatcher, behind.Dispatcher} {
		from, to := int64(15), int64(66)
		if i >= 2 {
			from, to = to, from
		}
		wg.Go(func() {
			for n := range each {
				if _, err := d.Send(context.Background(), from, OutgoingMessage{Receiver: to, Body: fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var first []string
	for _, user := range []int64{15, 66} {
		frames, _, _, err := w.Inbox.Replay(context.Background(), user, 0)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, f := range frames {
			ids = append(ids, f.ID)
		}
		if !slices.IsSorted(ids) || len(ids) != 4*each {
			t.Errorf("user %d was told of %d messages, in order: %v", user, len(ids), slices.IsSorted(ids))
		}
		if first == nil {
			first = ids
		} else if diff := cmp.Diff(first, ids); diff != "" {
			t.Error(diff)
		}
	}
}

// The same for a read receipt.
func TestCrashBetweenReadingAndItsReceipt(t *testing.T) {
	w := newChat(t)
	ctx := context.Background()
	id := w.send(15, 66, "halo")
	r := inbox.Reading{User: 66, Conversation: inbox.ConversationID(15, 66), UpTo: id, Partner: 15}
	r.Handoff = handoff{Reading: &r}.String()
	if _, err := w.Inbox.ReadMessages(ctx, r); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.eventually("the sender knows", func() bool {
		m, err := w.Inbox.Message(ctx, 15, id)
		if err != nil {
			t.Fatal(err)
		}
		return m.Read
	})
}

// A push waits while a live socket may show the message, and is dropped when one
// says that it was seen or read; otherwise it goes out after the grace.
func TestGrace(t *testing.T) {
	for name, c := range map[string]struct {
		attend func(w *world, id string)
		pushed bool
	}{
		"nobody looks": {func(*world, string) {}, true},
		"read": {func(w *world, id string) {
			if err := w.ReadConversation(context.Background(), 66, inbox.ConversationID(15, 66), ""); err != nil {
				w.t.Fatal(err)
			}
		}, false},
		"seen": {func(w *world, id string) {
			if err := w.Inbox.SeenUpTo(context.Background(), 66, time.Now().Add(time.Hour).UnixMicro()); err != nil {
				w.t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newChat(t, func(o *Options) { o.LiveGrace = 700 * time.Millisecond })
			w.register(66, devices.Android, "A")
			sub := w.rdb.Subscribe(context.Background(), w.Inbox.Channel(66))
			defer sub.Close()
			if _, err := sub.Receive(context.Background()); err != nil {
				t.Fatal(err)
			}
			w.run()
			id := w.send(15, 66, "halo")
			c.attend(w, id)
			if out, delayed, _ := w.left(); out != 0 || delayed != 1 {
				t.Errorf("%d entries, %d delayed: the push does not wait", out, delayed)
			}
			w.settled()
			if n := len(w.android.sent); (n == 1) != c.pushed {
				t.Errorf("%d pushes", n)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	w := newChat(t)
	ctx := context.Background()
	w.publish(promo)
	first := w.send(15, 66, "satu")
	gone := w.send(15, 66, "dua")
	_, newest, _, err := w.Replay(ctx, 66, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Inbox.DeleteMessage(ctx, 66, gone); err != nil {
		t.Fatal(err)
	}
	logged, _, _, err := w.Inbox.Replay(ctx, 66, 0)
	if err != nil || len(logged) != 3 {
		t.Fatal(logged, err)
	}
	frames, last, known, err := w.Replay(ctx, 66, 0)
	if err != nil || !known || last != newest || len(frames) != 3 {
		t.Fatalf("%d frames, %d, %v, %v", len(frames), last, known, err)
	}
	prev := int64(0)
	for i, f := range frames {
		var got struct {
			Op             string
			Seq, Prev      int64
			Event          struct{ Type string }
			InstantMessage struct{ ID, Body string } `json:"instant_message"`
		}
		if err := json.Unmarshal(f.Text, &got); err != nil {
			t.Fatalf("%s: %v", f.Text, err)
		}
		if got.Op != "event" || got.Seq != f.Seq || got.Prev != prev || got.Event.Type != []string{"discount", "message", "deleted"}[i] {
			t.Errorf("frame %s after %d", f.Text, prev)
		}
		if i == 1 && (got.InstantMessage.ID != first || got.InstantMessage.Body != "satu") {
			t.Errorf("message frame %s", f.Text)
		}
		prev = f.Seq
	}
	for since, want := range map[int64]int{frames[0].Seq: 2, frames[2].Seq: 0} {
		if f, _, known, err := w.Replay(ctx, 66, since); len(f) != want || !known || err != nil {
			t.Errorf("since %d: %d frames, %v, %v", since, len(f), known, err)
		}
	}
	if _, _, known, err := w.Replay(ctx, 66, 12345); known || err != nil {
		t.Errorf("a number that never was: known %v, %v", known, err)
	}
}

func TestReplayBeyondTheLog(t *testing.T) {
	w := newChat(t)
	ctx := context.Background()
	var first int64
	for i := range 400 {
		w.publish(strings.Replace(promo, "promo-1", fmt.Sprint("p", i), 1))
		if i == 0 {
			frames, _, _, err := w.Replay(ctx, 66, 0)
			if err != nil {
				t.Fatal(err)
			}
			first = frames[0].Seq
		}
	}
	if _, _, known, err := w.Replay(ctx, 66, first); known || err != nil {
		t.Errorf("known %v, %v: the log does not reach back so far", known, err)
	}
}
