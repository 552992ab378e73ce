package sandbox

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// closeTimeout bounds how long a service waits for its goroutines to end.
const closeTimeout = 5 * time.Second

// reopenEvery is how often an outage that is over tries to get its port back.
const reopenEvery = 20 * time.Millisecond

// A port is one TCP address with an http.Server behind it. It outlives both its
// listener, which goes when connections are refused, and its server, which a
// graceful shutdown replaces.
type port struct {
	addr      string
	newServer func() *http.Server
	conns     chan net.Conn // from the listener to whichever server is serving

	running context.Context // ends when the port closes
	stop    context.CancelFunc
	tasks   sync.WaitGroup // every goroutine of the port; added to under mu

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	turn     int          // counts Refuse and Outage, the latest of which holds
	server   *http.Server
	open     map[*conn]struct{}
	closed   bool
}

// openPort listens on addr and serves.
func openPort(addr string, newServer func() *http.Server) (*port, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &port{
		addr:      listener.Addr().String(),
		newServer: newServer,
		conns:     make(chan net.Conn),
		open:      make(map[*conn]struct{}),
	}
	p.running, p.stop = context.WithCancel(context.Background())
	p.listenOn(listener)
	p.serve()
	return p, nil
}

// listenOn hands on what listener accepts. The caller holds the lock, as for
// serve, or has the port to itself.
func (p *port) listenOn(listener net.Listener) {
	p.listener = listener
	p.tasks.Go(func() {
		for {
			c, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // such as too many open files
				if !p.pause(reopenEvery) {
					return
				}
				continue
			}
			p.handOn(c)
		}
	})
}

// handOn gives an accepted connection to the server.
func (p *port) handOn(accepted net.Conn) {
	c := &conn{TCPConn: accepted.(*net.TCPConn), port: p}
	p.mu.Lock()
	p.open[c] = struct{}{}
	p.mu.Unlock()
	select {
	case p.conns <- c:
	case <-p.running.Done():
		c.Close()
	}
}

// serve starts a new server, which takes connections together with the one
// before until that one shuts down. The caller holds the lock.
func (p *port) serve() {
	server := p.newServer()
	p.server = server
	source := &source{conns: p.conns, addr: p.addr, done: make(chan struct{})}
	p.tasks.Go(func() { server.ServeTLS(source, "", "") })
}

// pause waits for d and reports false when the port closes meanwhile.
func (p *port) pause(d time.Duration) bool {
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

// GoAway closes all connections gracefully: clients get a GOAWAY frame, requests
// that the service had received are answered on the old connections, and others
// find new ones.
func (p *port) GoAway() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	old := p.server
	p.serve()
	p.tasks.Go(func() {
		old.Shutdown(p.running) // fails only when the port closes
		old.Close()
	})
}

// DropConnections resets all TCP connections, with whatever is under way on them.
func (p *port) DropConnections() {
	p.mu.Lock()
	dropped := make([]*conn, 0, len(p.open))
	for c := range p.open {
		dropped = append(dropped, c)
	}
	p.mu.Unlock()
	for _, c := range dropped {
		c.SetLinger(0) // resets, where a plain close would say goodbye
		c.Close()
	}
}

// Refuse makes the operating system refuse new connections, or ends that. Open
// connections stay. It fails when something else has taken the port meanwhile,
// or the sandbox is closed.
func (p *port) Refuse(refuse bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	return p.refuse(refuse)
}

// refuse does what Refuse says. The caller holds the lock.
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
		p.listenOn(listener)
	}
	return nil
}

// Outage takes the service away: it resets all connections and refuses new ones
// for d, or until the next Refuse or Outage. It returns at once.
func (p *port) Outage(d time.Duration) {
	p.mu.Lock()
	p.turn++
	turn := p.turn
	if p.refuse(true) == nil {
		p.tasks.Go(func() { p.recover(d, turn) })
	}
	p.mu.Unlock()
	p.DropConnections()
}

// recover ends an outage after d, unless another turn has begun.
func (p *port) recover(d time.Duration, turn int) {
	for wait := d; p.pause(wait); wait = reopenEvery {
		p.mu.Lock()
		over := p.turn != turn || p.refuse(false) == nil
		p.mu.Unlock()
		if over {
			return
		}
	}
}

// begin counts a request in, so that close waits for it. It reports false when
// the port is closed; otherwise end must follow.
func (p *port) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.tasks.Add(1)
	}
	return !p.closed
}

// end counts a request out.
func (p *port) end() { p.tasks.Done() }

var errSlowClose = errors.New("sandbox: requests did not end in time")

// close refuses and drops everything and waits for the port's goroutines.
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
		p.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(closeTimeout):
		return errSlowClose
	}
}

// A conn is an accepted connection that its port knows until it is closed.
type conn struct {
	*net.TCPConn
	port *port
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.port.mu.Lock()
	delete(c.port.open, c)
	c.port.mu.Unlock()
	return c.TCPConn.Close()
}

// A source is the net.Listener of one server: what its port has accepted, until
// the server closes it.
type source struct {
	conns <-chan net.Conn
	addr  string
	once  sync.Once
	done  chan struct{}
}

// Accept implements net.Listener.
func (s *source) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *source) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// Addr implements net.Listener.
func (s *source) Addr() net.Addr {
	addr, _ := net.ResolveTCPAddr("tcp", s.addr)
	return addr
}
