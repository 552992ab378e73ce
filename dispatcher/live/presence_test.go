package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// forever is longer than a test lasts.
func forever(o *Options) { o.Linger = time.Hour }

// waiting returns how many chat pushes of a user are delayed.
func (w *world) waiting(user int64) int64 {
	w.t.Helper()
	partition := rdb.NewPartitions("", partitions).OfUser(user)
	n, err := w.rdb.ZCard(w.t.Context(), w.Outbox.DelayedKey(partition, push.Chat)).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// listening reports whether scripts see that a process listens to a user.
func (w *world) listening(user int64) bool {
	channel := w.Inbox.Live.Channel(user)
	return w.rdb.PubSubNumSub(w.t.Context(), channel).Val()[channel] > 0
}

// A user who closes the last socket, or whose credential was revoked, is offline at once,
// and pushes wait for that user no longer.
func TestCleanCloseEndsPresenceAndGrace(t *testing.T) {
	for name, end := range map[string]func(w *world, c *client){
		"the client closes": func(_ *world, c *client) { c.ws.Close(websocket.StatusNormalClosure, "") },
		"the page is left":  func(_ *world, c *client) { c.ws.Close(websocket.StatusGoingAway, "") },
		"signed out":        func(w *world, c *client) { w.revoke(66); c.closed() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *dispatcher.Options) { o.LiveGrace = time.Hour })
			w.send(15, 66, "halo")
			if _, err := w.devices.Register(t.Context(), 66, devices.Device{Platform: devices.Android, Token: "A"}, nil); err != nil {
				t.Fatal(err)
			}
			one, two := w.start(forever), w.start(forever)
			asking, first, last := one.dial(15), two.dial(66), two.dial(66)
			first.next("hello")
			last.next("hello")
			eventually(t, "the user's presence", func() bool { return w.rdb.Exists(t.Context(), two.presence.keys(66)[0]).Val() > 0 })
			asking.write(fmt.Sprintf(`{"op":"presence","conversation_id":%q}`, model.ConversationID(15, 66)))
			if f := asking.next("presence"); !f.Online {
				t.Fatalf("is there: %s", f.raw)
			}
			w.send(15, 66, "satu")
			if n := w.waiting(66); n != 1 {
				t.Errorf("%d pushes wait while sockets are open", n)
			}
			first.ws.Close(websocket.StatusNormalClosure, "")
			eventually(t, "the first socket has left", func() bool { return two.sockets.Load() == 1 })
			w.send(15, 66, "dua")
			if n := w.waiting(66); n != 2 {
				t.Errorf("%d pushes wait while a socket is open", n)
			}

			end(w, last)
			if f := asking.next("presence"); f.Online || f.LastSeen == "" {
				t.Errorf("left: %s", f.raw)
			}
			eventually(t, "nobody listens", func() bool { return !w.listening(66) })
			w.send(15, 66, "tiga")
			if n := w.waiting(66); n != 2 {
				t.Errorf("%d pushes wait, of which 2 were sent before", n)
			}
			back := two.dial(66)
			back.next("hello")
			if f := asking.next("presence"); !f.Online {
				t.Errorf("came back: %s", f.raw)
			}
		})
	}
}

// A user whose connection was lost, or who was told to come back, stays for Options.Linger,
// which is a few seconds.
func TestLostConnectionLingers(t *testing.T) {
	w := newWorld(t)
	p := w.start(forever)
	c := p.dial(66)
	c.next("hello")
	c.ws.CloseNow()
	eventually(t, "the socket has left", func() bool { return p.sockets.Load() == 0 })
	p.presence.write(t.Context()) // what was requested so far
	if online := w.rdb.ZCard(t.Context(), w.Inbox.Live.Keys(66).Online).Val(); online != 1 || !w.listening(66) {
		t.Errorf("%d presences, listening: %v", online, w.listening(66))
	}
	if linger := New(w.options()).opts.Linger; linger < time.Second || linger > 5*time.Second {
		t.Errorf("lingers for %v", linger)
	}
}

// However often, and through however many sockets and processes, a user types: a partner is
// told once in Options.Typing.
func TestTypingIsToldOnce(t *testing.T) {
	const repeats = 5
	w := newWorld(t)
	w.makeKnown(16)
	w.send(15, 66, "halo")
	w.send(16, 66, "halo")
	rarely := func(o *Options) { o.Typing = time.Hour }
	one, two := w.start(rarely), w.start(rarely)
	to := one.dial(66)
	to.next("hello")
	told := make(map[string]int)
	for _, user := range []int64{15, 16} {
		for _, p := range []*process{one, one, two, two} {
			c := p.dial(user)
			for range repeats {
				c.write(fmt.Sprintf(`{"op":"typing","conversation_id":%q}`, model.ConversationID(user, 66)))
				if f := c.next("ack", "error"); f.Op != "ack" {
					t.Error(f.raw)
				}
			}
		}
	}
	last := w.send(15, 66, "sudah")
	for {
		f := to.next("typing", "event")
		if f.Op == "event" && f.InstantMessage.ID == last { // published after all typing
			break
		}
		if f.Op == "typing" {
			told[f.UserID]++
		}
	}
	if told["15"] != 1 || told["16"] != 1 {
		t.Errorf("told %v", told)
	}
	repeated := testutil.ToFloat64(one.metrics.typing) + testutil.ToFloat64(two.metrics.typing)
	if want := float64(2*4*repeats - 2); repeated != want {
		t.Errorf("%v repeats were counted, want %v", repeated, want)
	}
}
