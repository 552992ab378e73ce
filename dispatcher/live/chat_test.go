package live

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A message that is sent over a socket is answered and stored like one that is sent over
// HTTP.
func TestSend(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	from, to := p.dial(15), p.dial(66)
	from.next("hello")
	to.next("hello")
	const text = `{"op":"send","ref":"r1","instant_message":{"receiver_id":"66","category":"0","body_bb":"[b]halo[/b]","client_id":"c1"},"product_id":"mwza"}`
	from.write(text)
	sent := from.next("ack", "error")
	conversation := model.ConversationID(15, 66)
	want := fmt.Sprintf(`{"op":"ack","ref":"r1","status":"OK","id":%q,"client_id":"c1","conversation_id":%q,"message":"Pesan terkirim"}`, sent.ID, conversation)
	if sent.raw != want {
		t.Errorf("answer\n%s, want\n%s", sent.raw, want)
	}
	if f := to.next("event"); f.Event.Type != "message" || f.InstantMessage.ID != sent.ID || f.InstantMessage.Body != "<strong>halo</strong>" {
		t.Errorf("event %s", f.raw)
	}
	if f := to.next("unreads"); f.Unreads["messages"] != 1 {
		t.Errorf("unreads %s", f.raw)
	}
	m, err := w.Inbox.Conversations.Message(t.Context(), 66, sent.ID)
	if err != nil || m.Body != "[b]halo[/b]" || m.Product != "mwza" || m.Conversation != conversation {
		t.Errorf("kept %+v, %v", m, err)
	}
	from.write(text) // a repeat returns the same message
	if again := from.next("ack", "error"); again.ID != sent.ID {
		t.Errorf("repeat %s", again.raw)
	}
}

// Frames name a picture for each avatar that is not set, live and resumed.
func TestAvatarsThatAreNotSet(t *testing.T) {
	w := newWorld(t)
	const picture = "https://kabar.example/default.png"
	avatar := "https://kabar.example/66.png"
	if err := w.Inbox.Profiles.Set(t.Context(), 66, inbox.Profile{Avatar: &avatar}); err != nil {
		t.Fatal(err)
	}
	p := w.start(func(o *Options) { o.DefaultAvatar = func(*http.Request) string { return picture } })
	live := p.dial(66)
	since := live.next("hello").Seq
	w.send(15, 66, `"sender_avatar":""`)
	for how, c := range map[string]*client{"live": live, "resumed": p.dial(66, since)} {
		f := c.next("event")
		for _, want := range []string{`"receiver_avatar":"` + avatar + `"`, `"sender_avatar":"` + picture + `"`, `"body":"&#34;sender_avatar&#34;:&#34;&#34;"`} {
			if !strings.Contains(f.raw, want) {
				t.Errorf("%s: %s lacks %s", how, f.raw, want)
			}
		}
	}
}

func TestSendRefuses(t *testing.T) {
	w := newWorld(t)
	c := w.start().dial(15)
	c.next("hello")
	conversation := func(user int64) string { return fmt.Sprintf("%q", model.ConversationID(15, user)) }
	const format = "Gagal mengirim pesan: harap menggunakan format yang seharusnya"
	c.write(`{"op":"send","ref":0,"instant_message":{"receiver_id":66,"category":0,"body_bb":"a","client_id":"c1"}}`)
	c.next("ack")
	for _, test := range []struct{ message, client, conversation, text, more string }{
		{`null`, `null`, `null`, format, `"code":"invalid"`},
		{`{"receiver_id":66,"category":0}`, `null`, conversation(66), format, `"body_bb":"is required"`},
		{`{"category":0,"body_bb":"a"}`, `null`, `null`, format, `"receiver_id":"is required"`},
		{`{"receiver_id":66,"body_bb":"a"}`, `null`, conversation(66), format, `"category":"is required"`},
		{`{"receiver_id":"066","category":0,"body_bb":"a"}`, `null`, `null`, "Tidak dapat mengirim pesan kepada pembeli", `"code":"invalid"`},
		{`{"receiver_id":15,"category":0,"body_bb":"a"}`, `null`, `null`, "Tidak dapat mengirim pesan kepada pembeli", `"receiver_id":"must be somebody else"`},
		{`{"receiver_id":404,"category":0,"body_bb":"a","client_id":"x"}`, `"x"`, conversation(404), "Tidak dapat mengirim pesan kepada pembeli", `"code":"not_found"`},
		{`{"receiver_id":66,"category":"1","body_bb":"a"}`, `null`, conversation(66), "Pengiriman pesan untuk kategori ini hanya dapat ditujukan kepada admin", `"code":"forbidden"`},
		{`{"receiver_id":66,"category":0,"body_bb":"other","client_id":"c1"}`, `"c1"`, conversation(66), "Gagal mengirim pesan", `"code":"conflict"`},
	} {
		c.write(`{"op":"send","ref":7,"instant_message":` + test.message + `}`)
		f := c.next("ack", "error")
		start := `{"op":"error","ref":7,"status":"ERROR","id":null,"client_id":` + test.client + `,"conversation_id":` + test.conversation + `,`
		if !strings.HasPrefix(f.raw, start) || f.Message != test.text || !strings.Contains(f.raw, test.more) {
			t.Errorf("%s:\n%s, want\n%s… %s, %s", test.message, f.raw, start, test.text, test.more)
		}
	}
}

// The rate limit of a user applies to all of the user's sockets together.
func TestSendsAreLimited(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.Sends = chat.Rate{PerSecond: 0.001, Burst: 10} })
	p := w.start(func(o *Options) { o.Frames = chat.Rate{PerSecond: 1000, Burst: 1000} })
	sockets := []*client{p.dial(15), p.dial(15)}
	sent := 0
	for i := range 40 {
		c := sockets[i%2]
		c.write(`{"op":"send","instant_message":{"receiver_id":66,"category":0,"body_bb":"spam"}}`)
		switch f := c.next("ack", "error"); {
		case f.Op == "ack":
			sent++
		case f.Code != "rate_limited":
			t.Error(f.raw)
		}
	}
	if sent != 10 {
		t.Errorf("%d messages were sent", sent)
	}
}

func TestRead(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	sender, reader := p.dial(15), p.dial(66)
	sender.next("hello")
	reader.next("hello")
	conversation := model.ConversationID(15, 66)
	first := w.send(15, 66, "satu")
	second := w.send(15, 66, "dua")
	for _, step := range []struct{ members, upTo string }{
		{`,"message_id":"` + first + `"`, first}, {``, second},
	} {
		reader.write(`{"op":"read","ref":"r","conversation_id":"` + conversation + `"` + step.members + `}`)
		if f := reader.next("ack", "error"); f.Status != "OK" || f.Ref != "r" || f.Conversation != conversation {
			t.Error(f.raw)
		}
		if f := sender.next("read"); f.MessageID != step.upTo || f.UserID != "66" || f.Conversation != conversation {
			t.Errorf("receipt %s, want %s", f.raw, step.upTo)
		}
	}
	for f := reader.next("unreads"); f.Unreads["messages"] != 0; {
		f = reader.next("unreads")
	}
}

func TestReadNotification(t *testing.T) {
	w := newWorld(t)
	c := w.start().dial(66)
	c.next("hello")
	w.publish(66, "p1")
	id := c.next("event").Event.ID
	c.write(`{"op":"read","notification_id":"` + id + `"}`)
	if f := c.next("ack", "error"); f.Status != "OK" || f.Unread != 0 || f.Message != "Notifikasi ditandai sebagai terbaca" {
		t.Error(f.raw)
	}
	c.write(`{"op":"read","notification_id":"ffffffffffffffffffffffff"}`)
	if f := c.next("ack", "error"); f.Code != "not_found" || f.Message != "Notifikasi tersebut tidak dapat ditandai" {
		t.Error(f.raw)
	}
}

// Only partners may use typing, presence and reading.
func TestStrangersAreRefused(t *testing.T) {
	w := newWorld(t)
	w.send(15, 66, "halo")
	c := w.start().dial(77)
	c.next("hello")
	for _, op := range []string{"typing", "presence", "read"} {
		c.write(`{"op":"` + op + `","conversation_id":"` + model.ConversationID(15, 66) + `"}`)
		if f := c.next("ack", "error"); f.Code != "forbidden" || f.Message != "Gagal membaca message, hanya bisa membuka inbox milik masing-masing" {
			t.Error(f.raw)
		}
		c.write(`{"op":"` + op + `","conversation_id":"x"}`)
		if f := c.next("ack", "error"); f.Code != "invalid" || f.Errors["conversation_id"] == "" {
			t.Error(f.raw)
		}
	}
}

func TestTyping(t *testing.T) {
	w := newWorld(t)
	w.send(15, 66, "halo")
	one, two := w.start(), w.start()
	from, to := one.dial(15), two.dial(66)
	to.next("hello")
	conversation := model.ConversationID(15, 66)
	from.write(`{"op":"typing","ref":1,"conversation_id":"` + conversation + `"}`)
	if f := from.next("ack", "error"); f.Op != "ack" {
		t.Error(f.raw)
	}
	want := `{"op":"typing","conversation_id":"` + conversation + `","user_id":"15"}`
	if f := to.next("typing"); f.raw != want {
		t.Errorf("%s, want %s", f.raw, want)
	}
}

func TestPresence(t *testing.T) {
	w := newWorld(t)
	w.send(15, 66, "halo")
	quick := func(o *Options) { o.Linger = 100 * time.Millisecond }
	one, two := w.start(quick), w.start(quick)
	asking := one.dial(15)
	conversation := model.ConversationID(15, 66)
	ask := func() receivedFrame {
		t.Helper()
		asking.write(`{"op":"presence","conversation_id":"` + conversation + `"}`)
		return asking.next("presence")
	}
	if f := ask(); f.Online || f.LastSeen != "" || f.Conversation != conversation || f.UserID != "66" {
		t.Errorf("never seen: %s", f.raw)
	}
	c := two.dial(66)
	c.next("hello")
	if f := asking.next("presence"); !f.Online || f.LastSeen != "" {
		t.Errorf("came: %s", f.raw)
	}
	if f := ask(); !f.Online {
		t.Errorf("is there: %s", f.raw)
	}
	before := time.Now().Truncate(time.Second)
	c.ws.CloseNow()
	f := asking.next("presence")
	at, err := time.Parse(time.RFC3339, f.LastSeen)
	if f.Online || err != nil || at.Before(before) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("went: %s", f.raw)
	}
	if again := ask(); cmp.Diff(f.LastSeen, again.LastSeen) != "" || again.Online {
		t.Errorf("%s, then %s", f.raw, again.raw)
	}
}

func TestSeen(t *testing.T) {
	w := newWorld(t)
	c := w.start().dial(66)
	c.next("hello")
	id := w.send(15, 66, "halo")
	seq := c.next("event").Seq
	c.write(fmt.Sprintf(`{"op":"seen","ref":"s","seq":%d}`, seq))
	if f := c.next("ack", "error"); f.Op != "ack" || f.Ref != "s" {
		t.Error(f.raw)
	}
	query := inbox.PushQuery{User: 66, Conversation: model.ConversationID(15, 66), Message: id}
	if facts := w.Inbox.PushFacts(t.Context(), w.batcher, []inbox.PushQuery{query})[0]; facts.Err != nil || !facts.Message.Seen {
		t.Errorf("%+v", facts)
	}
	c.write(`{"op":"seen","seq":"soon"}`)
	if f := c.next("ack", "error"); f.Code != "invalid" {
		t.Error(f.raw)
	}
}
