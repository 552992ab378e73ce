package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A client is a live socket of a user, opened with the token "t".
type client struct {
	t    *testing.T
	conn *websocket.Conn
	kept []map[string]any // frames that were read while another one was waited for
}

func (p *process) dial(user int, query string) *client {
	p.t.Helper()
	conn, err := p.tryDial(p.t.Context(), user, query)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.CloseNow() })
	return &client{t: p.t, conn: conn}
}

func (p *process) tryDial(ctx context.Context, user int, query string) (*websocket.Conn, error) {
	header := http.Header{}
	req := &http.Request{Header: header}
	req.SetBasicAuth(fmt.Sprint(user), "t")
	conn, _, err := websocket.Dial(ctx, strings.Replace(p.url, "http", "ws", 1)+"/v2/live"+query, &websocket.DialOptions{
		HTTPHeader: header, Subprotocols: []string{"kabar.v1"},
	})
	return conn, err
}

// next returns the oldest frame with the given op that it has not returned yet. If the
// socket was closed, it returns the close code. It keeps other frames for later, because
// frames may arrive in any order.
func (c *client) next(op string) (map[string]any, websocket.StatusCode) {
	c.t.Helper()
	wanted := func(frame map[string]any) bool { return frame["op"] == op }
	if i := slices.IndexFunc(c.kept, wanted); i >= 0 {
		frame := c.kept[i]
		c.kept = slices.Delete(c.kept, i, i+1)
		return frame, -1
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), waitTimeout)
	defer cancel()
	for {
		_, raw, err := c.conn.Read(ctx)
		if err != nil {
			if code := websocket.CloseStatus(err); code >= 0 {
				return nil, code
			}
			c.t.Fatalf("waiting for %s: %v", op, err)
		}
		var frame map[string]any
		if err := json.Unmarshal(raw, &frame); err != nil {
			c.t.Fatal(err)
		}
		if wanted(frame) {
			return frame, -1
		}
		c.kept = append(c.kept, frame)
	}
}

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

// In TestChat a buyer and a seller chat over two processes: with live frames, pushes and
// read receipts.
func TestChat(t *testing.T) {
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_PUSH_LIVE_GRACE=0")
	first, second := s.serve(), s.serve()
	first.user(66)
	first.user(15)
	first.device(66, "ios", "PHONE66")

	seller, buyer := second.dial(66, ""), first.dial(15, "")
	hello, _ := seller.next("hello")
	buyer.next("hello")
	if hello["unreads"].(map[string]any)["messages"] != 0.0 {
		t.Errorf("hello %v", hello)
	}
	status, sent := first.call("POST", "/v2/messages.json", "15:t", asJSON,
		`{"instant_message": {"receiver_id": "66", "category": "0", "body_bb": "[b]masih[/b] ada?", "client_id": "c1"}}`)
	if status != 200 || sent["message"] != "Pesan terkirim" {
		t.Fatal(status, sent)
	}
	event, _ := seller.next("event")
	message := event["instant_message"].(map[string]any)
	if message["id"] != sent["id"] || message["body"] != "<strong>masih</strong> ada?" || message["sender_id"] != "15" {
		t.Errorf("the seller's socket shows %v", event)
	}
	s.arrive("push", func() bool { return len(s.pushesTo("PHONE66")) == 2 })

	seller.send(`{"op":"send","ref":"r1","instant_message":{"receiver_id":"15","category":"0","body_bb":"masih","client_id":"c2"}}`)
	ack, _ := seller.next("ack")
	if ack["ref"] != "r1" || ack["status"] != "OK" || ack["message"] != "Pesan terkirim" {
		t.Errorf("ack %v", ack)
	}
	seller.send(fmt.Sprintf(`{"op":"read","ref":"r2","conversation_id":%q}`, sent["conversation_id"]))
	read, _ := buyer.next("read")
	if read["conversation_id"] != sent["conversation_id"] {
		t.Errorf("read receipt %v", read)
	}
	_, inbox := second.call("GET", "/v2/messages.json", "66:t", "", "")
	last := inbox["inbox"].([]any)[0].(map[string]any)
	if inbox["unread"] != 0.0 || last["last_message"] != "masih" || last["partner_id"] != "15" {
		t.Errorf("inbox %v", inbox)
	}

	// Resuming at another process brings the missed messages.
	seq := int64(event["seq"].(float64))
	seller.conn.CloseNow()
	first.call("POST", "/v2/messages.json", "15:t", asJSON, `{"instant_message":{"receiver_id":66,"category":0,"body_bb":"oke"}}`)
	again := first.dial(66, fmt.Sprint("?since=", seq))
	for _, want := range []string{"masih", "oke"} {
		missed, _ := again.next("event")
		if got := missed["instant_message"].(map[string]any)["body"]; got != want {
			t.Errorf("resumed with %v, want %s", got, want)
		}
	}

	// A new token ends the sockets that the old one opened.
	second.call("PUT", "/v2/users/66.json", serviceKey, asJSON, `{"token":"another"}`)
	if _, code := again.next("nothing"); code != 4001 {
		t.Errorf("closed with %d, want 4001", code)
	}
	// On SIGTERM, clients are told to reconnect elsewhere.
	stopped := make(chan error, 1)
	go func() { stopped <- first.term() }()
	if _, code := buyer.next("nothing"); code != websocket.StatusServiceRestart && code != websocket.StatusGoingAway {
		t.Errorf("closed with %d", code)
	}
	if err := <-stopped; err != nil {
		t.Errorf("exit: %v", err)
	}
}

// A process is killed (kill -9) after it has answered a message and before the live
// delivery. The receiver gets the message exactly once, by resuming at another process.
func TestKillBetweenStoringAndTheSocket(t *testing.T) {
	s := newSite(t)
	first, second := s.serve(), s.serve()
	first.user(66)
	first.user(15)
	seller := first.dial(66, "")
	hello, _ := seller.next("hello")
	seq := int64(hello["seq"].(float64))
	const messages = 50
	for i := range messages {
		body := fmt.Sprintf(`{"instant_message":{"receiver_id":66,"category":0,"body_bb":"m%d","client_id":"c%d"}}`, i, i)
		if status, answer := second.call("POST", "/v2/messages.json", "15:t", asJSON, body); status != 200 {
			t.Fatal(status, answer)
		}
		if i == messages/2 {
			first.kill()
		}
	}
	again := second.dial(66, fmt.Sprint("?since=", seq))
	for i := range messages {
		event, code := again.next("event")
		if event == nil {
			t.Fatalf("closed with %d after %d messages", code, i)
		}
		if got := event["instant_message"].(map[string]any)["body"]; got != fmt.Sprint("m", i) {
			t.Fatalf("message %d is %v", i, got)
		}
	}
}
