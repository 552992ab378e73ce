package live

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Sizes of the buffers that coder/websocket keeps for each socket. net/http would
// give it 4 KiB each, which an idle socket never needs: frames of data are
// gathered in a buffer that is borrowed (conn.hold), so that the writer's has to
// have room for one control frame only, and what clients send is small.
const (
	readBuffer  = 512
	writeBuffer = 2 + 125 + 1
)

// A conn is the network connection beneath a websocket. It notes when something
// was heard, and can gather what is written, so that frames that wait together
// leave in one write.
//
// coder/websocket writes a control frame in one call of Write, and never inside
// of another frame.
type conn struct {
	net.Conn
	timeout time.Duration // of a write
	early   []byte        // what the client sent right behind its handshake
	heard   atomic.Int64  // when something came last, Unix ms

	mu   mutex[connLock] // held during a write, so that writes do not mix
	held *bytes.Buffer
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.heard.Store(time.Now().UnixMilli())
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		return c.held.Write(p)
	}
	return c.write(p)
}

func (c *conn) write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// hold gathers in b what is written from here on.
func (c *conn) hold(b *bytes.Buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = b
}

// flush writes what was gathered, and ends gathering.
func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.held
	c.held = nil
	if b.Len() == 0 {
		return nil
	}
	_, err := c.write(b.Bytes())
	return err
}

// A hijacking is a ResponseWriter whose connection is taken over as a conn.
type hijacking struct {
	http.ResponseWriter
	timeout time.Duration
	conn    *conn // once it was
}

// Hijack implements http.Hijacker. What the server's own buffers hold moves to the
// conn, so that they can be freed.
func (h *hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	network, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	early, _ := buffers.Reader.Peek(buffers.Reader.Buffered())
	h.conn = &conn{Conn: network, timeout: h.timeout, early: bytes.Clone(early)}
	h.conn.heard.Store(time.Now().UnixMilli())
	return h.conn, bufio.NewReadWriter(
		bufio.NewReaderSize(h.conn, readBuffer), bufio.NewWriterSize(h.conn, writeBuffer)), nil
}
