package provider

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	// maxGathered bounds what waits to be written on a connection, in bytes. Whoever writes
	// more waits.
	maxGathered = 64 << 10
	// lingerFor bounds how long closing a connection waits for what was written before.
	lingerFor = 250 * time.Millisecond
	// drainFor is how long answers are still read after a write failed.
	drainFor = time.Second
)

// A gatheringConn gathers what is written while a write is under way, and sends it with one
// system call. net/http writes each HTTP/2 frame by itself, and a system call costs more
// than all else about a small frame.
//
// Write returns before its bytes have left. When they cannot be sent, because of an error or
// since the peer takes nothing for writeTimeout, later calls of Write and Read return that
// error; Read first returns what has arrived. Deadlines of writes have no effect: net/http
// sets writeTimeout anew for each frame.
type gatheringConn struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond // one of the following has changed
	waiting []byte    // what is written next
	spare   []byte    // an empty buffer for it
	writing bool      // write runs
	closing bool
	err     error // of a write
}

// gather returns a connection that gathers what is written to c.
func gather(c net.Conn) *gatheringConn {
	g := &gatheringConn{Conn: c}
	g.changed.L = &g.mu
	return g
}

// Write implements [net.Conn]. It waits only for room.
func (c *gatheringConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 && len(c.waiting)+len(b) > maxGathered && c.err == nil && !c.closing {
		c.changed.Wait()
	}
	switch {
	case c.err != nil:
		return 0, c.err
	case c.closing:
		return 0, net.ErrClosed
	}
	c.waiting = append(c.waiting, b...)
	if !c.writing {
		c.writing = true
		go c.write() // Close waits for it
	}
	return len(b), nil
}

// write writes what waits until nothing does. Before each write it lets the goroutines that
// are ready to run go first, as they may have frames to write. When there are none, as on an
// idle system, that takes no time.
func (c *gatheringConn) write() {
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 && c.err == nil {
		all := c.waiting
		c.waiting, c.spare = c.spare[:0], nil
		c.changed.Broadcast() // there is room
		err := c.writeAll(all)
		c.spare = all
		if err != nil {
			c.err = err
			_ = c.Conn.SetReadDeadline(time.Now().Add(drainFor)) // fails only if Read does, too
		}
	}
	c.writing = false
	c.changed.Broadcast()
}

// writeAll writes b, as long as the peer takes any of it within writeTimeout. The caller
// holds mu, which writeAll releases meanwhile.
func (c *gatheringConn) writeAll(b []byte) error {
	for {
		if !c.closing { // Close has set its own deadline
			_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only if Write does, too
		}
		c.mu.Unlock()
		n, err := c.Conn.Write(b)
		runtime.Gosched()
		c.mu.Lock()
		if err == nil || n == 0 || c.closing || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		b = b[n:]
	}
}

// Read implements [net.Conn].
func (c *gatheringConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err != nil {
			err = c.err
		}
	}
	return n, err
}

// Close implements [net.Conn]. The first call waits until all is written, but no longer than
// lingerFor, nor after Close is called again.
func (c *gatheringConn) Close() error {
	c.mu.Lock()
	if !c.closing {
		c.closing = true
		_ = c.Conn.SetWriteDeadline(time.Now().Add(lingerFor)) // fails only if Write does, too
		c.changed.Broadcast()
		for c.writing {
			c.changed.Wait()
		}
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// SetDeadline implements [net.Conn].
func (c *gatheringConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline implements [net.Conn]. It does nothing.
func (c *gatheringConn) SetWriteDeadline(time.Time) error { return nil }
