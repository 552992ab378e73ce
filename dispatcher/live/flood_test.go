package live

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const spam = "spam"

// A flooder sends without a pause and reconnects whenever its socket is closed.
type flooder struct {
	p       *process
	user    int64
	checked map[string]int // shared by all its sockets

	limited   chan struct{} // closed at the first refused frame
	sent      atomic.Int64  // frames that were written
	sockets   int
	acks      int
	refusals  int
	unplanned []string
}

// flood sends messages to a user until enough is closed and at least the given number of
// frames has been sent.
func (f *flooder) flood(to int64, least int64, enough <-chan struct{}) {
	text := fmt.Sprintf(`{"op":"send","instant_message":{"receiver_id":%d,"category":0,"body_bb":%q}}`, to, spam)
	over := func() bool {
		select {
		case <-enough:
			return f.sent.Load() >= least
		default:
			return false
		}
	}
	for !over() && len(f.unplanned) == 0 {
		c, err := f.p.tryDial(f.user)
		if err != nil {
			f.unplanned = append(f.unplanned, err.Error())
			return
		}
		f.sockets++
		c.checked = f.checked
		written := make(chan struct{})
		go func() {
			defer close(written)
			for c.ws.Write(context.Background(), websocket.MessageText, []byte(text)) == nil {
				f.sent.Add(1)
			}
		}()
		f.listen(c)
		<-written
	}
}

// listen counts the answers until the socket is closed.
func (f *flooder) listen(c *client) {
	for {
		frame, err := c.receive()
		switch {
		case err != nil:
			if code := websocket.CloseStatus(err); code != codeTooMany {
				f.unplanned = append(f.unplanned, fmt.Sprintf("closed with %d: %v", code, err))
			}
			c.ws.CloseNow()
			return
		case frame.Op == "ack":
			f.acks++
		case frame.Op == "error" && frame.Code == "rate_limited":
			if f.refusals++; f.refusals == 1 {
				close(f.limited)
			}
		case frame.Op == "error":
			f.unplanned = append(f.unplanned, frame.raw)
		}
	}
}

// One user sends ten thousand frames and reconnects each time that a socket is closed for
// it. Only a burst of them become messages. Meanwhile, other users' messages are
// acknowledged and arrive, even those to the same receiver.
func TestFloodIsLimitedAndOthersDoNotNotice(t *testing.T) {
	const burst, frames, rounds = 50, 10_000, 10
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Sends = chat.Rate{PerSecond: 0.0001, Burst: burst} // only the burst counts, because the rate is almost 0
	})
	p := w.start()
	pairs := []pair{{users: [2]int64{66, 100}}}
	for user := int64(101); user < 115; user += 2 {
		pairs = append(pairs, pair{users: [2]int64{user, user + 1}})
	}
	for i := range pairs {
		for side, user := range pairs[i].users {
			w.makeKnown(user)
			pairs[i].sockets[side] = p.dial(user)
		}
	}
	f := &flooder{p: p, user: 15, limited: make(chan struct{}), checked: make(map[string]int)}
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); f.flood(66, frames, enough) }()
	stop := sync.OnceFunc(func() { close(enough); <-ended })
	defer stop()
	select {
	case <-f.limited:
	case <-ended:
		t.Fatalf("%d messages were sent, none refused: %q", f.acks, f.unplanned)
	}

	for range rounds {
		for i := range pairs {
			pairs[i].write()
		}
		for i := range pairs {
			pairs[i].read()
		}
	}
	stop()
	for _, p := range pairs {
		slices.Sort(p.acknowledged)
		slices.Sort(p.arrived)
		if len(p.arrived) != 4*rounds || !slices.Equal(p.arrived, p.acknowledged) {
			t.Errorf("users %v: %d messages arrived, %d were acknowledged", p.users, len(p.arrived), len(p.acknowledged))
		}
	}
	if f.acks != burst || f.sockets == 0 || len(f.unplanned) > 0 {
		t.Errorf("%d messages of %d frames were sent, %d refused; %q", f.acks, f.sent.Load(), f.refusals, f.unplanned)
	}
	eventually(t, "every socket of the flooder was closed", func() bool {
		return testutil.ToFloat64(p.metrics.closed.WithLabelValues("4008")) == float64(f.sockets)
	})
	got, err := w.Inbox.Conversations.Messages(t.Context(), 66, model.ConversationID(15, 66), 0, 2*burst)
	if err != nil || len(got) != burst {
		t.Errorf("the receiver has %d of %d messages, %v", len(got), burst, err)
	}
}

// makeKnown makes a user known, so that others may send messages to them.
func (w *world) makeKnown(user int64) {
	w.t.Helper()
	name := fmt.Sprint("User ", user)
	if err := w.Inbox.Profiles.Set(context.Background(), user, inbox.Profile{Name: &name}); err != nil {
		w.t.Fatal(err)
	}
}

// A pair is two users who chat, with the ids of the messages that each has been told about.
// Every id is there twice, because the sender also gets the event.
type pair struct {
	users                 [2]int64
	sockets               [2]*client
	acknowledged, arrived []string
}

// write makes each user send a message to the other.
func (p *pair) write() {
	for side, c := range p.sockets {
		c.write(fmt.Sprintf(`{"op":"send","instant_message":{"receiver_id":%d,"category":0,"body_bb":"halo"}}`, p.users[1-side]))
	}
}

// read waits until each user has an acknowledgement and both messages.
func (p *pair) read() {
	for _, c := range p.sockets {
		for acks, events := 0, 0; acks < 1 || events < 2; {
			switch f := c.next("ack", "error", "event"); {
			case f.Op == "ack":
				acks++
				p.acknowledged = append(p.acknowledged, f.ID, f.ID)
			case f.Op == "error":
				c.t.Fatal(f.raw)
			case f.InstantMessage.Body != spam:
				events++
				p.arrived = append(p.arrived, f.InstantMessage.ID)
			}
		}
	}
}
