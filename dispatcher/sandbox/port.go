package sandbox

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// closeTimeout bounds how long a service waits for its goroutines to end.
const closeTimeout = 30 * time.Second

// retryInterval is how often listening and accepting are retried after a failure.
const retryInterval = 20 * time.Millisecond

// A port is one TCP address with an http.Server. Its listener is closed while connections
// are refused, and its server is replaced by GoAway.
type port struct {
	addr      string
	newServer func() *http.Server
	changed   func()        // called when a connection was accepted or closed
	conns     chan net.Conn // from the listener to the current server

	running    context.Context // ends when the port closes
	stop       context.CancelFunc
	goroutines sync.WaitGroup // and requests; added to under mu

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	calls    int          // of Refuse and Outage: a later call cancels an outage
	server   *http.Server
	open     map[*conn]struct{}
	stalled  *stall // nil while connections are passed on at once
	closed   bool

	silent   atomic.Pointer[chan struct{}] // closed to end the silence; nil without one
	received atomic.Int64                  // bytes
}

// openPort listens on addr and starts a server. It calls changed whenever a connection was
// accepted or closed.
func openPort(addr string, newServer func() *http.Server, changed func()) (*port, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &port{
		addr:      listener.Addr().String(),
		newServer: newServer,
		changed:   changed,
		conns:     make(chan net.Conn),
		open:      make(map[*conn]struct{}),
	}
	p.running, p.stop = context.WithCancel(context.Background())
	p.acceptFrom(listener)
	p.serve()
	return p, nil
}

// acceptFrom starts to accept connections from a listener. The caller holds the lock, or is
// the only one to know the port.
func (p *port) acceptFrom(listener net.Listener) {
	p.listener = listener
	p.goroutines.Go(func() {
		for {
			c, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // such as too many open files
				if !p.sleep(retryInterval) {
					return
				}
				continue
			}
			p.forward(c)
		}
	})
}

// forward passes an accepted connection to the server, after a stall if there is one.
func (p *port) forward(accepted net.Conn) {
	c := &conn{TCPConn: accepted.(*net.TCPConn), port: p, closed: make(chan struct{})}
	p.mu.Lock()
	p.open[c] = struct{}{}
	stalled := p.stalled.take()
	p.mu.Unlock()
	p.changed()
	if stalled == nil {
		p.pass(c)
		return
	}
	p.goroutines.Go(func() {
		select {
		case <-stalled:
		case <-p.running.Done():
		}
		p.pass(c)
	})
}

// pass passes a connection to the server, or closes it if the port has closed.
func (p *port) pass(c *conn) {
	select {
	case p.conns <- c:
	case <-p.running.Done():
		c.Close()
	}
}

// serve starts a new server. Until the previous one shuts down, both accept connections.
// The caller holds the lock, or is the only one to know the port.
func (p *port) serve() {
	server := p.newServer()
	p.server = server
	listener := &connListener{conns: p.conns, addr: p.addr, done: make(chan struct{})}
	p.goroutines.Go(func() { server.ServeTLS(listener, "", "") })
}

// sleep waits for d. It returns false if the port closes first.
func (p *port) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.running.Done():
		return false
	}
}

// Connections returns how many connections are open.
func (p *port) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// Received returns how many bytes all connections have received since the start, with what
// TLS and HTTP/2 add.
func (p *port) Received() int64 { return p.received.Load() }

// GoAway closes all connections gracefully: clients receive a GOAWAY frame, the requests
// that the service has received are answered on the old connections, and later ones need
// a new connection. It does not wait for that.
func (p *port) GoAway() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	old := p.server
	p.serve()
	p.goroutines.Go(func() {
		old.Shutdown(p.running) // fails only when the port closes
		old.Close()
	})
}

// DropConnections resets all TCP connections, including requests in flight.
func (p *port) DropConnections() {
	p.mu.Lock()
	dropped := make([]*conn, 0, len(p.open))
	for c := range p.open {
		dropped = append(dropped, c)
	}
	p.mu.Unlock()
	for _, c := range dropped {
		c.SetLinger(0) // send RST instead of FIN
		c.Close()
	}
}

// Refuse(true) makes the operating system refuse new connections; Refuse(false) accepts
// them again. Open connections stay. It fails if another process has taken the port
// meanwhile, or if the sandbox is closed.
func (p *port) Refuse(refuse bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	return p.refuse(refuse)
}

// refuse implements Refuse. The caller holds the lock.
func (p *port) refuse(refuse bool) error {
	switch {
	case p.closed:
		return net.ErrClosed
	case refuse && p.listener != nil:
		p.listener.Close()
		p.listener = nil
	case !refuse && p.listener == nil:
		listener, err := net.Listen("tcp", p.addr)
		if err != nil {
			return err
		}
		p.acceptFrom(listener)
	}
	return nil
}

// Outage resets all connections and refuses new ones for d, or until the next call of
// Refuse or Outage. It returns at once.
func (p *port) Outage(d time.Duration) {
	p.mu.Lock()
	p.calls++
	call := p.calls
	if p.refuse(true) == nil {
		p.goroutines.Go(func() { p.recover(d, call) })
	}
	p.mu.Unlock()
	p.DropConnections()
}

// recover ends an outage after d, unless Refuse or Outage was called again.
func (p *port) recover(d time.Duration, call int) {
	for wait := d; p.sleep(wait); wait = retryInterval {
		p.mu.Lock()
		over := p.calls != call || p.refuse(false) == nil
		p.mu.Unlock()
		if over {
			return
		}
	}
}

// begin registers a request, so that close waits for it. It returns false if the port is
// closed; otherwise the caller must call end.
func (p *port) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.goroutines.Add(1)
	}
	return !p.closed
}

// end ends a request that begin registered.
func (p *port) end() { p.goroutines.Done() }

var errSlowClose = errors.New("sandbox: requests did not end in time")

// close stops listening, drops all connections, and waits up to closeTimeout for the
// port's goroutines and requests.
func (p *port) close() error {
	p.mu.Lock()
	p.refuse(true)
	p.closed = true
	server := p.server
	p.mu.Unlock()
	p.stop()
	server.Close()
	p.DropConnections()

	ended := make(chan struct{})
	go func() {
		p.goroutines.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(closeTimeout):
		return errSlowClose
	}
}

// A conn is an accepted connection. It is in its port's set until it is closed.
type conn struct {
	*net.TCPConn
	port   *port
	once   sync.Once
	closed chan struct{}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.port.mu.Lock()
	delete(c.port.open, c)
	c.port.mu.Unlock()
	defer c.port.changed()
	return c.TCPConn.Close()
}

// Read implements net.Conn. What arrives during a silence is returned after it.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.port.received.Add(int64(n))
	c.awaitSound()
	return n, err
}

// Write implements net.Conn. What is written during a silence is sent after it.
func (c *conn) Write(b []byte) (int, error) {
	c.awaitSound()
	return c.TCPConn.Write(b)
}

// awaitSound waits for the end of a silence, or until the connection or the port closes.
func (c *conn) awaitSound() {
	if silent := c.port.silent.Load(); silent != nil {
		select {
		case <-*silent:
		case <-c.closed:
		case <-c.port.running.Done():
		}
	}
}

// A connListener is the net.Listener of one server. It returns the connections that the
// port has accepted, until the server closes it.
type connListener struct {
	conns <-chan net.Conn
	addr  string
	once  sync.Once
	done  chan struct{}
}

// Accept implements net.Listener.
func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *connListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *connListener) Addr() net.Addr {
	addr, _ := net.ResolveTCPAddr("tcp", l.addr)
	return addr
}
