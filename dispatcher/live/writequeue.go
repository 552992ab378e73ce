package live

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
)

const flushBytes = 64 << 10 // one write is at most this and one frame

const (
	causeClient  = "client" // of a socket that the client has closed with a close frame
	causeRevoked = "4001"   // of a socket whose credential is not good any more
)

// emptyPing is a ping frame. It is written without coder/websocket, whose Ping blocks
// a goroutine until the pong arrives.
var emptyPing = []byte{0x89, 0x00}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// A writeQueue holds the frames that are to be written to a socket. A goroutine writes
// them; it runs only while frames are queued, so that an idle socket has none. The
// queue also records that the socket is to be closed, and why it has ended.
type writeQueue struct {
	ws                  *websocket.Conn
	conn                *conn
	goroutines          *goroutines
	written             prometheus.Counter // frames
	maxFrames, maxBytes int                // that may be pending

	mu      mutex[writeQueueLock]
	writing bool // the writer runs
	frames  [][]byte
	numbers []byte               // unread numbers that follow frames; newer ones replace them
	pending int                  // frames that are queued or being written
	bytes   int                  // their size
	drained chan struct{}        // closed when pending becomes 0 or the socket ends; nil when nobody waits
	closing websocket.StatusCode // not 0 once the socket is to be closed
	reason  string               // sent with closing
	cause   string               // why it was closed or dropped: a label of the metric
}

// push queues frames; a nil one is a ping. The writer sends them in one write, as far
// as flushBytes allows. If the queue is full, push closes the socket: the client can
// resume from the log.
func (q *writeQueue) push(frames ...[]byte) { q.pushNumbers(nil, frames...) }

// pushNumbers is push, and queues a frame of unread numbers that follows the frames, unless
// it is nil. It replaces numbers that are still queued.
func (q *writeQueue) pushNumbers(numbers []byte, frames ...[]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, frame := range frames {
		if q.closing != 0 {
			return
		}
		if q.pending >= q.maxFrames || q.bytes+len(frame) > q.maxBytes {
			clear(q.frames)
			q.frames, q.numbers = q.frames[:0], nil
			q.beginClose(codeTooSlow, "too slow: resume")
			return
		}
		q.frames = append(q.frames, frame)
		q.pending++
		q.bytes += len(frame)
	}
	if numbers != nil && q.closing == 0 {
		if q.numbers == nil {
			q.pending++
		}
		q.bytes += len(numbers) - len(q.numbers)
		q.numbers = numbers
	}
	if len(frames) > 0 || numbers != nil {
		q.wakeWriter()
	}
}

// ping queues a ping.
func (q *writeQueue) ping() {
	q.push([][]byte{nil}...)
}

// close makes the writer close the socket after it has written the queue. It does not
// wait.
func (q *writeQueue) close(code websocket.StatusCode, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.beginClose(code, reason)
}

// beginClose is close; q.mu is held.
func (q *writeQueue) beginClose(code websocket.StatusCode, reason string) {
	if q.closing == 0 {
		q.closing, q.reason = code, reason
		q.end(strconv.Itoa(int(code)))
		q.wakeWriter()
	}
}

// end records why the socket ends, unless a cause is known already. q.mu is held.
func (q *writeQueue) end(cause string) {
	if q.cause == "" {
		q.cause = cause
	}
	q.signalDrained()
}

// drop cuts the connection without a close frame. The caller holds no mutex.
func (q *writeQueue) drop(cause string) {
	q.mu.Lock()
	q.end(cause)
	q.mu.Unlock()
	_ = q.conn.Conn.Close() // ends the reader, which removes the socket
}

// ended records that a read has failed, after which nothing is read any more. It returns
// the code and the reason with which the caller must close the connection, unless it has
// ended already: then the code is 0.
func (q *writeQueue) ended(err error) (code websocket.StatusCode, reason string) {
	var network net.Error
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case errors.Is(err, errFlood):
		code, reason = codeTooMany, "too many control frames: come back later"
	case errors.Is(err, websocket.ErrMessageTooBig):
		code = websocket.StatusMessageTooBig // the library has sent the close frame
	case websocket.CloseStatus(err) != -1:
		q.end(causeClient)
		return 0, ""
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		q.end("lost")
		return 0, ""
	default:
		code, reason = codeProtocol, "malformed frame"
	}
	q.end(strconv.Itoa(int(code)))
	return code, reason
}

// endCause returns why the socket has ended, or "" when it has not.
func (q *writeQueue) endCause() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cause
}

// closed reports whether the socket is being closed or has ended.
func (q *writeQueue) closed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closing != 0 || q.cause != ""
}

// waitUntilDrained waits until the queue is empty or the socket ends. The write
// timeout bounds the wait.
func (q *writeQueue) waitUntilDrained() {
	q.mu.Lock()
	if q.pending == 0 || q.closing != 0 || q.cause != "" {
		q.mu.Unlock()
		return
	}
	if q.drained == nil {
		q.drained = make(chan struct{})
	}
	drained := q.drained
	q.mu.Unlock()
	<-drained
}

// signalDrained wakes waitUntilDrained. q.mu is held.
func (q *writeQueue) signalDrained() {
	if q.drained != nil {
		close(q.drained)
		q.drained = nil
	}
}

// wakeWriter starts the writer unless it runs. q.mu is held.
func (q *writeQueue) wakeWriter() {
	if !q.writing {
		q.writing = q.goroutines.start(q.write)
	}
}

// write writes the queue until it is empty. Then it closes the socket if it is to be
// closed.
func (q *writeQueue) write() {
	buffer := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= 2*flushBytes {
			buffer.Reset()
			buffers.Put(buffer)
		}
	}()
	for {
		batch, size, code := q.take()
		if len(batch) == 0 {
			if code != 0 {
				_ = q.ws.Close(code, q.reason) // has a timeout; ends the reader, which removes the socket
			}
			return
		}
		buffer.Reset()
		if err := q.writeBatch(batch, buffer); err != nil {
			q.drop(causeOf(err))
			return
		}
		q.wrote(batch, size)
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
func (q *writeQueue) writeBatch(batch [][]byte, buffer *bytes.Buffer) error {
	q.conn.collect(buffer)
	var err error
	for _, frame := range batch {
		if frame == nil {
			_, err = q.conn.Write(emptyPing)
		} else {
			err = q.ws.Write(context.Background(), websocket.MessageText, frame)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, q.conn.flush())
}

// take returns the next frames to write. If there are none, it returns the close code,
// and the writer must end.
func (q *writeQueue) take() (batch [][]byte, size int, code websocket.StatusCode) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.frames) && size < flushBytes {
		size += len(q.frames[n])
		n++
	}
	if n == len(q.frames) && q.numbers != nil {
		q.frames = append(q.frames, q.numbers)
		size += len(q.numbers)
		n, q.numbers = n+1, nil
	}
	if n == 0 {
		q.frames = nil // an idle socket needs no memory for it
		q.writing = q.closing != 0
		return nil, 0, q.closing
	}
	batch, q.frames = q.frames[:n:n], q.frames[n:]
	return batch, size, 0
}

// wrote records that frames were written.
func (q *writeQueue) wrote(batch [][]byte, size int) {
	q.written.Add(float64(len(batch)))
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending -= len(batch)
	q.bytes -= size
	if q.pending == 0 {
		q.signalDrained()
	}
}
