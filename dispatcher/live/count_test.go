package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// A tapCounters counts the calls of Unreads. It calls after when each has read.
type tapCounters struct {
	Counters
	calls atomic.Int64
	after func(call int64) error
}

func (c *tapCounters) Unreads(ctx context.Context, user int64) (model.Unreads, error) {
	u, err := c.Counters.Unreads(ctx, user)
	if n := c.calls.Add(1); c.after != nil && err == nil {
		err = c.after(n)
	}
	return u, err
}

// The numbers that follow an event come from the script that has stored it: nothing is
// counted for them.
func TestNumbersOfAnEventAreNotCounted(t *testing.T) {
	w := newWorld(t)
	var counters *tapCounters
	p := w.start(func(o *Options) {
		counters = &tapCounters{Counters: o.Counters}
		o.Counters = counters
	})
	c := p.dial(66)
	c.next("hello")
	p.awaitLive()
	for i, id := range []string{"one", "two", "three"} {
		w.publish(66, id)
		if f := c.next("event", "unreads"); f.Op != "event" {
			t.Errorf("%s before the event", f.raw)
		}
		if f := c.next("unreads"); f.Unreads["unread_notifications"] != i+1 {
			t.Errorf("%s after event %d", f.raw, i+1)
		}
	}
	if n := counters.calls.Load(); n != 0 {
		t.Errorf("counted %d times", n)
	}
}

// The numbers that follow an event are the same as those of a count, in every field.
func TestNumbersOfAnEventAreComplete(t *testing.T) {
	w := newWorld(t)
	c := w.start(func(o *Options) {
		o.Counters = &tapCounters{Counters: o.Counters, after: func(int64) error {
			return errors.New("test: only the script counts")
		}}
	}).dial(66)
	c.next("hello")
	parties := func(seller, buyer int) string {
		return fmt.Sprintf(`"seller":{"id":%d,"name":"A"},"buyer":{"id":%d,"name":"B"}}`, seller, buyer)
	}
	w.publishEvent(`{"type":"cart","receiver_id":66,"details":{"cart_items":4}}`)
	w.publishEvent(`{"transaction":{"id":1,"state":"paid",` + parties(66, 15) + `}`)
	w.publishEvent(`{"transaction":{"id":2,"state":"delivered",` + parties(15, 66) + `}`)
	w.publishEvent(`{"negotiation":{"id":1,"state":"waiting",` + parties(66, 15) + `}`)
	w.send(15, 66, "halo")
	want, err := w.Inbox.Counters.Unreads(t.Context(), 66)
	if err != nil {
		t.Fatal(err)
	}
	for {
		f := c.next("unreads")
		if f.raw == string(unreadsFrame(want)) {
			break
		}
	}
	if want.CartItems != 4 || want.Messages != 1 || want.SellerOffers != 1 {
		t.Errorf("%+v", want)
	}
}

// What was counted before an event is not told after it.
func TestOlderCountIsDropped(t *testing.T) {
	w := newWorld(t)
	counted, told := make(chan struct{}), make(chan struct{})
	var counters *tapCounters
	p := w.start(func(o *Options) {
		counters = &tapCounters{Counters: o.Counters, after: func(call int64) error {
			if call == 1 {
				close(counted)
				<-told
			}
			return nil
		}}
		o.Counters = counters
	})
	c := p.dial(66)
	c.next("hello")
	p.awaitLive()
	p.counts.add(p.users.all()[0])
	<-counted
	w.publish(66, "one")
	if f := c.next("unreads"); f.Unreads["unread_notifications"] != 1 {
		t.Errorf("%s with the event", f.raw)
	}
	close(told)
	if f := c.next("unreads"); f.Unreads["unread_notifications"] != 1 {
		t.Errorf("%s after the event", f.raw)
	}
}

// A frame with counts that this build does not know is delivered, and the numbers are
// counted. One that cannot be read at all is read from the log.
func TestFramesOfOtherBuilds(t *testing.T) {
	for name, change := range map[string]func(head, body string) string{
		"other counts":  func(head, body string) string { return head + ",7,7\n" + body },
		"an other form": func(head, body string) string { return "event x y z\n" + body },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.start()
			c := p.dial(66)
			c.next("hello")
			p.awaitLive()
			channel := w.Inbox.Live.Channel(66)
			sub := w.rdb.Subscribe(t.Context(), channel)
			defer sub.Close()
			if _, err := sub.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.publish(66, "one")
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			first := c.next("event")
			c.next("unreads")
			head, body, _ := strings.Cut(m.Payload, "\n")
			fields := strings.Split(head, " ")
			fields[1], fields[2] = strconv.FormatInt(first.Seq+1, 10), strconv.FormatInt(first.Seq, 10)
			p.pubsub.router.deliver(channel, change(strings.Join(fields, " "), body))
			if strings.HasPrefix(name, "other") {
				if f := c.next("event"); f.Seq != first.Seq+1 {
					t.Errorf("%s", f.raw)
				}
			}
			if f := c.next("unreads"); f.Unreads["unread_notifications"] != 1 {
				t.Errorf("%s", f.raw)
			}
		})
	}
}

// Numbers follow the frames of a write, and only the newest ones are sent.
func TestQueuedNumbersAreReplaced(t *testing.T) {
	t.Parallel()
	q := writeQueue{maxFrames: 10, maxBytes: 100, writing: true}
	q.pushNumbers([]byte("old"), []byte("a"))
	q.pushNumbers([]byte("newer"), []byte("b"))
	q.push([]byte("c"))
	if q.pending != 4 || q.bytes != len("abcnewer") {
		t.Errorf("%d frames of %d bytes", q.pending, q.bytes)
	}
	batch, size, code := q.take()
	var got []string
	for _, f := range batch {
		got = append(got, string(f))
	}
	if !slices.Equal(got, []string{"a", "b", "c", "newer"}) || size != len("abcnewer") || code != 0 {
		t.Errorf("%q of %d bytes, code %d", got, size, code)
	}
	if batch, _, _ := q.take(); len(batch) != 0 {
		t.Errorf("%q again", batch)
	}
}

// awaitLive waits until published frames are queued for each socket.
func (p *process) awaitLive() {
	p.w.t.Helper()
	eventually(p.w.t, "the socket is live", func() bool {
		sockets, live := 0, 0
		for _, u := range p.users.all() {
			u.each(func(s *socket) {
				s.mu.Lock()
				defer s.mu.Unlock()
				sockets++
				if s.greeted && !s.behind {
					live++
				}
			})
		}
		return sockets > 0 && live == sockets
	})
}
