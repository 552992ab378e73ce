package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// An outgoing message gets its id when it is acknowledged.
type outgoing struct {
	to           int
	clientID, id string
}

// A message is what a client keeps of a received message.
type message struct {
	ID           string `json:"id"`
	Conversation string `json:"inbox_id"`
	Sender       string `json:"sender_id"`
}

// A chatter behaves as apps should. It sends one message at a time, and repeats it until it
// is acknowledged. It keeps the messages that it receives. When its socket ends, it
// connects to any process that answers and resumes where it was.
type chatter struct {
	user  int
	fleet *fleet
	first int // index of the process that it connects to first
	rand  *rand.Rand
	want  int // how many messages it holds in the end

	ready chan struct{} // closed on the first hello
	begin chan struct{} // closed when it may send
	done  chan struct{} // closed when it has sent and received everything

	// While live runs, only its goroutine may use these.
	since    int64
	outgoing []outgoing
	sent     []outgoing
	held     []message

	mu     sync.Mutex
	conn   *websocket.Conn
	faults []string
}

// live chats until ctx ends. It sends every acknowledged id to acks, which must have enough
// room for them.
func (c *chatter) live(ctx context.Context, acks chan<- string) {
	for i := c.first; ctx.Err() == nil; i = c.rand.IntN(2) {
		conn, err := c.fleet.at(i).tryDial(ctx, c.user, fmt.Sprint("?since=", c.since))
		if err != nil {
			continue // that process is dead: try another one
		}
		c.mu.Lock()
		c.conn = conn
		c.mu.Unlock()
		c.talk(ctx, conn, acks)
		conn.CloseNow()
	}
}

// talk handles the frames of one socket until it ends.
func (c *chatter) talk(ctx context.Context, conn *websocket.Conn, acks chan<- string) {
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var f liveFrame
		if err := json.Unmarshal(raw, &f); err != nil {
			c.fault("%s: %v", raw, err)
			return
		}
		f.raw = string(raw)
		c.take(ctx, conn, &f, acks)
		if len(c.outgoing) == 0 && len(c.held) >= c.want {
			closeOnce(c.done)
		}
	}
}

// A liveFrame is any frame from the server.
type liveFrame struct {
	Op        string
	Seq, Prev int64
	Ref, ID   string
	Message   message `json:"instant_message"`
	raw       string
}

func (c *chatter) take(ctx context.Context, conn *websocket.Conn, f *liveFrame, acks chan<- string) {
	switch f.Op {
	case "hello":
		if f.Seq != c.since {
			c.fault("%s when coming back to %d", f.raw, c.since)
		}
		closeOnce(c.ready)
		select {
		case <-c.begin:
			c.send(ctx, conn)
		case <-ctx.Done():
		}
	case "event":
		if f.Prev != c.since {
			c.fault("%s after %d", f.raw, c.since)
		}
		c.since = f.Seq
		c.held = append(c.held, f.Message)
	case "ack":
		if len(c.outgoing) == 0 || f.Ref != c.outgoing[0].clientID {
			c.fault("%s was not asked for", f.raw)
			return
		}
		m := c.outgoing[0]
		m.id = f.ID
		c.sent, c.outgoing = append(c.sent, m), c.outgoing[1:]
		acks <- m.id
		c.send(ctx, conn)
	case "error", "resync":
		c.fault("%s", f.raw)
	}
}

// send sends the first message that is not acknowledged. If the socket ends before that,
// the message is sent again after the next hello.
func (c *chatter) send(ctx context.Context, conn *websocket.Conn) {
	if len(c.outgoing) == 0 {
		return
	}
	m := c.outgoing[0]
	text := fmt.Appendf(nil, `{"op":"send","ref":%q,"instant_message":{"receiver_id":%d,"category":0,"body_bb":%q,"client_id":%q}}`,
		m.clientID, m.to, "pesan "+m.clientID, m.clientID)
	_ = conn.Write(ctx, websocket.MessageText, text)
}

// cut ends the client's socket like a lost connection.
func (c *chatter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.CloseNow()
	}
}

func (c *chatter) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf("user %d: ", c.user)+fmt.Sprintf(format, args...))
}

// await waits for one of the client's channels to be closed.
func (c *chatter) await(ctx context.Context, t *testing.T, state <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-state:
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Fatalf("a client of user %d is not %s: %v, faults %q", c.user, what, ctx.Err(), c.faults)
	}
}

// closeOnce closes a channel unless it is closed already. Only one goroutine may call it
// for a channel.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
