package live

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestHello(t *testing.T) {
	w := newWorld(t)
	w.send(15, 66, "halo")
	c := w.start().dial(66)
	f, err := c.receive()
	if err != nil {
		t.Fatal(err)
	}
	if f.Op != "hello" || f.Seq != w.newest(66) || f.PingInterval != 30 || f.MaxFrame != 32<<10 || f.Unreads["messages"] != 1 || len(f.Unreads) != 6 {
		t.Errorf("hello %+v", f)
	}
}

func TestHandshake(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	for name, c := range map[string]struct {
		protocol string
		status   int
	}{
		"without the subprotocol": {"", 400},
		"with another one":        {"kabar.v9", 400},
		"among several":           {"other, kabar.v1", 101},
	} {
		opts := &websocket.DialOptions{}
		if c.protocol != "" {
			opts.Subprotocols = strings.Split(c.protocol, ", ")
		}
		ws, resp, err := websocket.Dial(t.Context(), p.url+"?user=66", opts)
		if resp == nil || resp.StatusCode != c.status {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
		if err == nil {
			if ws.Subprotocol() != Subprotocol {
				t.Errorf("%s: speaks %q", name, ws.Subprotocol())
			}
			ws.CloseNow()
		}
	}
}

// Check refuses what Accept would refuse, before anything is spent on it.
func TestCheck(t *testing.T) {
	h := newWorld(t).start().Hub
	for name, c := range map[string]struct {
		change func(r *http.Request)
		want   error
	}{
		"as it should be":     {func(*http.Request) {}, nil},
		"in capitals":         {func(r *http.Request) { r.Header.Set("Upgrade", "WebSocket") }, nil},
		"HEAD":                {func(r *http.Request) { r.Method = "HEAD" }, ErrNoUpgrade},
		"HTTP/1.0":            {func(r *http.Request) { r.ProtoMinor = 0 }, ErrNoUpgrade},
		"no Connection":       {func(r *http.Request) { r.Header.Del("Connection") }, ErrNoUpgrade},
		"no Upgrade":          {func(r *http.Request) { r.Header.Del("Upgrade") }, ErrNoUpgrade},
		"another version":     {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, ErrVersion},
		"no key":              {func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, ErrKey},
		"two keys":            {func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==") }, ErrKey},
		"a short key":         {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "AAAA") }, ErrKey},
		"another subprotocol": {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "kabar.v9") }, ErrSubprotocol},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		for header, value := range map[string]string{
			"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": Version,
			"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "other, " + Subprotocol,
		} {
			r.Header.Set(header, value)
		}
		c.change(r)
		if err := h.Check(r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestEventsReachEverySocketInOrder(t *testing.T) {
	w := newWorld(t)
	one, two := w.start(), w.start() // like two processes
	clients := []*client{one.dial(66), one.dial(66), two.dial(66)}
	var seq []int64
	for _, c := range clients {
		seq = append(seq, c.next("hello").Seq)
	}
	w.publish(66, "promo-1")
	first := w.send(15, 66, "satu")
	second := w.send(15, 66, "dua")
	for i, c := range clients {
		for _, want := range []string{"", first, second} {
			f := c.next("event")
			if f.Prev != seq[i] || f.Seq <= f.Prev || f.InstantMessage.ID != want {
				t.Errorf("frame %s after %d, want message %q", f.raw, seq[i], want)
			}
			seq[i] = f.Seq
		}
	}
}

// A live event shows the user's counts when it happens; a resumed one, when it is sent.
func TestEventsShowTheCounts(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c := p.dial(66)
	since := c.next("hello").Seq
	p.awaitLive()
	w.publishEvent(`{"transaction":{"id":1,"state":"paid","seller":{"id":66,"name":"Ani"},"buyer":{"id":15,"name":"Me Ow"}},"receiver_id":66}`)
	w.publishEvent(`{"negotiation":{"id":1,"state":"waiting","seller":{"id":66,"name":"Ani"},"buyer":{"id":15,"name":"Me Ow"}},"receiver_id":66}`)
	w.publish(66, "promo-1")
	w.publishEvent(`{"type":"reminder","receiver_id":66}`)
	w.send(15, 66, "halo")
	items := func(messages, seller, offers int) string {
		return fmt.Sprintf(`"messages":%d,"transactions_need_action_as_seller":%d,"transactions_need_action_as_buyer":0,`+
			`"offers_need_action_as_seller":%d,"offers_need_action_as_buyer":0}`, messages, seller, offers)
	}
	promo := `"details":{"image_url":null,"unread_items":null},"notification_id":`
	live := []string{
		`"unread_items":{"unread_notifications":1,` + items(0, 1, 0) + `},"notification_id":`,
		`"unread_items":{` + items(0, 1, 1) + `},"notification_id":`,
		promo,
		`"unread_notifications":3,"messages":0,"details":{"unread_items":{` + items(0, 1, 1) + `}}}`,
		`"unread_items":{` + items(1, 1, 1) + `},"notification_id":`,
	}
	resumed := []string{
		`"unread_items":{"unread_notifications":3,` + items(1, 1, 1) + `},"notification_id":`,
		`"unread_items":{` + items(1, 1, 1) + `},"notification_id":`,
		promo,
		`"unread_notifications":3,"messages":1,"details":{"unread_items":{` + items(1, 1, 1) + `}}}`,
		`"unread_items":{` + items(1, 1, 1) + `},"notification_id":`,
	}
	for i, want := range live {
		if f := c.next("event"); !strings.Contains(f.raw, want) {
			t.Errorf("event %d: %s\nlacks %s", i, f.raw, want)
		}
	}
	c = p.dial(66, since)
	for i, want := range resumed {
		if f := c.next("event"); !strings.Contains(f.raw, want) {
			t.Errorf("resumed event %d: %s\nlacks %s", i, f.raw, want)
		}
	}
}

func TestResume(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c := p.dial(66)
	c.next("hello")
	w.publish(66, "p0")
	since := c.next("event").Seq
	c.ws.CloseNow()
	var want []string
	for i := range 5 {
		want = append(want, w.send(15, 66, fmt.Sprint("m", i)))
	}
	c = p.dial(66, since)
	f, err := c.receive()
	if err != nil || f.Op != "hello" || f.Seq != since {
		t.Fatalf("hello %+v, %v", f, err)
	}
	want = append(want, w.send(15, 66, "live"))
	for _, id := range want {
		f := c.next("event", "resync")
		if f.Op != "event" || f.Prev != since || f.InstantMessage.ID != id {
			t.Errorf("%s after %d, want %s", f.raw, since, id)
		}
		since = f.Seq
	}
}

func TestResumeFromNowhere(t *testing.T) {
	w := newWorld(t)
	w.publish(66, "p0")
	p := w.start()
	c := p.dial(66, 12345)
	if f := c.next("hello"); f.Seq != w.newest(66) {
		t.Errorf("hello %s", f.raw)
	}
	if f := c.next("resync", "event"); f.Op != "resync" || f.Seq != w.newest(66) {
		t.Errorf("%s", f.raw)
	}
	id := w.send(15, 66, "halo")
	if f := c.next("event"); f.InstantMessage.ID != id {
		t.Errorf("%s", f.raw)
	}
}

// Frames that a lost pub/sub connection missed are read from the replay log.
func TestLostConnectionIsFilled(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c := p.dial(66)
	c.next("hello")
	var want []string
	for i := range 30 {
		if i%10 == 5 {
			if err := w.rdb.Do(t.Context(), "client", "kill", "type", "pubsub").Err(); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, w.send(15, 66, fmt.Sprint(i)))
	}
	for _, id := range want {
		if f := c.next("event"); f.InstantMessage.ID != id {
			t.Fatalf("%s, want %s", f.raw, id)
		}
	}
	eventually(t, "the connection was lost", func() bool { return testutil.ToFloat64(p.metrics.renewals.WithLabelValues("lost")) > 0 })
}

// A gap in the sequence of frames makes the hub read the replay log.
func TestGapIsFilled(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.Heartbeat = time.Hour })
	c := p.dial(66)
	c.next("hello")
	p.deafen(66)
	channel := w.Inbox.Live.Channel(66)
	sub := w.rdb.Subscribe(t.Context(), channel)
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{w.send(15, 66, "a"), w.send(15, 66, "b"), w.send(15, 66, "c")}
	for i := range want {
		m, err := sub.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i != 1 { // the second frame is lost
			p.pubsub.router.deliver(channel, m.Payload)
		}
	}
	for _, id := range want {
		if f := c.next("event"); f.InstantMessage.ID != id {
			t.Errorf("%s, want %s", f.raw, id)
		}
	}
}

func TestGapBeyondTheLog(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c := p.dial(66)
	c.next("hello")
	w.publish(66, "first")
	since := c.next("event").Seq
	c.ws.CloseNow()
	for i := range 400 {
		w.publish(66, fmt.Sprint("p", i))
	}
	c = p.dial(66, since)
	if f := c.next("resync", "event"); f.Op != "resync" || f.Seq != w.newest(66) {
		t.Errorf("%s", f.raw)
	}
}

func TestUnreadsFollow(t *testing.T) {
	w := newWorld(t)
	c := w.start().dial(66)
	c.next("hello")
	const n = 20
	for i := range n {
		w.send(15, 66, fmt.Sprint(i))
	}
	for c.next("unreads").Unreads["messages"] != n { // the number of frames depends on timing
	}
	if err := w.Chat.ReadConversation(t.Context(), 66, model.ConversationID(15, 66), ""); err != nil {
		t.Fatal(err)
	}
	for c.next("unreads").Unreads["messages"] != 0 {
	}
}

// A user's unread numbers are counted once, however often they change before that.
func TestChangesGather(t *testing.T) {
	w := newWorld(t)
	counts := New(w.options()).counts // without a running hub, nothing is counted
	one, other := &userSockets{id: 66}, &userSockets{id: 15}
	for range 20 {
		counts.add(one)
		counts.add(other)
	}
	if n := len(counts.list); n != 2 {
		t.Errorf("%d counts for two users", n)
	}
}

func TestCompression(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.Compression = true })
	ws, resp, err := websocket.Dial(t.Context(), p.url+"?user=66", &websocket.DialOptions{
		Subprotocols: []string{Subprotocol}, CompressionMode: websocket.CompressionNoContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if ext := resp.Header.Get("Sec-WebSocket-Extensions"); !strings.Contains(ext, "permessage-deflate") {
		t.Errorf("extensions %q", ext)
	}
	c := &client{t: t, ws: ws}
	c.next("hello")
	body := strings.Repeat("halo ", 400)
	c.write(`{"op":"send","instant_message":{"receiver_id":15,"category":0,"body_bb":"` + body + `"}}`)
	if f := c.next("event"); f.InstantMessage.Body != body {
		t.Error(f.raw)
	}
}
