package live

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"

	"github.com/coder/websocket"
)

const flushBytes = 64 << 10 // one write is at most this and one frame

// emptyPing is a ping frame. It is written without coder/websocket, whose Ping blocks
// a goroutine until the pong arrives.
var emptyPing = []byte{0x89, 0x00}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// wakeWriter starts the writer unless it runs. s.mu is held.
func (s *socket) wakeWriter() {
	if !s.writing {
		s.writing = s.hub.start(s.write)
	}
}

// write writes the queue until it is empty. Then it closes the socket if it is to be
// closed.
func (s *socket) write() {
	buffer := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= 2*flushBytes {
			buffer.Reset()
			buffers.Put(buffer)
		}
	}()
	for {
		batch, size, code := s.take()
		if len(batch) == 0 {
			if code != 0 {
				_ = s.ws.Close(code, s.reason) // has a timeout; ends the reader, which removes the socket
			}
			return
		}
		buffer.Reset()
		if err := s.writeBatch(batch, buffer); err != nil {
			s.drop(causeOf(err))
			return
		}
		s.wrote(batch, size)
	}
}

// causeOf returns the cause for an error of a write: stuck if the client did not
// receive in time, else lost.
func causeOf(err error) string {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return "stuck"
	}
	return "lost"
}

// writeBatch writes frames in one write to the network.
func (s *socket) writeBatch(batch [][]byte, buffer *bytes.Buffer) error {
	s.conn.collect(buffer)
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

// take returns the next frames to write. If there are none, it returns the close code,
// and the writer must end.
func (s *socket) take() (batch [][]byte, size int, code websocket.StatusCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.queue) && size < flushBytes {
		size += len(s.queue[n])
		n++
	}
	if n == 0 {
		s.queue = nil // an idle socket needs no memory for it
		s.writing = s.closing != 0
		return nil, 0, s.closing
	}
	batch, s.queue = s.queue[:n:n], s.queue[n:]
	return batch, size, 0
}

// wrote records that frames were written.
func (s *socket) wrote(batch [][]byte, size int) {
	s.hub.metrics.frames.Add(float64(len(batch)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames -= len(batch)
	s.bytes -= size
	if s.frames == 0 {
		s.signalDrained()
	}
}
