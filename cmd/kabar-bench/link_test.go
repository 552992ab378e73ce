package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/dispatcher/live"
)

// serveSocket starts a websocket server that calls f with each socket.
func serveSocket(t *testing.T, f func(r *http.Request, ws *websocket.Conn)) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{live.Subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		f(r, ws)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestLink(t *testing.T) {
	texts := [][]byte{[]byte("a"), {}, bytes.Repeat([]byte("b"), 125), bytes.Repeat([]byte("c"), 126),
		bytes.Repeat([]byte("d"), 70_000), []byte("e")}
	address := serveSocket(t, func(r *http.Request, ws *websocket.Conn) {
		user, password, _ := r.BasicAuth()
		if user != "7" || password != secret(7) || r.URL.RawQuery != "since=12" || ws.Subprotocol() != live.Subprotocol {
			t.Errorf("%s signed in to %s with %q", user, r.URL, ws.Subprotocol())
		}
		for _, text := range texts {
			if err := ws.Write(r.Context(), websocket.MessageText, text); err != nil {
				t.Error(err)
			}
		}
		ctx := ws.CloseRead(r.Context())
		if err := ws.Ping(ctx); err != nil { // returns when the pong has arrived
			t.Errorf("ping: %v", err)
		}
		if err := ws.Write(ctx, websocket.MessageText, []byte("after the pong")); err != nil {
			t.Error(err)
		}
		_ = ws.Close(4003, "too slow")
	})
	l, err := dialLink(t.Context(), endpoint{address: address}, "since=12", 7)
	if err != nil {
		t.Fatal(err)
	}
	defer l.drop()
	for _, want := range append(texts, []byte("after the pong")) {
		got, err := l.next()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
		}
	}
	if _, err := l.next(); err == nil || !strings.Contains(err.Error(), "4003") {
		t.Errorf("closed: %v", err)
	}
}

// A frame that a server must not send ends the link. It is not counted as an event.
func TestLinkRefuses(t *testing.T) {
	for name, sent := range map[string]string{
		"a fragment":     "\x01\x01a",
		"a masked frame": "\x81\x81\x00\x00\x00\x00a",
		"binary":         "\x82\x01a",
		"a huge frame":   "\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00",
		"a huge ping":    "\x89\x7e\x00\x7e" + strings.Repeat("p", 126),
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n"+sent)
				_, _ = io.Copy(io.Discard, conn) // until the client closes the connection
			}))
			defer s.Close()
			l, err := dialLink(t.Context(), endpoint{address: strings.TrimPrefix(s.URL, "http://")}, "", 1)
			if err != nil {
				t.Fatal(err)
			}
			defer l.drop()
			if frame, err := l.next(); !errors.Is(err, errNoServer) {
				t.Errorf("%q, %v", frame, err)
			}
		})
	}
}

func TestLinkRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	defer s.Close()
	_, err := dialLink(t.Context(), endpoint{address: strings.TrimPrefix(s.URL, "http://")}, "", 1)
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialLink(ctx, endpoint{address: strings.TrimPrefix(s.URL, "http://")}, "", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
