package provider

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Requests that were not processed according to a GOAWAY are sent again at once. Requests
// that may have been processed are not. The connection that replaces the old one takes the
// full load.
func TestGoAway(t *testing.T) {
	var anew atomic.Int32
	held := make(chan func(), 1)
	s := newServer(t, 100, nil)
	s.serve = func(c *conn, stream uint32) {
		switch {
		case c.n > 1:
			anew.Add(1)
			c.answer(stream, 200, "")
		case stream == 1:
			c.answer(stream, 200, "")
		case stream == 3:
			held <- func() { c.nc.Close() }
		case stream == 41: // 3 was processed, 5 to 41 were not
			c.goAway(3)
		}
	}
	p := newPool(t, s, 20, 20)
	postMany(t, p, s.url, 1)

	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	results := make(chan Attempt, 20)
	for range 20 {
		go func() { results <- post(ctx, p, s.url) }()
	}
	for i := range 19 {
		if a := <-results; a.Status != 200 {
			t.Fatalf("request %d: status %d, error %v", i, a.Status, a.Err)
		}
	}
	(<-held)()
	if a := <-results; a.Answered() || Unanswered(&a).Reason != "connection" {
		t.Errorf("a request that may have been processed got %d, %v; want a lost connection", a.Status, a.Err)
	}
	if n := anew.Load(); n != 19 {
		t.Errorf("%d requests were sent again, want 19", n)
	}
	postMany(t, p, s.url, 500)
	if n := len(s.connections()); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A connection gets GOAWAY again and again, with dozens of requests in flight. It is
// replaced by one connection at a time, although a new connection allows a single stream at
// first, as with APNs. This is the same whatever the GOAWAY leaves unprocessed.
func TestGoAwayUnderLoad(t *testing.T) {
	for name, last := range map[string]uint32{"abrupt": 201, "graceful": everything} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, 1, func(c *conn, stream uint32) {
				switch {
				case stream == 1:
					time.AfterFunc(5*time.Millisecond, func() { c.allow(100); c.answer(stream, 200, "") })
					return
				case stream == 201 && c.n < 5:
					c.goAway(last)
				}
				time.AfterFunc(time.Millisecond, func() { c.answer(stream, 200, "") })
			})
			p := newPool(t, s, 50, 50)
			for range 10 {
				postMany(t, p, s.url, 100)
			}
			// 5 connections would be enough, but a request that was on its way to the old
			// connection can take the only stream of the new one. A plain http.Transport
			// dials for each of the 50 requests, four times.
			if n := s.accepted.Load(); n > 25 {
				t.Errorf("%d connections, want about 5", n)
			}
		})
	}
}

func TestRefusedStreamIsSentAgain(t *testing.T) {
	var bodies []string
	s := newServer(t, 100, nil)
	s.serve = func(c *conn, stream uint32) {
		bodies = append(bodies, string(c.body))
		if stream == 1 {
			c.reset(stream, http2.ErrCodeRefusedStream)
			return
		}
		c.answer(stream, 200, "")
	}
	p := newPool(t, s, 5, 5)
	if a := post(t.Context(), p, s.url); a.Status != 200 {
		t.Fatalf("status %d, error %v", a.Status, a.Err)
	}
	if len(bodies) != 2 || bodies[0] != "a body" || bodies[1] != "a body" {
		t.Errorf("bodies %q", bodies)
	}
}

// A request ends after maxTries when the server refuses its stream every time.
func TestRefusedStreamsEnd(t *testing.T) {
	var n atomic.Int32
	s := newServer(t, 100, func(c *conn, stream uint32) {
		n.Add(1)
		c.reset(stream, http2.ErrCodeRefusedStream)
	})
	p := newPool(t, s, 5, 5)
	if a := post(t.Context(), p, s.url); !errors.Is(a.Err, errUnprocessed) || n.Load() != maxTries {
		t.Errorf("error %v after %d tries, want %d", a.Err, n.Load(), maxTries)
	}
}
