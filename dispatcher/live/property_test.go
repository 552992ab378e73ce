package live

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A holder is a client that keeps the messages it receives. When its socket ends, it
// reconnects and resumes where it was.
type holder struct {
	user      int64
	processes []*process
	rand      *rand.Rand

	mu      sync.Mutex
	ids     []string // of messages, in the order of arrival
	faults  []string
	current *client
	ready   chan struct{} // closed on the first hello
}

// live receives until ctx ends.
func (h *holder) live(ctx context.Context) {
	since := int64(-1)
	for ctx.Err() == nil {
		p := h.processes[h.rand.IntN(len(h.processes))]
		var from []int64
		if since >= 0 {
			from = []int64{since}
		}
		c, err := p.tryDial(h.user, from...)
		if err != nil {
			continue // that process is closing: try another one
		}
		h.mu.Lock()
		h.current = c
		h.mu.Unlock()
		stop := context.AfterFunc(ctx, func() { c.ws.CloseNow() })
		since = h.listen(c, since)
		stop()
		c.ws.CloseNow()
	}
}

func (h *holder) listen(c *client, since int64) int64 {
	for {
		f, err := c.receive()
		if err != nil {
			return since
		}
		h.mu.Lock()
		switch f.Op {
		case "hello":
			if since < 0 {
				close(h.ready)
			} else if f.Seq != since {
				h.faults = append(h.faults, fmt.Sprintf("hello %s when coming back to %d", f.raw, since))
			}
			since = f.Seq
		case "resync":
			h.faults = append(h.faults, "a resync")
		case "event":
			if f.Prev != since {
				h.faults = append(h.faults, fmt.Sprintf("%s after %d", f.raw, since))
			}
			since = f.Seq
			h.ids = append(h.ids, f.InstantMessage.ID)
		}
		h.mu.Unlock()
	}
}

func (h *holder) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil {
		h.current.ws.CloseNow()
	}
}

// Messages are sent while sockets, pub/sub connections and a whole process end at random.
// In the end every client holds exactly the acknowledged messages, each once, in the order
// of the replay log.
func TestNothingIsLostOrRepeated(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	processes := []*process{w.start(), w.start()}
	doomed := w.start()
	const perUser, messages = 50, 100
	var holders []*holder
	ctx, cancel := context.WithCancel(t.Context())
	var living sync.WaitGroup
	defer living.Wait()
	defer cancel()
	for i := range 2 * perUser {
		h := &holder{user: []int64{15, 66}[i%2], processes: processes, ready: make(chan struct{}), rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		if i%3 == 0 {
			h.processes = append(slices.Clone(processes), doomed)
		}
		holders = append(holders, h)
		living.Go(func() { h.live(ctx) })
	}
	for _, h := range holders {
		<-h.ready
	}
	var acknowledged []string
	for i := range messages {
		from, to := int64(15), int64(66)
		if random.IntN(2) == 0 {
			from, to = to, from
		}
		id, err := w.Chat.Send(ctx, from, chat.OutgoingMessage{Receiver: to, Body: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		acknowledged = append(acknowledged, id)
		holders[random.IntN(len(holders))].kill()
		switch {
		case i == messages/2:
			living.Go(doomed.stop)
		case random.IntN(20) == 0:
			if err := w.rdb.Do(ctx, "client", "kill", "type", "pubsub").Err(); err != nil {
				t.Fatal(err)
			}
		}
		rdb.Sleep(ctx, time.Duration(random.IntN(5))*time.Millisecond)
	}
	for i, h := range holders {
		eventually(t, fmt.Sprintf("client %d has everything", i), func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.ids) >= len(acknowledged) || len(h.faults) > 0
		})
		h.mu.Lock()
		if len(h.faults) > 0 || !slices.Equal(h.ids, acknowledged) {
			t.Errorf("client %d of user %d: %d of %d messages, faults %q", i, h.user, len(h.ids), len(acknowledged), h.faults)
		}
		h.mu.Unlock()
	}
}
