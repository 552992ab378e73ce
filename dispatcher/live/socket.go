package live

import (
	"strconv"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// Close codes. They say whether to come back: restart at once, with jitter;
// slow at once, resuming; busy later; revoked never.
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
	hub      *Hub
	audience *audience
	ws       *websocket.Conn
	conn     *conn
	accept   string  // the Accept-Language header of the handshake
	limits   *limits // of the reader; nil until the first frame
	until    int64   // when the user's credential expires, Unix ms; 0 when it does not

	mu      mutex[socketLock]
	locale  text.Locale // of its frames; set before the first one
	greeted bool        // hello is queued: everything else may follow
	behind  bool        // its frames come from the log for now
	again   bool        // behind, and the subscription was renewed meanwhile
	heard   int64       // behind: the newest frame that was offered
	seq     int64       // the last frame that was queued
	revoked int64       // the last revocation before hello, Unix µs
	kicked  int64       // the last one that was heard of
	pinged  bool        // a ping waits or is unanswered
	writing bool        // a goroutine writes
	queue   [][]byte
	frames  int           // queued or being written
	bytes   int           // the same
	room    chan struct{} // closed when nothing waits any more; nil when nobody wants to know
	closing websocket.StatusCode
	reason  string
	why     string // label of the metric, once it is being closed or was dropped
}

// offer gives the socket the next frame of its user, unless it has it, or is behind
// and will find it in the log. A frame that does not follow the last one shows
// that something was lost.
func (s *socket) offer(f *dispatcher.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case f.Seq <= s.seq && s.greeted:
	case s.behind:
		s.heard = max(s.heard, f.Seq)
	case f.Prev != s.seq:
		s.heard = f.Seq
		s.fallBehind()
	default:
		s.seq = f.Seq
		s.push(f.In(s.locale))
	}
}

// fallBehind makes the log the source of the socket's frames. s.mu is held.
func (s *socket) fallBehind() {
	s.behind = true
	s.hub.metrics.catchUps.Inc()
	s.hub.start(func() { s.hub.catchUp(s) })
}

// renewed has the socket look for what it may have missed.
func (s *socket) renewed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind {
		s.again = true
		return
	}
	s.fallBehind()
}

// notify sends a frame that is not logged. Before hello it is not due yet.
func (s *socket) notify(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeted {
		s.push(frame)
	}
}

// push queues a frame; nil is a ping. A full queue closes the socket: the log has
// what it will miss. s.mu is held.
func (s *socket) push(frame []byte) {
	if s.closing != 0 {
		return
	}
	if s.frames >= s.hub.QueueFrames || s.bytes+len(frame) > s.hub.QueueBytes {
		clear(s.queue)
		s.queue = s.queue[:0]
		s.end(codeTooSlow, "too slow: resume")
		return
	}
	s.queue = append(s.queue, frame)
	s.frames++
	s.bytes += len(frame)
	s.wakeWriter()
}

// end has the writer close the socket after what is queued. s.mu is held.
func (s *socket) end(code websocket.StatusCode, reason string) {
	if s.closing == 0 {
		s.closing, s.reason = code, reason
		if s.why == "" {
			s.why = strconv.Itoa(int(code))
		}
		s.makeRoom()
		s.wakeWriter()
	}
}

// close closes the socket, once what is queued was written. It does not wait.
func (s *socket) close(code websocket.StatusCode, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(code, reason)
}

// drop cuts the connection, without a goodbye that nobody would hear.
func (s *socket) drop(why string) {
	s.mu.Lock()
	if s.why == "" {
		s.why = why
	}
	s.makeRoom()
	s.mu.Unlock()
	_ = s.conn.Conn.Close() // its reader sees it and tidies up
}

// closed reports whether nothing more will be queued.
func (s *socket) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing != 0 || s.why != ""
}

// makeRoom lets go on who waits for the queue to be empty. s.mu is held.
func (s *socket) makeRoom() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}
