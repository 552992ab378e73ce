package live

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"

	"github.com/coder/websocket"
)

const flushBytes = 64 << 10 // that are written at once, or one frame more

// emptyPing is a websocket frame that asks for a pong. It is written beneath
// coder/websocket, whose Ping keeps a goroutine until the pong has come.
var emptyPing = []byte{0x89, 0x00}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// wakeWriter starts a writer unless there is one. s.mu is held.
func (s *socket) wakeWriter() {
	if !s.writing {
		s.writing = s.hub.start(s.write)
	}
}

// write writes what is queued until nothing is, and closes the socket when that is
// due.
func (s *socket) write() {
	held := buffers.Get().(*bytes.Buffer)
	defer func() {
		if held.Cap() <= 2*flushBytes {
			held.Reset()
			buffers.Put(held)
		}
	}()
	for {
		batch, size, code := s.take()
		if len(batch) == 0 {
			if code != 0 {
				_ = s.ws.Close(code, s.reason) // bounded; its reader tidies up, whatever comes of it
			}
			return
		}
		held.Reset()
		if err := s.writeBatch(batch, held); err != nil {
			s.drop(whyOf(err))
			return
		}
		s.wrote(batch, size)
	}
}

// whyOf tells a client that receives nothing from one that is gone.
func whyOf(err error) string {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return "stuck"
	}
	return "lost"
}

func (s *socket) writeBatch(batch [][]byte, held *bytes.Buffer) error {
	s.conn.hold(held)
	var err error
	for _, frame := range batch {
		if frame == nil {
			_, err = s.conn.Write(emptyPing)
		} else {
			err = s.ws.Write(context.Background(), websocket.MessageText, frame)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, s.conn.flush())
}

// take returns the next frames to write. When there are none, the writer's role
// ends, unless the socket is to be closed.
func (s *socket) take() (batch [][]byte, size int, code websocket.StatusCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.queue) && size < flushBytes {
		size += len(s.queue[n])
		n++
	}
	if n == 0 {
		s.queue = nil // an idle socket keeps no buffer
		s.writing = s.closing != 0
		return nil, 0, s.closing
	}
	batch, s.queue = s.queue[:n:n], s.queue[n:]
	return batch, size, 0
}

// wrote takes frames off the account.
func (s *socket) wrote(batch [][]byte, size int) {
	s.hub.metrics.frames.Add(float64(len(batch)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames -= len(batch)
	s.bytes -= size
	if s.frames == 0 {
		s.makeRoom()
	}
}
