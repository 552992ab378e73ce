package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestSendRefuses(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		m    OutgoingMessage
		want any
	}{
		"no text":          {OutgoingMessage{Receiver: 15, Body: " \n"}, "body_bb is required"},
		"nothing visible":  {OutgoingMessage{Receiver: 15, Body: "\u202e\u200b\u2069"}, "body_bb is required"},
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

// BBCode is kept, and compared under a client id, as it was sent. What readers see of it is
// cleaned.
func TestBodyIsKeptAsItWasSent(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	const sent, shown = "[b]\u202ehalo\u202c[/b] می\u200cخواهم 👩\u200d👧", "<strong>halo</strong> می\u200cخواهم 👩\u200d👧"
	m := OutgoingMessage{Receiver: 66, Body: sent, ClientID: "c1"}
	id, err := w.Send(ctx, 15, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []int64{15, 66} {
		kept, err := w.inbox.Conversations.Message(ctx, user, id)
		if err != nil || kept.Body != sent {
			t.Errorf("kept for %d: %q, %v", user, kept.Body, err)
		}
		if got := kept.View(inbox.Profile{}, inbox.Profile{}, time.UTC).Body; got != shown {
			t.Errorf("shown to %d: %q, want %q", user, got, shown)
		}
	}
	if again, err := w.Send(ctx, 15, m); again != id || err != nil {
		t.Errorf("a repeat is %s, %v", again, err)
	}
	m.Body = "[b]halo[/b] می\u200cخواهم 👩\u200d👧"
	if _, err := w.Send(ctx, 15, m); !errors.Is(err, inbox.ErrConflict) {
		t.Errorf("other BBCode that shows the same: %v", err)
	}
}

// The process dies between the scripts that write the two copies, whichever copy is first.
// Another process hands the message over.
func TestCrashBetweenTheTwoCopies(t *testing.T) {
	for name, c := range map[string]struct{ from, to int64 }{
		"the receiver's is missing": {15, 66},
		"the sender's is missing":   {66, 15},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.register(c.to)
			ctx := context.Background()
			m := inbox.Message{ID: model.NewID(time.Now()), Conversation: model.ConversationID(15, 66), Sender: c.from, Receiver: c.to, Body: "halo"}
			profiles, _, err := w.inbox.Outbound.Prepare(ctx, &m)
			if err != nil {
				t.Fatal(err)
			}
			if s, _, err := w.storeFirst(ctx, &m, profiles); s == nil || err != nil {
				t.Fatal(err)
			}
			if page, err := w.inbox.Conversations.Messages(ctx, 66, m.Conversation, 0, 10); err == nil {
				t.Fatalf("before the hand-off: %v", page)
			}
			w.expire()
			w.run()
			w.eventually("nothing is pending", func() bool {
				due, err := w.inbox.Outbound.Pending(ctx, m.First(), m.Conversation, 1)
				return err == nil && len(due) == 0
			})
			if n := w.unreadMessages(c.to); n != 1 {
				t.Errorf("%d received", n)
			}
			if all := w.entries(); len(all["out:chat"]) != 1 || all["out:chat"][0].User != c.to || all["out:chat"][0].ID != m.ID {
				t.Errorf("pushes %+v", all)
			}
			for _, user := range []int64{15, 66} {
				page, err := w.inbox.Conversations.Messages(ctx, user, m.Conversation, 0, 10)
				if err != nil || len(page) != 1 || page[0].ID != m.ID {
					t.Errorf("page of %d: %+v, %v", user, page, err)
				}
			}
		})
	}
}

// When the sender repeats a message whose request has died, the message is handed over.
func TestRepeatedMessageIsHandedOver(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	m := inbox.Message{ID: model.NewID(time.Now()), Conversation: model.ConversationID(15, 66), Sender: 15, Receiver: 66, Body: "satu", ClientID: "c1"}
	profiles, _, err := w.inbox.Outbound.Prepare(ctx, &m)
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
	frames, _, _, err := w.inbox.Live.Replay(ctx, 66, 0)
	if err != nil || len(frames) != 2 || frames[0].ID != m.ID || frames[1].ID != next {
		t.Errorf("the receiver's log has %+v, %v", frames, err)
	}
	if left := w.handoffs(); len(left) > 0 {
		t.Errorf("hand-offs are left: %v", left)
	}
}

// When a sent message would no longer be allowed, repeating it does not send it again.
// Another message with the same client id is not sent, either.
func TestRepeatOfAMessageThatMayNotBeSentAnyMore(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	admin := true
	setAdmin := func() {
		if err := w.inbox.Profiles.Set(ctx, 15, inbox.Profile{Admin: &admin}); err != nil {
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
	// Even when the binding of the client id is lost, the first copy detects the conflict.
	if err := w.inbox.Outbound.ReleaseClientID(ctx, &inbox.Message{Sender: 66, ClientID: "c1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Send(ctx, 66, other); !errors.Is(err, inbox.ErrConflict) {
		t.Errorf("another one when the binding is lost: %v", err)
	}
}

// A failover loses the newest message of the first copy. The gateway that sends the next
// message has a clock that is behind. That message still reaches both copies.
func TestMessageAfterAFailover(t *testing.T) {
	var ahead time.Duration
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(ahead) } })
	ctx := context.Background()
	conversation := model.ConversationID(66, 15)
	w.send(15, 66, "nol")
	heads := w.partitions.Key(w.partitions.OfUser(15), "u15:heads")
	before := w.rdb.HGet(ctx, heads, conversation).Val()
	ahead = time.Hour
	lost := w.send(15, 66, "satu")
	if err := w.inbox.Conversations.DeleteMessage(ctx, 15, lost); err != nil { // and everything else that the script wrote
		t.Fatal(err)
	}
	if before == "" || w.rdb.HSet(ctx, heads, conversation, before).Err() != nil {
		t.Fatal("no head")
	}
	ahead = 0
	id := w.send(15, 66, "dua")
	for _, user := range []int64{15, 66} {
		if _, err := w.inbox.Conversations.Message(ctx, user, id); err != nil {
			t.Errorf("user %d: %v", user, err)
		}
	}
}

// Both users write at the same time, through processes with different clocks. Both see all
// messages in the order of the ids.
func TestMessagesComeInTheOrderOfTheirIDs(t *testing.T) {
	w := newWorld(t)
	behind := newWorld(t, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(-100 * time.Millisecond) }
	})
	const each = (maxProposals - 1) / 3 // few enough that no message is refused because of concurrent ones
	var wg sync.WaitGroup
	for i, chat := range []*Chat{w.Chat, behind.Chat, w.Chat, behind.Chat} {
		from, to := int64(15), int64(66)
		if i >= 2 {
			from, to = to, from
		}
		wg.Go(func() {
			for n := range each {
				if _, err := chat.Send(context.Background(), from, OutgoingMessage{Receiver: to, Body: fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var first []string
	for _, user := range []int64{15, 66} {
		frames, _, _, err := w.inbox.Live.Replay(context.Background(), user, 0)
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
