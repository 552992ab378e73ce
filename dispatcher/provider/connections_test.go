package provider_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

var unanswered = push.Result{Outcome: push.Later, Reason: "connection", Backoff: 10 * time.Second}

// lost is the result of a request that was made and got no answer.
func lost(reason push.Reason) push.Result {
	return push.Result{Outcome: push.Later, Reason: reason, Backoff: 10 * time.Second, Lost: true}
}

// A request that was made has its own timeout, whatever becomes of the context. One that was
// not made ends with the context, and is not lost.
func TestHanging(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{timeout: 50 * time.Millisecond}, func(t *testing.T, b *bench) {
		b.Hang(true)
		if r := b.send(t, b.delivery()); r != lost("timeout") {
			t.Errorf("got %+v", r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		d := b.delivery()
		d.Check = func(context.Context) error { cancel(); return nil }
		if r := b.sender.Send(ctx, d); r != lost("timeout") {
			t.Errorf("canceled while the request was on the wire: got %+v", r)
		}
		d.Check = func(context.Context) error { t.Error("checked"); return nil }
		if r := b.sender.Send(ctx, d); r.Outcome != push.Later || r.Reason != "canceled" || r.Lost {
			t.Errorf("canceled before: got %+v", r)
		}
		b.Hang(false)
		for end := time.Now().Add(time.Minute); ; { // a busy machine may need longer than the timeout
			r := b.send(t, b.delivery())
			if r.Outcome == push.Accepted {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("after that: got %+v", r)
			}
		}
	})
}

// A probe ends with its context, also when its request is on the wire.
func TestHangingProbe(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{timeout: time.Hour}, func(t *testing.T, b *bench) {
		b.Hang(true)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if r := b.sender.Probe(ctx); r.Outcome != push.Later || r.Reason != "timeout" {
			t.Errorf("got %+v", r)
		}
	})
}

// Each GOAWAY under load costs neither a push nor a repetition.
func TestGoAwayLosesNothing(t *testing.T) {
	eachSender(t, sandbox.Options{Latency: time.Millisecond}, options{}, func(t *testing.T, b *bench) {
		const senders, each = 8, 50
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for i := range each {
					if r := b.send(t, b.delivery()); r.Outcome != push.Accepted {
						t.Errorf("push %d: %+v", i, r)
					}
				}
			})
		}
		for _, count := range []int64{50, 150, 300} {
			b.wait(t, func() bool { return b.Count() >= count })
			b.GoAway()
		}
		wg.Wait()
		if n := b.Accepted(); n != senders*each {
			t.Errorf("%d pushes were accepted, want %d", n, senders*each)
		}
	})
}

// A push whose connection is dropped, or whose stream is reset, may have arrived: it is lost,
// and not sent again by the sender. The next one goes on another connection.
func TestDroppedConnections(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{}, func(t *testing.T, b *bench) {
		b.Hang(true)
		result := make(chan push.Result)
		go func() { result <- b.send(t, b.delivery()) }()
		b.wait(t, func() bool { return b.Pending() == 1 })
		b.DropConnections()
		if r := <-result; r != lost("connection") {
			t.Errorf("dropped: got %+v", r)
		}
		b.Hang(false)
		if r := b.send(t, b.delivery()); r.Outcome != push.Accepted {
			t.Errorf("after that: got %+v", r)
		}
		before := b.Count()
		b.Fail(sandbox.AnyToken, 1, sandbox.Response{Lost: true})
		if r := b.send(t, b.delivery()); r != lost("connection") || b.Count()-before != 1 {
			t.Errorf("reset: got %+v after %d requests", r, b.Count()-before)
		}
		if r := b.send(t, b.delivery()); r.Outcome != push.Accepted {
			t.Errorf("after that: got %+v", r)
		}
	})
}

// While a provider refuses connections, pushes wait for their retry, and none is lost. They
// work again when it is back.
func TestRefusedConnections(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{}, func(t *testing.T, b *bench) {
		if err := b.Refuse(true); err != nil {
			t.Fatal(err)
		}
		if r := b.send(t, b.delivery()); r != unanswered {
			t.Errorf("got %+v", r)
		}
		if err := b.Refuse(false); err != nil {
			t.Fatal(err)
		}
		if r := b.send(t, b.delivery()); r.Outcome != push.Accepted {
			t.Errorf("got %+v", r)
		}
	})
}

// A certificate that does not verify is no outage: it tells of our configuration, or of
// somebody who intercepts connections. Nothing is sent.
func TestUntrustedCertificates(t *testing.T) {
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			sb, other := startSandbox(t, sandbox.Options{}), startSandbox(t, sandbox.Options{})
			b := newBench(t, sb, s, hostOf(s.service(other)), options{})
			if r := b.send(t, b.delivery()); r != unclear("tls_certificate") {
				t.Errorf("got %+v", r)
			}
			if n := s.service(other).Count(); n != 0 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

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

// While the handshake stalls, somebody else registers the phone. Nothing reaches it after
// that (G4), neither from the push that opens the connection nor from those that wait for it.
func TestNothingIsSentAfterAStalledHandshake(t *testing.T) {
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			sb := startSandbox(t, sandbox.Options{})
			g := newGate(t, hostOf(s.service(sb)))
			b := newBench(t, sb, s, g.Addr().String(), options{})
			var moved atomic.Bool
			var sends sync.WaitGroup
			for range 5 {
				sends.Go(func() {
					d := b.delivery()
					d.Check = func(context.Context) error {
						if moved.Load() {
							return errMoved
						}
						return nil
					}
					if r := b.send(t, d); r.Outcome != push.Unsent || r.Err != errMoved {
						t.Errorf("got %+v", r)
					}
				})
			}
			<-g.accepted
			moved.Store(true)
			close(g.open)
			sends.Wait()
			if n := b.Count() + b.Pending(); n != 0 {
				t.Errorf("%d pushes reached the phone", n)
			}
			// The places and the connection are free again.
			if r := b.send(t, b.delivery()); r.Outcome != push.Accepted {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// A push waits for a handshake that stalls as long as its context allows, and was not sent
// then: it is neither checked nor lost.
func TestStalledHandshakeEndsWithTheContext(t *testing.T) {
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			sb := startSandbox(t, sandbox.Options{})
			g := newGate(t, hostOf(s.service(sb)))
			b := newBench(t, sb, s, g.Addr().String(), options{})
			ctx, cancel := context.WithCancel(t.Context())
			d := b.delivery()
			d.Check = func(context.Context) error { t.Error("checked"); return nil }
			result := make(chan push.Result)
			go func() { result <- b.sender.Send(ctx, d) }()
			<-g.accepted
			cancel()
			if r := <-result; r.Outcome != push.Later || r.Reason != "canceled" || r.Lost {
				t.Errorf("got %+v", r)
			}
			close(g.open)
			if r := b.send(t, b.delivery()); r.Outcome != push.Accepted {
				t.Errorf("after that: got %+v", r)
			}
		})
	}
}

// A sender that is closed lets the request on the wire finish, ends what still waits, makes
// no other request, and leaves no connection open.
func TestShutdown(t *testing.T) {
	one := map[push.Lane]int{push.Urgent: 1, push.Chat: 1, push.Bulk: 1}
	eachSender(t, sandbox.Options{}, options{inFlight: one}, func(t *testing.T, b *bench) {
		b.Hang(true)
		onWire := make(chan push.Result)
		go func() { onWire <- b.send(t, b.delivery()) }()
		b.wait(t, func() bool { return b.Pending() == 1 })
		waiting := make(chan push.Result)
		d := b.delivery() // for the only place
		d.Check = func(context.Context) error { t.Error("checked"); return nil }
		go func() { waiting <- b.send(t, d) }()
		closed := make(chan struct{})
		go func() { b.sender.Close(); close(closed) }()
		if r := <-waiting; r != unanswered {
			t.Errorf("waiting: got %+v", r)
		}
		b.Hang(false)
		if r := <-onWire; r.Outcome != push.Accepted {
			t.Errorf("on the wire: got %+v", r)
		}
		<-closed
		b.sender.Close() // again
		if r := b.send(t, b.delivery()); r != unanswered {
			t.Errorf("afterwards: got %+v", r)
		}
		if n := b.Count(); n != 1 {
			t.Errorf("%d requests", n)
		}
		b.wait(t, func() bool { return b.Connections() == 0 })
	})
}

// Pushes that hang in one lane do not delay the other lanes (G5).
func TestLanesShareNothing(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{inFlight: map[push.Lane]int{push.Bulk: 2}}, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		var urgent atomic.Bool
		b.Answer(func(sandbox.Push) *sandbox.Response {
			if !urgent.Load() {
				<-release
			}
			return nil
		})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				d := b.delivery()
				d.Lane = push.Bulk
				if r := b.send(t, d); r.Outcome != push.Accepted {
					t.Errorf("got %+v", r)
				}
			})
		}
		b.wait(t, func() bool { return b.Pending() > 0 })
		urgent.Store(true)
		for _, l := range []push.Lane{push.Urgent, push.Chat} {
			d := b.delivery()
			d.Lane = l
			if r := b.send(t, d); r.Outcome != push.Accepted {
				t.Errorf("%v: %+v", l, r)
			}
		}
		if n := b.Connections(); n != 3 {
			t.Errorf("%d connections, want one a lane", n)
		}
		close(release)
		wg.Wait()
	})
}

// A burst without open connections opens only as many as the load needs. FCM's SDK alone
// would open hundreds.
func TestBurst(t *testing.T) {
	o := options{inFlight: map[push.Lane]int{push.Urgent: 180}}
	eachSender(t, sandbox.Options{Latency: 5 * time.Millisecond}, o, func(t *testing.T, b *bench) {
		var wg sync.WaitGroup
		for range 400 {
			wg.Go(func() {
				if r := b.send(t, b.delivery()); r.Outcome != push.Accepted {
					t.Errorf("got %+v", r)
				}
			})
		}
		wg.Wait()
		if n := b.Connections(); n > 2 {
			t.Errorf("%d connections for 180 requests in flight, want 2", n)
		}
	})
}

// Warming up opens the connections of all lanes, and sends nothing.
func TestWarmConnections(t *testing.T) {
	o := options{inFlight: map[push.Lane]int{push.Urgent: 100, push.Chat: 1, push.Bulk: 1}}
	eachSender(t, sandbox.Options{History: 1}, o, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.sender.Warm(ctx); err != nil {
			t.Fatal(err)
		}
		if n := b.Connections(); n != 4 {
			t.Errorf("%d connections, want 4", n)
		}
		if n := len(b.Pushes()); n != 0 {
			t.Errorf("%d pushes", n)
		}
	})
}
