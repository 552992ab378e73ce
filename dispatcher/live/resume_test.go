package live

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// A countingListener counts the writes on the connections that it accepts.
type countingListener struct {
	net.Listener
	writes atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l}, err
}

type countedConn struct {
	net.Conn
	listener *countingListener
}

func (c countedConn) Write(p []byte) (int, error) {
	c.listener.writes.Add(1)
	return c.Conn.Write(p)
}

// Resuming takes two writes, one for the handshake and one for hello and all missed frames.
// Each system call matters when thousands of clients reconnect at once.
func TestResumeIsOneWrite(t *testing.T) {
	w := newWorld(t)
	w.publish(66, "p0")
	since := w.newest(66)
	for i := range 10 {
		w.publish(66, fmt.Sprint("missed-", i))
	}
	p := w.start()
	server := httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	listener := &countingListener{Listener: server.Listener}
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	p.url = server.URL

	c := p.dial(66, since)
	c.next("hello")
	for range 10 {
		f := c.next("event")
		if f.Prev != since {
			t.Errorf("%s after %d", f.raw, since)
		}
		since = f.Seq
	}
	if n := listener.writes.Load(); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
	w.publish(66, "live")
	if f := c.next("event"); f.Prev != since {
		t.Errorf("%s after %d", f.raw, since)
	}
}
