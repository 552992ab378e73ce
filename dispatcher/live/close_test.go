package live

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
)

// A client that stops reading is closed with 4003. It gets everything after it reconnects.
func TestSlowReader(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.QueueFrames, o.WriteTimeout = 20, time.Minute })
	c, quick := p.dial(66), p.dial(66)
	since := c.next("hello").Seq
	quick.next("hello")
	body := strings.Repeat("x", 3900)
	var want []string
	closed := func() bool { return testutil.ToFloat64(p.metrics.closed.WithLabelValues("4003")) > 0 || p.slow(66) }
	for !closed() {
		id := w.send(15, 66, body)
		if f := quick.next("event"); f.InstantMessage.ID != id { // the hub has delivered this message
			t.Fatalf("the quick reader got %s, want %s", f.raw, id)
		}
		want = append(want, id)
		if len(want) > 5000 {
			t.Fatal("it is never closed")
		}
	}
	var got []string
	for {
		f, err := c.receive()
		if err != nil {
			if code := websocket.CloseStatus(err); code != codeTooSlow {
				t.Fatalf("closed with %d: %v", code, err)
			}
			break
		}
		if f.Op == "event" {
			got, since = append(got, f.InstantMessage.ID), f.Seq
		}
	}
	if len(got) == len(want) {
		t.Error("nothing was left out")
	}
	if len(want)-len(got) > 100 {
		t.Fatalf("%d of %d frames are no longer in the log", len(want)-len(got), len(want))
	}
	c = p.dial(66, since)
	for len(got) < len(want) {
		f := c.next("event", "resync")
		if f.Op == "resync" {
			t.Fatal("the log was too short for this test")
		}
		got = append(got, f.InstantMessage.ID)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("message %d is %s, want %s", i, got[i], want[i])
		}
	}
}

// slow reports whether a socket of the user is being closed.
func (p *process) slow(user int64) (slow bool) {
	p.users.find(p.w.Inbox.Live.Channel(user)).each(func(s *socket) { slow = slow || s.queue.closed() })
	return slow
}

func TestTooManyFrames(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.Frames = chat.Rate{PerSecond: 0.0001, Burst: 5} }) // the rate is so low that only the burst counts
	c := p.dial(66)
	c.next("hello")
	for i := range 10 {
		c.write(fmt.Sprintf(`{"op":"seen","ref":%d,"seq":1}`, i))
	}
	limited := 0
	for range 10 {
		if f := c.next("ack", "error"); f.Code == "rate_limited" {
			limited++
		}
	}
	if limited != 5 {
		t.Errorf("%d frames were too many", limited)
	}
	c.insist(`{"op":"seen","seq":1}`)
	if code := c.closed(); code != codeTooMany {
		t.Errorf("closed with %d", code)
	}
}

// insist writes a frame far more often than the hub accepts. The socket may be closed in
// the meantime.
func (c *client) insist(text string) {
	for range 10 * rejectedLimit.Burst {
		if c.ws.Write(c.t.Context(), websocket.MessageText, []byte(text)) != nil {
			return
		}
	}
}

func TestFramesThatCannotBeUnderstood(t *testing.T) {
	w := newWorld(t)
	c := w.start().dial(66)
	c.next("hello")
	for _, text := range []string{
		``, `{`, `[]`, `{"op":1}`, `{"op":"send","op":"read"}`, `{"op":"dance","ref":"d"}`, `{"ref":{}}`, "\xff",
		`{"op":"seen","seq":1,"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, `{"op":"seen","seq":1,"x":1e400}`,
	} {
		c.write(text)
		if f := c.next("error", "ack"); f.Op != "error" || f.Code != "malformed" || f.Status != "ERROR" || f.Message != "Permintaan tidak dapat dibaca" {
			t.Errorf("%q: %s", text, f.raw)
		}
	}
	c.insist(`{`)
	if code := c.closed(); code != codeTooMany {
		t.Errorf("closed with %d", code)
	}
}

func TestLargeFrame(t *testing.T) {
	w := newWorld(t)
	c := w.start(func(o *Options) { o.MaxFrame = 1000 }).dial(66)
	c.next("hello")
	c.write(`{"op":"` + strings.Repeat("x", 2000) + `"}`)
	if code := c.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d", code)
	}
}

func TestRevocation(t *testing.T) {
	w := newWorld(t)
	one, two := w.start(), w.start()
	a, b, other := one.dial(66), two.dial(66), one.dial(15)
	for _, c := range []*client{a, b, other} {
		c.next("hello")
	}
	w.revoke(66)
	for _, c := range []*client{a, b} {
		if code := c.closed(); code != codeRevoked {
			t.Errorf("closed with %d", code)
		}
	}
	id := w.send(66, 15, "masih di sini?")
	if f := other.next("event"); f.InstantMessage.ID != id {
		t.Error(f.raw)
	}
}

// When pub/sub has lost a revocation, the hub notices it on renewing the connection.
// Sockets that were vouched for after the revocation stay open.
func TestRevocationThatWasLost(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.Heartbeat = time.Hour })
	old := p.dial(66)
	old.next("hello")
	hear := p.deafen(66)
	w.revoke(66)
	fresh := p.dial(66)
	fresh.next("hello")
	hear()
	if code := old.closed(); code != codeRevoked {
		t.Errorf("closed with %d", code)
	}
	id := w.send(15, 66, "halo")
	if f := fresh.next("event"); f.InstantMessage.ID != id {
		t.Error(f.raw)
	}
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	one, two := w.start(), w.start()
	c := one.dial(66)
	since := c.next("hello").Seq
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		one.Drain(context.Background())
	}()
	if code := c.closed(); code != codeRestart {
		t.Errorf("closed with %d", code)
	}
	<-drained
	if _, err := one.tryDial(66); err == nil {
		t.Error("a closing hub takes sockets")
	}
	id := w.send(15, 66, "meanwhile")
	if f := two.dial(66, since).next("event"); f.InstantMessage.ID != id {
		t.Error(f.raw)
	}
	one.stop()
}

// A peer that does not answer pings is dropped. A peer that does stays connected.
func TestPing(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.PingInterval = time.Hour }) // the test makes the checks instead of the loop
	interval := p.opts.PingInterval.Milliseconds()
	dead := p.dial(66)
	dead.next("hello") // it reads nothing more, so that pings are not answered
	toDead := p.socketsOf(66)[0]
	alive := p.dial(66)
	alive.next("hello")
	sockets := p.socketsOf(66)
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for f := (receivedFrame{}); f.Op != "event" && err == nil; {
			f, err = alive.receive()
		}
	}()

	now := time.Now().UnixMilli()
	for _, s := range sockets {
		s.conn.lastRead.Store(now - interval)
		s.checkAlive(now, interval)
	}
	eventually(t, "one has answered", func() bool {
		return slices.ContainsFunc(sockets, func(s *socket) bool { return s.conn.lastRead.Load() >= now })
	})
	toDead.conn.lastRead.Store(now - 2*interval) // as if it had been silent for two intervals
	for _, s := range sockets {
		s.checkAlive(now, interval)
	}
	eventually(t, "dropped", func() bool { return testutil.ToFloat64(p.metrics.closed.WithLabelValues("silent")) == 1 })
	w.send(15, 66, "halo")
	if <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "one socket is left", func() bool { return p.sockets.Load() == 1 })
}

// socketsOf returns the sockets of a user.
func (p *process) socketsOf(user int64) (sockets []*socket) {
	p.users.find(p.w.Inbox.Live.Channel(user)).each(func(s *socket) { sockets = append(sockets, s) })
	return sockets
}

func TestTooManySockets(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.MaxSockets = 2 })
	first := p.dial(66)
	first.next("hello")
	p.dial(66).next("hello")
	if code := p.dial(66).closed(); code != codeTooMany {
		t.Errorf("closed with %d", code)
	}
	first.ws.CloseNow()
	eventually(t, "there is room", func() bool { return p.sockets.Load() == 1 })
	p.dial(66).next("hello")
}
