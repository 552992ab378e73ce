package live

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// deadlocked is the time after which a step that has not returned counts as a deadlock.
const deadlocked = 30 * time.Second

// within fails the test with the stacks of all goroutines if f does not return in time.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timeout := time.NewTimer(deadlocked)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s: not within %v\n%s", what, deadlocked, stacks[:runtime.Stack(stacks, true)])
	}
}

// A stalling handler holds up the handshakes of requests with stall=1. It also checks that
// no mutex is held while a handshake or its connection waits.
type stalling struct {
	next    http.HandlerFunc
	reached chan struct{} // receives a value from each stalled handshake
	release chan struct{} // closed to let stalled handshakes continue
}

func (h *stalling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.next(&stallingWriter{w, h, r.FormValue("stall") != ""}, r)
}

type stallingWriter struct {
	http.ResponseWriter
	handler *stalling
	stalls  bool
}

func (w *stallingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	mayWait("a handshake")
	if w.stalls {
		w.handler.reached <- struct{}{}
		<-w.handler.release
	}
	c, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return checkedConn{c}, buffers, err
}

// startStalling starts a process whose handshakes can be stalled. In contrast to start,
// stopping it fails the test after a deadlock instead of waiting for ever.
func (w *world) startStalling(t *testing.T) (*process, *stalling) {
	t.Helper()
	p := &process{w: w, Hub: New(checked(w.options()))}
	h := &stalling{next: p.serve, reached: make(chan struct{}, 1), release: make(chan struct{})}
	server := httptest.NewServer(h)
	p.url = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	p.stop = func() {
		cancel()
		within(t, "Run returns", running.Wait)
		within(t, "the server closes", server.Close)
	}
	return p, h
}

// A stalled handshake does not prevent Drain from closing the other sockets, or frames from
// being delivered. Its own socket is closed like the others.
func TestDrainDuringHandshake(t *testing.T) {
	w := newWorld(t)
	p, handshakes := w.startStalling(t)
	open := p.dial(66)
	open.next("hello")
	var late *client
	var failed error
	dialed := make(chan struct{})
	go func() { defer close(dialed); late, failed = p.dialQuery("user=66&stall=1") }()
	<-handshakes.reached

	drained := make(chan struct{})
	go func() { defer close(drained); p.Drain(context.Background()) }()
	within(t, "new sockets are refused", func() {
		for {
			c, err := p.tryDial(15)
			if err != nil {
				return
			}
			c.ws.CloseNow()
		}
	})
	w.publish(66, "frame") // takes the mutexes of the user and of the socket
	if code := open.closed(); code != codeRestart {
		t.Errorf("the open socket is closed with %d", code)
	}
	select {
	case <-drained:
		t.Error("Drain does not wait for the handshake")
	default:
	}
	close(handshakes.release)
	within(t, "the handshake ends", func() { <-dialed })
	if failed != nil {
		t.Fatal(failed)
	}
	if code := late.closed(); code != codeRestart {
		t.Errorf("the late socket is closed with %d", code)
	}
	within(t, "Drain returns", func() { <-drained })
	p.stop()
}

// Drain returns when its context ends, even if a handshake is stalled. A handshake that
// ends after Run leaves nothing behind.
func TestHandshakeOutlivesTheHub(t *testing.T) {
	w := newWorld(t)
	p, handshakes := w.startStalling(t)
	dialed := make(chan struct{})
	go func() {
		defer close(dialed)
		if c, err := p.dialQuery("user=66&stall=1"); err == nil {
			_, _ = c.receive() // until the connection is cut
		}
	}()
	<-handshakes.reached
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	within(t, "Drain returns", func() { p.Drain(expired) })
	stopped := make(chan struct{})
	go func() { defer close(stopped); p.stop() }()
	eventually(t, "Run ended the hub", func() bool { return !p.goroutines.start(func() {}) })
	close(handshakes.release)
	within(t, "the connection is cut", func() { <-dialed })
	within(t, "the process stops", func() { <-stopped })
	eventually(t, "no socket is left", func() bool { return p.sockets.Load() == 0 })
	within(t, "nobody is inside", func() { <-p.admission.close() })
}

// A hub stops when it is told to, while sockets connect and frames flow. All of its sockets
// are closed. For many rounds: go test -run UnderLoad -count=20.
func TestStopUnderLoad(t *testing.T) {
	const rounds, users, dialers, publishers, sockets = 5, 4, 8, 4, 40
	w := newWorld(t)
	for range rounds {
		p, _ := w.startStalling(t)
		var load, publishing sync.WaitGroup
		greeted := make(chan struct{}, 1<<16)
		for i := range dialers {
			load.Go(func() {
				for p.follow(&load, int64(1000+i%users), greeted) == nil {
				}
			})
		}
		ended := make(chan struct{})
		for i := range publishers {
			publishing.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-ended:
						return
					default:
					}
					frame := p.requests.publisher.command(context.Background(), int64(1000+i%users), kindTyping, typingBody("1", int64(n)))
					if err := w.batcher.Do(context.Background(), frame); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range sockets {
			<-greeted
		}
		p.stop()
		within(t, "every socket is closed", load.Wait)
		close(ended)
		publishing.Wait()
		if n := p.sockets.Load(); n != 0 {
			t.Errorf("%d sockets are left", n)
		}
	}
}

// follow opens a socket and starts to read its frames until it is closed. It sends a value
// to greeted after the first frame.
func (p *process) follow(readers *sync.WaitGroup, user int64, greeted chan<- struct{}) error {
	ws, _, err := websocket.Dial(context.Background(), fmt.Sprintf("%s/?user=%d", p.url, user), &websocket.DialOptions{Subprotocols: []string{Subprotocol}})
	if err != nil {
		return err
	}
	readers.Go(func() {
		defer ws.CloseNow()
		for first := true; ; first = false {
			if _, _, err := ws.Read(context.Background()); err != nil {
				return
			}
			if first {
				greeted <- struct{}{}
			}
		}
	})
	return nil
}
