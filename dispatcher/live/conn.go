package live

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
)

// Sizes of the buffers that coder/websocket keeps for each socket. Those of net/http
// would have 4 KiB each. The read buffer is small because clients send little. The
// write buffer needs room for one control frame only, because data frames are
// collected in a pooled buffer (conn.collect).
const (
	readBuffer  = 512
	writeBuffer = 2 + 125 + 1
)

// A conn is the network connection of a websocket. It records when it last read
// something, and can collect several frames into one write to the network.
//
// coder/websocket writes a control frame in one call of Write, and never inside of
// another frame.
type conn struct {
	net.Conn
	timeout  time.Duration // of a write
	early    []byte        // what the client sent together with its handshake
	lastRead atomic.Int64  // when something was last read, Unix ms
	meter    meter         // of control frames
	flooded  atomic.Bool   // the client has sent too many of them

	mu     mutex[connLock] // held during a write, so that writes do not mix
	buffer *bytes.Buffer   // not nil while writes are collected
}

// Read returns errFlood once when the client has sent too many control frames. Afterwards
// it drops what the client sends, until the connection ends.
func (c *conn) Read(p []byte) (n int, err error) {
	if c.flooded.Load() {
		return 0, c.drain(p)
	}
	if len(c.early) > 0 {
		n = copy(p, c.early)
		c.early = c.early[n:]
	} else {
		n, err = c.Conn.Read(p)
		c.lastRead.Store(time.Now().UnixMilli())
	}
	if passed := c.meter.pass(p[:n]); passed < n {
		c.flooded.Store(true)
		return passed, errFlood
	}
	return n, err
}

// drainInterval is the time between two reads of a connection that is drained.
const drainInterval = 20 * time.Millisecond

// drain reads and drops what the client sends until the connection ends. It reads slowly,
// so that a flood costs nothing, but it does read: closing a connection with unread data
// resets it, and the client might lose the close frame.
func (c *conn) drain(p []byte) error {
	for {
		if _, err := c.Conn.Read(p); err != nil {
			return err
		}
		time.Sleep(drainInterval)
	}
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buffer != nil {
		return c.buffer.Write(p)
	}
	return c.write(p)
}

func (c *conn) write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// collect makes Write append to b, until flush is called.
func (c *conn) collect(b *bytes.Buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buffer = b
}

// flush writes what was collected to the network.
func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.buffer
	c.buffer = nil
	if b.Len() == 0 {
		return nil
	}
	_, err := c.write(b.Bytes())
	return err
}

// A hijacker is a ResponseWriter that wraps the hijacked connection in a conn.
type hijacker struct {
	http.ResponseWriter
	timeout time.Duration
	control chat.Rate // of control frames
	conn    *conn     // nil until Hijack has returned
}

// Hijack implements http.Hijacker. It copies what the server has read ahead into the
// conn, so that the server's buffers can be freed.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	network, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijack the connection: %w", err)
	}
	early, _ := buffers.Reader.Peek(buffers.Reader.Buffered())
	h.conn = &conn{Conn: network, timeout: h.timeout, early: bytes.Clone(early), meter: newMeter(h.control)}
	h.conn.lastRead.Store(time.Now().UnixMilli())
	return h.conn, bufio.NewReadWriter(
		bufio.NewReaderSize(h.conn, readBuffer), bufio.NewWriterSize(h.conn, writeBuffer)), nil
}
