package provider_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// A gate passes connections on to an address. Until it is open, it accepts them and reads
// nothing, so that their handshakes stall.
type gate struct {
	net.Listener
	to       string
	open     chan struct{}
	accepted chan struct{}
	conns    sync.WaitGroup
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l, to: to, open: make(chan struct{}), accepted: make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	g.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.accepted <- struct{}{}
			g.conns.Go(func() { g.pass(ctx, c) })
		}
	})
	t.Cleanup(func() { cancel(); l.Close(); g.conns.Wait() })
	return g
}

func (g *gate) pass(ctx context.Context, c net.Conn) {
	defer c.Close()
	select {
	case <-g.open:
	case <-ctx.Done():
		return
	}
	up, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { c.Close(); up.Close() })()
	var both sync.WaitGroup
	both.Go(func() { copyAndClose(up, c) })
	both.Go(func() { copyAndClose(c, up) })
	both.Wait()
}

func copyAndClose(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// errMoved is what a check says once the phone belongs to somebody else.
var errMoved = errors.New("moved")

// While the handshake stalls, somebody else registers the phone. Nothing reaches it after
// that (G4), neither from the push that opens the connection nor from those that wait for it.
func TestNothingIsSentAfterAStalledHandshake(t *testing.T) {
	sb, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	host := func(endpoint string) string {
		return strings.TrimSuffix(strings.TrimPrefix(endpoint, "https://"), "/v1")
	}
	google, apple := newGate(t, host(sb.FCM.Endpoint())), newGate(t, host(sb.APNs.Endpoint()))
	gates := map[string]*gate{"fcm": google, "apns": apple}
	for name, s := range targetsAt(t, sb, "https://"+google.Addr().String()+"/v1", "https://"+apple.Addr().String()) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var moved atomic.Bool
			var sends sync.WaitGroup
			for range 5 {
				sends.Go(func() {
					d := delivery()
					d.Check = func(context.Context) error {
						if moved.Load() {
							return errMoved
						}
						return nil
					}
					if r := s.Send(ctx, d); r.Outcome != push.Unsent || r.Err != errMoved {
						t.Errorf("got %+v", r)
					}
				})
			}
			<-gates[name].accepted
			moved.Store(true)
			close(gates[name].open)
			sends.Wait()
			if n := s.Count() + s.Pending(); n != 0 {
				t.Errorf("%d pushes reached the phone", n)
			}
			// The places and the connection are free again.
			if r := s.Send(ctx, delivery()); r.Outcome != push.Accepted {
				t.Errorf("got %+v", r)
			}
		})
	}
}
