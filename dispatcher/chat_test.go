package dispatcher

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// newChat returns a world in which the users 66 and 15 and the administrator 1 are known.
func newChat(t *testing.T, change ...func(*Options)) *world {
	w := newWorld(t, append([]func(*Options){func(o *Options) { o.Admins = []int64{1} }}, change...)...)
	for user, name := range map[int64]string{66: "Testing Account", 15: "Me Ow", 1: "Admin"} {
		if err := w.opts.Inbox.Profiles.Set(context.Background(), user, inbox.Profile{Name: &name}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) send(from, to int64, text string) string {
	w.t.Helper()
	id, err := w.Chat.Send(context.Background(), from, chat.OutgoingMessage{Receiver: to, Body: text})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func TestMessageIsPushed(t *testing.T) {
	t.Parallel()
	w := newChat(t)
	w.register(66, devices.IOS, "A")
	w.run()
	first := w.send(15, 66, "[b]mantab[/b] gan")
	sent := w.ios.wait(t, "push", count(1))
	var got map[string]any
	if err := json.Unmarshal(dataJSON(sent[0].Data), &got); err != nil {
		t.Fatal(err)
	}
	conversation := model.ConversationID(15, 66)
	want := map[string]any{
		"type": "message", "receiver_id": 66.0, "message": "Anda mendapatkan pesan dari Me Ow",
		"details": map[string]any{
			"id": first, "inbox_id": conversation, "sender_id": 15.0, "message": "mantab gan",
			"unread_items": map[string]any{
				"messages": 1.0, "transactions_need_action_as_seller": 0.0, "transactions_need_action_as_buyer": 0.0,
				"offers_need_action_as_seller": 0.0, "offers_need_action_as_buyer": 0.0,
			},
		},
		"notification_id": first, // a message's own id
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w.send(15, 66, "halo")
	sent = w.ios.wait(t, "second push", count(2))
	if sent[0].Body != "Anda mendapatkan pesan dari Me Ow" || sent[1].Body != "2 pesan dari Me Ow" ||
		sent[0].Tag != sent[1].Tag || sent[0].Thread != sent[1].Thread || sent[1].Badge != 2 || sent[0].Lane != push.Chat {
		t.Errorf("pushes %+v and %+v", sent[0], sent[1])
	}
}

// A push is delayed while a live socket may show the message. It is dropped when a socket
// reports that the message was seen or read. Otherwise it is sent after the grace period.
func TestGrace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attend func(w *world, id string)
		pushed bool
	}{
		"nobody looks": {func(*world, string) {}, true},
		"read": {func(w *world, id string) {
			if err := w.Chat.ReadConversation(context.Background(), 66, model.ConversationID(15, 66), ""); err != nil {
				w.t.Fatal(err)
			}
		}, false},
		"seen": {func(w *world, id string) {
			if err := w.opts.Inbox.Live.MarkSeen(context.Background(), 66, time.Now().Add(time.Hour).UnixMicro()); err != nil {
				w.t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newChat(t, func(o *Options) { o.LiveGrace = time.Hour })
			w.register(66, devices.Android, "A")
			sub := w.rdb.Subscribe(context.Background(), w.opts.Inbox.Live.Channel(66))
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
			w.makeDue(w.Outbox.DelayedKey(w.opts.Partitions.OfUser(66), push.Chat)) // do not wait for an hour
			w.settled()
			if n := len(w.android.pushes()); (n == 1) != c.pushed {
				t.Errorf("%d pushes", n)
			}
		})
	}
}

// Delayed messages of one conversation cause a single push, which shows the newest.
func TestGraceOfARunOfMessages(t *testing.T) {
	t.Parallel()
	w := newChat(t, func(o *Options) { o.LiveGrace = time.Hour })
	w.register(66, devices.Android, "A")
	sub := w.rdb.Subscribe(context.Background(), w.opts.Inbox.Live.Channel(66))
	defer sub.Close()
	if _, err := sub.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	var newest string
	for range 3 {
		newest = w.send(15, 66, "halo")
	}
	w.makeDue(w.Outbox.DelayedKey(w.opts.Partitions.OfUser(66), push.Chat)) // do not wait for an hour
	w.run()
	w.settled()
	if len(w.android.pushes()) != 1 || w.android.pushes()[0].Body != "3 pesan dari Me Ow" {
		t.Fatalf("%d pushes", len(w.android.pushes()))
	}
	if d := string(dataJSON(w.android.pushes()[0].Data)); !strings.Contains(d, newest) {
		t.Errorf("it does not show the newest: %s", d)
	}
}
