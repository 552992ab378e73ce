package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// testTimeout is the longest that a test waits for one thing.
const testTimeout = time.Minute

// newPool returns a pool of connections to the server. It is closed when the test ends.
func newPool(t *testing.T, s *server, inFlight, perConn int) *Pool {
	t.Helper()
	return newImpatientPool(t, s, inFlight, perConn, testTimeout)
}

// newImpatientPool is newPool with a timeout for each request.
func newImpatientPool(t *testing.T, s *server, inFlight, perConn int, timeout time.Duration) *Pool {
	t.Helper()
	p := NewPool(Options{URL: s.url, RootCAs: s.roots, InFlight: inFlight, PerConn: perConn, Timeout: timeout})
	t.Cleanup(p.Close)
	return p
}

// post sends a request with a body and returns its record.
func post(ctx context.Context, p *Pool, url string) Attempt {
	var a Attempt
	req, err := http.NewRequestWithContext(WithAttempt(ctx, &a), http.MethodPost, url+"/push", strings.NewReader("a body"))
	if err != nil {
		return Attempt{Err: err}
	}
	p.RoundTrip(req) //nolint:bodyclose // the body is in the record
	return a
}

// postMany sends n requests at once and fails the test unless all get 200.
func postMany(t *testing.T, p *Pool, url string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if a := post(ctx, p, url); a.Status != http.StatusOK {
				t.Errorf("status %d, error %v; want 200", a.Status, a.Err)
			}
		})
	}
	wg.Wait()
}

func TestPoolRecordsTheAnswer(t *testing.T) {
	s := newServer(t, 100, func(c *conn, stream uint32) { c.answer(stream, 503, "the body") })
	p := newPool(t, s, 1, 1)
	a := Attempt{Authorization: "bearer x"}
	req, _ := http.NewRequestWithContext(WithAttempt(t.Context(), &a), http.MethodPost, s.url, strings.NewReader("a body"))
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "the body" || string(a.Body) != "the body" || a.Status != 503 || a.Header == nil || a.Err != nil {
		t.Errorf("got body %q and record %+v", body, a)
	}
	if req.Header.Get("Authorization") != "" {
		t.Error("the caller's request was changed")
	}
}

// A new connection is opened by one request. Later requests wait for its answer and then
// share the connection, however many streams the server allows before that. This is the
// same for a connection that was warmed up.
func TestColdConnectionTakesOneRequest(t *testing.T) {
	for _, test := range []struct {
		name    string
		streams uint32
		warm    bool
		first   uint32 // stream of the first push
	}{
		{"one stream", 1, false, 1},
		{"many streams", 100, false, 1},
		{"one stream, warm", 1, true, 1},
		{"many streams, warm", 100, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var answered atomic.Bool
			var early atomic.Int32
			s := newServer(t, test.streams, func(c *conn, stream uint32) {
				if stream != test.first {
					if stream > test.first && !answered.Load() {
						early.Add(1)
					}
					c.answer(stream, 200, "")
					return
				}
				time.AfterFunc(20*time.Millisecond, func() {
					c.allow(100)
					answered.Store(true)
					c.answer(stream, 200, "")
				})
			})
			p := newPool(t, s, 50, 50)
			if test.warm {
				if err := p.Warm(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			postMany(t, p, s.url, 200)
			if n := len(s.connections()); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			if n := early.Load(); n != 0 {
				t.Errorf("%d more requests before the first was answered", n)
			}
		})
	}
}

// The pool opens only as many connections as the limit of requests in flight needs, however
// many requests wait. No connection carries more requests than its limit.
func TestInFlightIsBounded(t *testing.T) {
	const inFlight, perConn = 25, 10
	var mu sync.Mutex
	var held []func() // answers that wait until the limit of requests in flight is reached
	total, most := 0, 0
	perConnMost := map[*conn]int{}
	now := map[*conn]int{}
	s := newServer(t, 100, nil)
	s.serve = func(c *conn, stream uint32) {
		mu.Lock()
		defer mu.Unlock()
		total++
		now[c]++
		most, perConnMost[c] = max(most, total), max(perConnMost[c], now[c])
		held = append(held, func() {
			total--
			now[c]--
			c.answer(stream, 200, "")
		})
		if stream == 1 { // the other requests on this connection wait for its answer
			held[len(held)-1]()
			held = held[:len(held)-1]
		}
		if most < inFlight {
			return
		}
		for _, answer := range held {
			answer()
		}
		held = nil
	}
	p := newPool(t, s, inFlight, perConn)
	postMany(t, p, s.url, 500)
	if most != inFlight {
		t.Errorf("%d requests in flight, want %d", most, inFlight)
	}
	if n := len(s.connections()); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	for _, n := range perConnMost {
		if n > perConn {
			t.Errorf("%d requests on one connection, want at most %d", n, perConn)
		}
	}
}

// Requests are not sent again after other failures, because they may have been processed.
func TestOtherFailuresAreNotSentAgain(t *testing.T) {
	for name, fail := range map[string]func(*conn, uint32){
		"reset":     func(c *conn, stream uint32) { c.reset(stream, http2.ErrCodeInternal) },
		"lost":      func(c *conn, stream uint32) { c.nc.Close() },
		"gone away": func(c *conn, stream uint32) { c.goAway(stream); c.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			s := newServer(t, 100, func(c *conn, stream uint32) { n.Add(1); fail(c, stream) })
			p := newPool(t, s, 5, 5)
			a := post(t.Context(), p, s.url)
			if r := Unanswered(&a); a.Answered() || n.Load() != 1 || r.Outcome != push.Later || r.Reason != "connection" || !r.Lost {
				t.Errorf("status %d, error %v, %d tries, %+v", a.Status, a.Err, n.Load(), r)
			}
		})
	}
}

// When a provider allows fewer streams than the pool puts on a connection, the pool opens
// the connections that the load needs, and every push is sent.
func TestFewerStreamsThanExpected(t *testing.T) {
	const inFlight = 20
	s := newServer(t, 5, nil)
	s.serve = func(c *conn, stream uint32) {
		time.AfterFunc(time.Millisecond, func() { c.answer(stream, 200, "") })
	}
	p := newPool(t, s, inFlight, inFlight)
	postMany(t, p, s.url, 300)
	// 4 connections would be enough if a stream were free as soon as it is answered. How
	// much later it is free depends on the machine. There must not be a connection for each
	// request.
	if n := len(s.connections()); n >= inFlight {
		t.Errorf("%d connections for %d requests in flight on 5 streams each", n, inFlight)
	}
}

func TestWaitingObeysTheContext(t *testing.T) {
	arrived := make(chan func(), 1)
	s := newServer(t, 100, func(c *conn, stream uint32) {
		arrived <- func() { c.answer(stream, 200, "") }
	})
	p := newPool(t, s, 1, 1)
	first := make(chan Attempt, 1)
	go func() { first <- post(context.Background(), p, s.url) }()
	finish := <-arrived

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if a := post(ctx, p, s.url); Unanswered(&a).Reason != "timeout" {
		t.Errorf("error %v, want the deadline's", a.Err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if a := post(ctx, p, s.url); Unanswered(&a).Reason != "canceled" {
		t.Errorf("error %v, want the cancellation's", a.Err)
	}
	finish()
	if a := <-first; a.Status != 200 {
		t.Errorf("status %d, error %v", a.Status, a.Err)
	}
	go func() { (<-arrived)() }()
	postMany(t, p, s.url, 1) // the requests that gave up leave nothing behind
}

// A provider that hangs delays a request only until its timeout.
func TestHungProvider(t *testing.T) {
	s := newServer(t, 100, func(*conn, uint32) {})
	p := newImpatientPool(t, s, 2, 1, 50*time.Millisecond)
	a := post(t.Context(), p, s.url)
	if r := Unanswered(&a); a.Answered() || r.Reason != "timeout" || !r.Lost {
		t.Errorf("status %d, error %v, want a timeout", a.Status, a.Err)
	}
}

func TestUnreachable(t *testing.T) {
	const url = "https://127.0.0.1:1"
	p := NewPool(Options{URL: url})
	defer p.Close()
	a := post(t.Context(), p, url)
	if r := Unanswered(&a); r.Lost || r.Outcome != push.Later || r.Reason != "connection" {
		t.Errorf("error %v, %+v", a.Err, r)
	}
}

func TestUntrustedProvider(t *testing.T) {
	s := newServer(t, 100, nil)
	p := NewPool(Options{URL: s.url})
	defer p.Close()
	a := post(t.Context(), p, s.url)
	if r := Unanswered(&a); r.Lost || r.Outcome != push.Ambiguous || r.Reason != "tls_certificate" {
		t.Errorf("got %+v", r)
	}
}

// A provider that asks for a client certificate gets ours.
func TestClientCertificate(t *testing.T) {
	shown := make(chan int, 1)
	s := newServer(t, 100, func(c *conn, stream uint32) {
		shown <- len(c.nc.(*tls.Conn).ConnectionState().PeerCertificates)
		c.answer(stream, 200, "")
	})
	for certificate, want := range map[*tls.Certificate]int{nil: 0, &s.certificate: 1} {
		p := NewPool(Options{URL: s.url, RootCAs: s.roots, Certificate: certificate})
		if a := post(t.Context(), p, s.url); a.Status != 200 {
			t.Fatalf("status %d, error %v", a.Status, a.Err)
		}
		if n := <-shown; n != want {
			t.Errorf("%d certificates, want %d", n, want)
		}
		p.Close()
	}
}

// Warm opens the connections.
func TestWarm(t *testing.T) {
	s := newServer(t, 100, func(c *conn, stream uint32) { c.answer(stream, 405, "") })
	p := newPool(t, s, 30, 10)
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.accepted.Load(); n != 3 {
		t.Fatalf("%d connections after warming up, want 3", n)
	}
	for range 3 {
		if a := post(t.Context(), p, s.url); a.Status != 405 {
			t.Fatalf("status %d, error %v", a.Status, a.Err)
		}
	}
	if n := s.accepted.Load(); n != 3 {
		t.Errorf("%d connections, want the 3 warm ones", n)
	}
}

func TestWarmReportsWhatFails(t *testing.T) {
	p := NewPool(Options{URL: "https://127.0.0.1:1", InFlight: 2, PerConn: 1})
	defer p.Close()
	if err := p.Warm(t.Context()); err == nil {
		t.Error("no error from a provider that is away")
	}
}

func TestClosedPool(t *testing.T) {
	s := newServer(t, 100, nil)
	p := newPool(t, s, 1, 1)
	p.Close()
	p.Close()
	if a := post(t.Context(), p, s.url); !errors.Is(a.Err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", a.Err)
	}
}
