package live

import (
	"fmt"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// Close codes tell the client whether to reconnect: at once (restart, too slow), later
// (unavailable, too many), or not with this credential (revoked). A client that gets
// codeProtocol is faulty.
const (
	codeProtocol = websocket.StatusProtocolError  // 1002
	codeRestart  = websocket.StatusServiceRestart // 1012
	codeAway     = websocket.StatusTryAgainLater  // 1013: Redis does not answer
	codeRevoked  = websocket.StatusCode(4001)
	codeTooSlow  = websocket.StatusCode(4003)
	codeTooMany  = websocket.StatusCode(4008)
)

const reasonRestart = "restarting: resume at once"

// A socket is one client's connection. Its mutex guards what the client has received
// and may receive; the queue has a mutex of its own.
type socket struct {
	user           *userSockets
	ws             *websocket.Conn
	conn           *conn
	queue          writeQueue
	replayer       *replayer
	acceptLanguage string // header of the handshake
	defaultAvatar  string // address that stands for an avatar that is not set
	expiresAt      int64  // when the credential expires, Unix ms; 0: never
	vouched        int64  // credentials.Session.Vouched: a later revocation closes the socket

	mu            mutex[socketLock]
	locale        text.Locale // of the frames; set when greeted
	greeted       bool        // hello is queued, so that other frames may follow
	behind        bool        // catchUp or greet queues the logged frames
	renewed       bool        // the subscription was renewed while behind
	newestOffered int64       // seq of the newest frame that was offered while behind
	seq           int64       // of the last logged frame that was queued
	numbered      int64       // version of the newest unread numbers that were queued
	pinged        bool        // a ping is queued or unanswered
}

// greet queues hello and the frames of the log that follow it. seq is that of the last
// frame before those, and numbered the version of the numbers in hello. more is true when
// frames of the log are left.
func (s *socket) greet(hello []byte, seq, numbered int64, locale text.Locale, logged []frame) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq, s.numbered, s.locale, s.greeted = seq, numbered, locale, true
	texts, more := s.takeLogged(logged)
	s.queue.push(append([][]byte{hello}, texts...)...)
	return more
}

// language returns the language of the frames.
func (s *socket) language() text.Locale {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locale
}

// offer queues a published frame, unless it was queued already. A socket that is
// behind will read the frame from the log. So will one whose last frame is not the
// predecessor: pub/sub has lost a frame. The numbers leave in one write with the frame.
// queued is false when neither was queued.
func (s *socket) offer(f *frame, n numbers) (queued bool) {
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
		s.seq, s.numbered = f.Seq, max(s.numbered, n.version)
		s.queue.pushNumbers(n.frame, s.text(f))
		return true
	}
	return false
}

// offerNumbers queues numbers, and reports false if newer ones were queued. Before hello it
// drops them and reports true: greet asks for a count if one is needed.
func (s *socket) offerNumbers(n numbers) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.greeted:
	case s.numbered > n.version:
		return false
	default:
		s.numbered = n.version
		s.queue.pushNumbers(n.frame)
	}
	return true
}

// text returns a frame as this socket's client gets it. s.mu is held.
func (s *socket) text(f *frame) []byte {
	text := f.In(s.locale)
	if f.message {
		text = content.FillAvatars(text, s.defaultAvatar)
	}
	return text
}

// fallBehind starts to send the missed frames from the log. s.mu is held.
func (s *socket) fallBehind() {
	s.behind = true
	s.replayer.metrics.catchUps.Inc()
	s.replayer.start(s)
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
		s.queue.push(frame)
	}
}

// startReplay returns the seq after which the log is to be read. caughtUp then tells
// whether frames were missed since this call.
func (s *socket) startReplay() (since int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed, s.newestOffered = false, 0
	return s.seq
}

// caughtUp reports whether no frame is missing. If so, live frames are queued from
// now on.
func (s *socket) caughtUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = s.renewed || s.newestOffered > s.seq
	return !s.behind
}

// resync queues a frame that tells the client to fetch its data anew. Logged frames
// follow after newest.
func (s *socket) resync(newest int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = newest
	s.queue.push(fmt.Appendf(nil, `{"op":"resync","seq":%d}`, newest))
}

// drainAndPush waits until the queue is empty, and then queues frames of the log. more
// is true when frames are left.
func (s *socket) drainAndPush(logged []frame) (more bool) {
	s.queue.waitUntilDrained()
	s.mu.Lock()
	defer s.mu.Unlock()
	texts, more := s.takeLogged(logged)
	s.queue.push(texts...)
	return more
}

// takeLogged returns the logged frames that were not queued yet, at most half of a full
// queue. more is true when frames are left: they are read from the log again later, so
// that a slow client does not keep them in memory. s.mu is held, and the caller queues the
// frames before it unlocks s.mu.
func (s *socket) takeLogged(logged []frame) (texts [][]byte, more bool) {
	size := 0
	for _, f := range logged {
		if f.Seq <= s.seq {
			continue
		}
		text := s.text(&f)
		if size += len(text); len(texts) > 0 && (len(texts) >= s.queue.maxFrames/2 || size > s.queue.maxBytes/2) {
			return texts, true
		}
		s.seq = f.Seq
		texts = append(texts, text)
	}
	return texts, false
}
