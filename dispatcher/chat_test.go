package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
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

// newChat returns a world in which users 66, 15 and the administrator 1 are known.
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

func (w *world) unreadMessages(user int64) int {
	w.t.Helper()
	u, err := w.opts.Inbox.Counters.Unreads(context.Background(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Messages
}

func TestMessageIsPushed(t *testing.T) {
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

// A push waits while a live socket may show the message, and is dropped when one
// says that it was seen or read; otherwise it goes out after the grace.
func TestGrace(t *testing.T) {
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
			w.makeDue(w.Outbox.DelayedKey(w.opts.Partitions.OfUser(66), Chat)) // in place of the hour
			w.settled()
			if n := len(w.android.sent); (n == 1) != c.pushed {
				t.Errorf("%d pushes", n)
			}
		})
	}
}

// Messages of a conversation that have waited together ring once, with the newest.
func TestGraceOfARunOfMessages(t *testing.T) {
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
	w.makeDue(w.Outbox.DelayedKey(w.opts.Partitions.OfUser(66), Chat)) // in place of the hour
	w.run()
	w.settled()
	if len(w.android.sent) != 1 || w.android.sent[0].Body != "3 pesan dari Me Ow" {
		t.Fatalf("%d pushes", len(w.android.sent))
	}
	if d := string(dataJSON(w.android.sent[0].Data)); !strings.Contains(d, newest) {
		t.Errorf("it does not show the newest: %s", d)
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
	if err := w.opts.Inbox.Conversations.DeleteMessage(ctx, 66, gone); err != nil {
		t.Fatal(err)
	}
	logged, _, _, err := w.opts.Inbox.Live.Replay(ctx, 66, 0)
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
