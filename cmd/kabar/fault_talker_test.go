package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// ackTimeout is how long a talker waits for an answer before it closes its socket. Without
// a pending request it never closes the socket: the trial must detect a socket that hears
// nothing.
const ackTimeout = 5 * time.Second

// A talker is one socket of a user of the load, which resumes wherever a process answers.
type talker struct {
	load    *load
	user    int
	name    string
	rand    *rand.Rand // used by live
	answers chan liveFrame

	mu   sync.Mutex
	conn *websocket.Conn
}

// live keeps a socket open until ctx ends, and records its frames.
func (t *talker) live(ctx context.Context) {
	for ctx.Err() == nil {
		query := ""
		if seq, _, started := t.load.checker.position(t.name); started {
			query = fmt.Sprint("?since=", seq)
		}
		dialing, cancel := context.WithTimeout(ctx, requestTimeout)
		conn, err := t.load.fleet.at(t.rand.IntN(t.load.fleet.len())).tryDial(dialing, t.user, query)
		cancel()
		if err != nil {
			t.load.refuse("socket not opened")
			t.load.pause(ctx, retryPause)
			continue
		}
		t.receive(ctx, conn)
		t.use(nil)
		conn.CloseNow()
	}
}

func (t *talker) use(conn *websocket.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = conn
}

func (t *talker) current() *websocket.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn
}

func (t *talker) receive(ctx context.Context, conn *websocket.Conn) {
	conn.SetReadLimit(1 << 20)
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var f liveFrame
		if json.Unmarshal(raw, &f) != nil {
			t.load.refuse("a frame that is no JSON")
			return
		}
		switch f.Op {
		case "hello":
			t.load.checker.greeted(t.name, f.Seq)
			t.use(conn)
		case "event":
			t.load.checker.frame(t.name, f.Seq, f.Prev, f.Message.Conversation, f.Message.ID)
			t.markRead(ctx, conn, &f.Message)
		case "resync":
			t.load.checker.resync(t.name, f.Seq)
		case "ack", "error":
			f.raw = string(raw)
			t.answer(&f)
		}
	}
}

// markRead marks the conversation as read up to one of eight incoming messages.
func (t *talker) markRead(ctx context.Context, conn *websocket.Conn, m *message) {
	var partner int
	if fmt.Sscan(m.Sender, &partner); m.ID == "" || partner == t.user || t.load.stopped() || t.rand.IntN(8) != 0 {
		return
	}
	t.load.checker.askReadUpTo(t.user, partner, m.ID)
	text := fmt.Appendf(nil, `{"op":"read","ref":"read %d %s","conversation_id":%q,"message_id":%q}`, partner, m.ID, m.Conversation, m.ID)
	writing, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	_ = conn.Write(writing, websocket.MessageText, text) // a failure loses nothing: the request was not acknowledged
}

// answer handles the answer to a request of this socket.
func (t *talker) answer(f *liveFrame) {
	var partner int
	var id string
	if n, _ := fmt.Sscanf(f.Ref, "read %d %s", &partner, &id); n == 2 {
		if f.Op == "ack" {
			t.load.checker.readUpToAcked(t.user, partner, id)
			t.load.acknowledge(reading)
		}
		return
	}
	select {
	case t.answers <- *f:
	default: // answers to requests that were given up
	}
}

// say sends messages one after the other, each until it is acknowledged.
func (t *talker) say(ctx context.Context) {
	r := t.load.random(t.user)
	for i := 0; !t.load.stopped() && ctx.Err() == nil; i++ {
		to := firstTalker + (t.user-firstTalker+1+r.IntN(talkers-1))%talkers
		clientID := fmt.Sprintf("m%d.%d", t.user, i)
		t.load.checker.sendMessage(clientID, t.user, to)
		for try := 0; ctx.Err() == nil; try++ {
			if id := t.send(ctx, clientID, to, try); id != "" {
				t.load.checker.messageAcked(clientID, id)
				t.load.acknowledge(talking)
				break
			}
			t.load.pause(ctx, retryPause)
		}
		t.load.pause(ctx, 120*time.Millisecond)
	}
}

// send sends a message once, and returns its id if it is acknowledged.
func (t *talker) send(ctx context.Context, clientID string, to, try int) (id string) {
	conn := t.current()
	if conn == nil {
		return ""
	}
	ref := fmt.Sprint(clientID, "/", try)
	waiting, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	text := fmt.Appendf(nil, `{"op":"send","ref":%q,"instant_message":{"receiver_id":%d,"category":0,"body_bb":%q,"client_id":%q}}`, ref, to, clientID, clientID)
	if conn.Write(waiting, websocket.MessageText, text) != nil {
		return ""
	}
	for {
		select {
		case f := <-t.answers:
			if f.Ref != ref {
				continue
			}
			if f.Op == "error" {
				t.load.refuse("message: " + f.Code)
			}
			return f.ID
		case <-waiting.Done():
			t.load.refuse("message: no answer")
			conn.CloseNow()
			return ""
		}
	}
}
