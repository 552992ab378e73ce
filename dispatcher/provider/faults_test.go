package provider

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// A server that never allows more than one stream gets one connection for every
// InFlight / PerConn, as any other.
func TestOneStreamForEver(t *testing.T) {
	s := newServer(t, 1, func(c *conn, stream uint32) {
		time.AfterFunc(time.Millisecond, func() { c.answer(stream, 200, "") })
	})
	p := newPool(t, s, 50, 10)
	postMany(t, p, s.url, 500)
	if n := s.accepted.Load(); n > 5 {
		t.Errorf("%d connections, want at most 5", n)
	}
}

// A connection that answers pings and no requests is used by one request.
func TestConnectionThatAnswersNothing(t *testing.T) {
	s := newServer(t, 100, func(c *conn, stream uint32) {
		if c.n > 1 {
			c.answer(stream, 200, "")
		}
	})
	p := newImpatientPool(t, s, 20, 10, 10*time.Second)
	for i := range 3 {
		a := post(t.Context(), p, s.url)
		if i > 0 && a.Status != 200 {
			t.Errorf("request %d: status %d, error %v", i, a.Status, a.Err)
		}
	}
}

// The same after it has answered some.
func TestConnectionThatStopsAnswering(t *testing.T) {
	s := newServer(t, 100, func(c *conn, stream uint32) {
		if c.n > 1 || stream == 1 {
			c.answer(stream, 200, "")
		}
	})
	p := newImpatientPool(t, s, 20, 10, 10*time.Second)
	for i := range 4 {
		a := post(t.Context(), p, s.url)
		if i != 1 && a.Status != 200 {
			t.Errorf("request %d: status %d, error %v", i, a.Status, a.Err)
		}
	}
}

// checked is post with a check.
func checked(ctx context.Context, p *Pool, url string, check func(context.Context) error) Attempt {
	a := Attempt{Check: check}
	req, err := http.NewRequestWithContext(WithAttempt(ctx, &a), http.MethodPost, url+"/push", strings.NewReader("a body"))
	if err != nil {
		return Attempt{Err: err}
	}
	p.RoundTrip(req) //nolint:bodyclose // the body is in the record
	return a
}

// Each request is checked right before it is sent: after the wait for a place, and again
// before it is sent once more.
func TestCheck(t *testing.T) {
	errMoved := errors.New("moved")
	requests := make(chan func(), 10)
	s := newServer(t, 100, nil)
	s.serve = func(c *conn, stream uint32) {
		switch {
		case c.n == 1 && stream == 1:
			requests <- func() { c.reset(stream, http2.ErrCodeRefusedStream) }
		case c.n == 1 && stream == 3:
			requests <- func() { c.goAway(1) }
		default:
			requests <- func() { c.answer(stream, 200, "") }
		}
	}
	p := newPool(t, s, 1, 1)
	var checks atomic.Int32
	waited := make(chan Attempt)
	go func() {
		waited <- checked(t.Context(), p, s.url, func(context.Context) error {
			if checks.Add(1) == 3 {
				return errMoved
			}
			return nil
		})
	}()
	for want := range int32(2) { // refused, then GOAWAY
		answer := <-requests
		if n := checks.Load(); n != want+1 {
			t.Errorf("%d checks before request %d", n, want+1)
		}
		answer()
	}
	if a := <-waited; a.Unsent != errMoved || a.Answered() || Unanswered(&a).Outcome != push.Unsent {
		t.Errorf("got %+v", a)
	}
	if n := len(requests); n != 0 {
		t.Errorf("%d more requests", n)
	}

	// A request that waits for the only place is not checked before it has it.
	go func() { waited <- post(t.Context(), p, s.url) }()
	answer := <-requests
	var free atomic.Bool
	go func() {
		waited <- checked(t.Context(), p, s.url, func(context.Context) error {
			if !free.Load() {
				t.Error("checked while another request has the place")
			}
			return errMoved
		})
	}()
	for p.limiter.waiters.Load() == 0 {
		runtime.Gosched()
	}
	free.Store(true)
	answer()
	for range 2 {
		if a := <-waited; a.Status != 200 && a.Unsent != errMoved {
			t.Errorf("got %+v", a)
		}
	}
	go func() { (<-requests)() }()
	postMany(t, p, s.url, 1) // the place and the stream are free again
}

// Waiting does not use up a request's time: one that got its place shortly before its
// context ended is answered, although that takes longer.
func TestWaitingUsesNoTimeout(t *testing.T) {
	answer := make(chan func(), 1)
	s := newServer(t, 100, func(c *conn, stream uint32) { answer <- func() { c.answer(stream, 200, "") } })
	p := newPool(t, s, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan Attempt)
	go func() { done <- post(ctx, p, s.url) }()
	respond := <-answer
	cancel()
	respond()
	if a := <-done; a.Status != 200 {
		t.Errorf("status %d, error %v", a.Status, a.Err)
	}
}

// After a request was reset, another connection is opened, and the next request takes it.
func TestLostRequestIsFollowedByAnotherConnection(t *testing.T) {
	var second atomic.Int32
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, 100, nil)
	s.serve = func(c *conn, stream uint32) {
		switch {
		case c.n > 1:
			second.Add(1)
			c.answer(stream, 200, "")
		case stream == 3: // others are answered meanwhile, so the connection works
			close(arrived)
			s.wg.Go(func() { <-release; c.reset(stream, http2.ErrCodeInternal) })
		default:
			c.answer(stream, 200, "")
		}
	}
	p := newPool(t, s, 20, 10)
	postMany(t, p, s.url, 1)
	lost := make(chan Attempt)
	go func() { lost <- post(t.Context(), p, s.url) }()
	<-arrived
	postMany(t, p, s.url, 3)
	close(release)
	if a := <-lost; !a.Lost {
		t.Errorf("got %+v", a)
	}
	for open := 0; open < 2; runtime.Gosched() {
		p.limiter.mu.Lock()
		open = len(p.limiter.conns)
		p.limiter.mu.Unlock()
	}
	postMany(t, p, s.url, 1)
	if second.Load() != 1 {
		t.Error("the first connection got the next request")
	}
}

// A connection is open when the provider has answered over HTTP/2: a check that changes its
// mind while that takes long is obeyed.
func TestStalledPreface(t *testing.T) {
	errMoved := errors.New("moved")
	s := newServer(t, 100, func(c *conn, stream uint32) { c.answer(stream, 200, "") })
	s.greet = make(chan struct{})
	p := newPool(t, s, 2, 2)
	var moved atomic.Bool
	done := make(chan Attempt)
	go func() {
		done <- checked(t.Context(), p, s.url, func(context.Context) error {
			if moved.Load() {
				return errMoved
			}
			return nil
		})
	}()
	for len(s.connections()) == 0 { // TLS is done and our preface has arrived
		runtime.Gosched()
	}
	moved.Store(true)
	close(s.greet)
	if a := <-done; a.Unsent != errMoved {
		t.Errorf("got %+v", a)
	}
	postMany(t, p, s.url, 1)
}
