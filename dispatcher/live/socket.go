package live

import (
	"strconv"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// Close codes tell the client whether to reconnect: at once (restart, too slow), later
// (unavailable, too many), or not with this credential (revoked).
const (
	codeRestart = websocket.StatusServiceRestart // 1012
	codeAway    = websocket.StatusTryAgainLater  // 1013: Redis does not answer
	codeRevoked = websocket.StatusCode(4001)
	codeTooSlow = websocket.StatusCode(4003)
	codeTooMany = websocket.StatusCode(4008)
)

const reasonRestart = "restarting: resume at once"

// A socket is one client's connection.
type socket struct {
	hub            *Hub
	user           *userSockets
	ws             *websocket.Conn
	conn           *conn
	acceptLanguage string  // header of the handshake
	limits         *limits // used by the reader only; nil until the first frame
	expiresAt      int64   // when the credential expires, Unix ms; 0: never

	mu            mutex[socketLock]
	locale        text.Locale // of the frames; set when greeted
	greeted       bool        // hello is queued, so that other frames may follow
	behind        bool        // catchUp or greet queues the logged frames
	renewed       bool        // the subscription was renewed while behind
	newestOffered int64       // seq of the newest frame that was offered while behind
	seq           int64       // of the last logged frame that was queued
	revokedBefore int64       // the last revocation when greeted, Unix µs
	revokedAt     int64       // the last revocation, Unix µs
	pinged        bool        // a ping is queued or unanswered
	writing       bool        // the writer runs
	queue         [][]byte
	frames        int                  // how many are queued or being written
	bytes         int                  // their size
	drained       chan struct{}        // closed when frames becomes 0 or the socket ends; nil when nobody waits
	closing       websocket.StatusCode // not 0 once the socket is to be closed
	reason        string               // sent with closing
	cause         string               // why it was closed or dropped: a label of the metric
}

// offer queues a published frame, unless it was queued already. A socket that is
// behind will read the frame from the log. So will one whose last frame is not the
// predecessor: pub/sub has lost a frame.
func (s *socket) offer(f *frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case f.Seq <= s.seq && s.greeted:
	case s.behind:
		s.newestOffered = max(s.newestOffered, f.Seq)
	case f.Prev != s.seq:
		s.newestOffered = f.Seq
		s.fallBehind()
	default:
		s.seq = f.Seq
		s.push(f.In(s.locale))
	}
}

// fallBehind starts to send the missed frames from the log. s.mu is held.
func (s *socket) fallBehind() {
	s.behind = true
	s.hub.metrics.catchUps.Inc()
	s.hub.start(func() { s.hub.catchUp(s) })
}

// onRenewal reads the log, since frames may have been lost before the subscription
// was renewed.
func (s *socket) onRenewal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind {
		s.renewed = true
		return
	}
	s.fallBehind()
}

// notify queues a frame that is not logged. Before hello it drops the frame.
func (s *socket) notify(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted {
		s.push(frame)
	}
}

// push queues a frame; nil is a ping. If the queue is full, it closes the socket: the
// client can resume from the log. s.mu is held.
func (s *socket) push(frame []byte) {
	if s.closing != 0 {
		return
	}
	if s.frames >= s.hub.QueueFrames || s.bytes+len(frame) > s.hub.QueueBytes {
		clear(s.queue)
		s.queue = s.queue[:0]
		s.beginClose(codeTooSlow, "too slow: resume")
		return
	}
	s.queue = append(s.queue, frame)
	s.frames++
	s.bytes += len(frame)
	s.wakeWriter()
}

// beginClose makes the writer close the socket after it has written the queue. s.mu is
// held.
func (s *socket) beginClose(code websocket.StatusCode, reason string) {
	if s.closing == 0 {
		s.closing, s.reason = code, reason
		if s.cause == "" {
			s.cause = strconv.Itoa(int(code))
		}
		s.signalDrained()
		s.wakeWriter()
	}
}

// close closes the socket after the queue was written. It does not wait.
func (s *socket) close(code websocket.StatusCode, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginClose(code, reason)
}

// drop cuts the connection without a close frame. The caller holds no mutex.
func (s *socket) drop(cause string) {
	s.mu.Lock()
	if s.cause == "" {
		s.cause = cause
	}
	s.signalDrained()
	s.mu.Unlock()
	_ = s.conn.Conn.Close() // ends the reader, which removes the socket
}

// closed reports whether the socket is being closed or has ended.
func (s *socket) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing != 0 || s.cause != ""
}

// signalDrained wakes waitUntilDrained. s.mu is held.
func (s *socket) signalDrained() {
	if s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
}
