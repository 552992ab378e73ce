package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// TestPushOfAMessage checks the outbox entry of a message, because other versions read it.
func TestPushOfAMessage(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.RetryFor = time.Hour })
	w.register(66)
	id := w.send(15, 66, "[b]mantab[/b] gan")
	all := w.entries()["out:chat"]
	if len(all) != 1 {
		t.Fatalf("%d entries", len(all))
	}
	conversation := model.ConversationID(15, 66)
	at, err := model.IDTime(id)
	if err != nil {
		t.Fatal(err)
	}
	ms := at.UnixMilli()
	want := fmt.Sprintf(`{"u":66,"e":"m%s","y":"message","g":"message:%s","x":%d,"r":%d,"f":"Me Ow","n":"%s"}`+"\n",
		id, conversation, ms+3*86400_000, ms+3600_000, id) +
		`{"texts":{"en":"You have received a message from Me Ow"},"type":"message","title":null,"message":"Anda mendapatkan pesan dari Me Ow",` +
		fmt.Sprintf(`"details":{"id":"%s","inbox_id":"%s","sender_id":15,"message":"mantab gan","unread_items":null}}`, id, conversation)
	if diff := cmp.Diff(want, all[0].Value()); diff != "" {
		t.Error(diff)
	}
}

// MessageMembers returns the same members as were published, in the language of the
// receiver's profile.
func TestMessageMembers(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	english := "en"
	if err := w.inbox.Profiles.Set(ctx, 66, inbox.Profile{Locale: &english}); err != nil {
		t.Fatal(err)
	}
	sub := w.rdb.Subscribe(ctx, w.inbox.Live.Channel(66))
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	id := w.send(15, 66, "[b]halo[/b]")
	gone := w.send(15, 66, "dua")
	if err := w.inbox.Conversations.DeleteMessage(ctx, 66, gone); err != nil {
		t.Fatal(err)
	}
	members, err := w.MessageMembers(ctx, 66, []string{id, gone})
	if err != nil || len(members) != 1 {
		t.Fatalf("%d members, %v", len(members), err)
	}
	message, err := sub.ReceiveMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	live, err := model.ParseFrame(message.Payload)
	if err != nil || live.ID != id || live.Unreads == nil || *live.Unreads != (model.Unreads{Messages: 1}) {
		t.Fatalf("%+v, %v", live, err)
	}
	if diff := cmp.Diff(live.Body, string(members[id])); diff != "" {
		t.Error(diff)
	}
	var got struct {
		Event struct {
			Type, Message string
			Receiver      int64 `json:"receiver_id"`
			Details       map[string]any
		}
		InstantMessage struct{ ID, Body string } `json:"instant_message"`
	}
	if err := json.Unmarshal([]byte("{"+live.Body+"}"), &got); err != nil {
		t.Fatal(err)
	}
	if got.Event.Type != "message" || got.Event.Message != "You have received a message from Me Ow" || got.Event.Receiver != 66 || got.InstantMessage.ID != id {
		t.Errorf("%+v", got)
	}
	details := map[string]any{
		"id": id, "inbox_id": model.ConversationID(15, 66), "sender_id": 15.0, "message": "halo", "unread_items": nil,
	}
	if diff := cmp.Diff(details, got.Event.Details); diff != "" {
		t.Error(diff)
	}
}

// The product that a message asks about is in its push, its frame and the conversation. A
// message about none has no such member.
func TestProductOfAMessage(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	w.register(66)
	for _, product := range []string{"mwza", ""} {
		id, err := w.Send(ctx, 15, OutgoingMessage{Receiver: 66, Body: "masih ada?", Product: product})
		if err != nil {
			t.Fatal(err)
		}
		members, err := w.MessageMembers(ctx, 66, []string{id})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Event          struct{ Details map[string]any }
			InstantMessage map[string]any `json:"instant_message"`
		}
		if err := json.Unmarshal([]byte("{"+string(members[id])+"}"), &got); err != nil {
			t.Fatal(err)
		}
		m, err := w.inbox.Conversations.Message(ctx, 66, id)
		if err != nil {
			t.Fatal(err)
		}
		conversation, err := json.Marshal(m.View(inbox.Profile{}, inbox.Profile{}, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		pushes := w.entries()["out:chat"]
		member := fmt.Sprintf(`"product_id":%q`, product)
		if product == "" {
			member = "product_id"
		}
		for where, text := range map[string]string{"push": pushes[len(pushes)-1].Value(), "conversation": string(conversation), "frame": string(members[id])} {
			if strings.Contains(text, member) != (product != "") {
				t.Errorf("product %q: %s %s", product, where, text)
			}
		}
		for where, object := range map[string]map[string]any{"event": got.Event.Details, "message": got.InstantMessage} {
			if object["product_id"] != any(product) && product != "" {
				t.Errorf("product %q in the frame's %s: %v", product, where, object)
			}
		}
	}
}

func TestPreview(t *testing.T) {
	for body, want := range map[string]string{
		"[i]halo[/i]":                     "halo",
		strings.Repeat("é", maxPreview):   strings.Repeat("é", maxPreview),
		strings.Repeat("é", maxPreview+1): strings.Repeat("é", maxPreview) + "…",
	} {
		if got := preview(body); got != want {
			t.Errorf("%q: %q", body, got)
		}
	}
}

// A push waits for the grace period while the receiver has a live socket.
func TestGrace(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Grace = time.Hour })
	w.register(66)
	w.send(15, 66, "nobody looks")
	sub := w.rdb.Subscribe(context.Background(), w.inbox.Live.Channel(66))
	defer sub.Close()
	if _, err := sub.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.send(15, 66, "a socket is there")
	if all := w.entries(); len(all["out:chat"]) != 1 || len(all["delayed:chat"]) != 1 {
		t.Errorf("%+v", all)
	}
}
