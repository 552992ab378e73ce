package live

import (
	"context"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	minRetryDelay = 50 * time.Millisecond
	maxRetryDelay = 2 * time.Second
)

// catchUp sends a socket that is behind the frames that it has missed, from the
// replay log, until none is missing. While a socket is behind, nobody else queues
// logged frames for it.
func (h *Hub) catchUp(s *socket) {
	ctx, cancel := h.context()
	defer cancel()
	delay := minRetryDelay
	for !s.closed() {
		more, err := h.catchUpOnce(ctx, s)
		switch {
		case err == nil && !more:
			return
		case err == nil:
			delay = minRetryDelay
		default:
			h.Log.Warn("the replay log cannot be read", "error", err)
			if !rdb.Sleep(ctx, delay) {
				return
			}
			delay = min(2*delay, maxRetryDelay)
		}
	}
}

// catchUpOnce reads the log once. more is true when frames are still missing.
func (h *Hub) catchUpOnce(ctx context.Context, s *socket) (more bool, err error) {
	s.mu.Lock()
	since := s.seq
	s.renewed, s.newestOffered = false, 0
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	revoked, err := h.revokedAt(ctx, s.user) // pub/sub may have lost this, too
	if err != nil {
		return true, err
	}
	s.revoke(revoked)
	frames, newest, known, err := h.replay(s.user.id, since)
	if err != nil {
		return true, err
	}
	if !known {
		s.resync(newest)
	} else if more = s.drainAndPush(frames); more {
		return true, nil
	}
	if !s.caughtUp() {
		return true, nil
	}
	h.count(s.user) // pub/sub may have lost a change of the unreads
	return false, nil
}

// caughtUp reports whether no frame is missing. If so, live frames are queued from
// now on.
func (s *socket) caughtUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = s.renewed || s.newestOffered > s.seq
	return !s.behind
}

// replay reads the log. At most maxReads calls do so at a time. The wait for a turn
// has no timeout: it is long when thousands of sockets reconnect at once.
func (h *Hub) replay(user, since int64) (frames []frame, newest int64, known bool, err error) {
	select {
	case h.reads <- struct{}{}:
		defer func() { <-h.reads }()
	case <-h.done:
		return nil, 0, false, ErrClosed
	}
	ctx, cancel := h.withTimeout(requestTimeout)
	defer cancel()
	return h.readLog(ctx, user, since)
}

// resync tells the client to fetch its data anew, since the log lacks frames.
func (s *socket) resync(newest int64) {
	s.hub.metrics.resyncs.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = newest
	s.push(fmt.Appendf(nil, `{"op":"resync","seq":%d}`, newest))
}

// drainAndPush waits until the queue is empty, and then calls pushLogged.
func (s *socket) drainAndPush(frames []frame) (more bool) {
	s.waitUntilDrained()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushLogged(frames)
}

// pushLogged queues frames of the log until the queue is half full. It returns true
// when frames are left. The caller reads those again later, so that a slow client
// does not keep them in memory. s.mu is held, so that the writer waits, and sends all
// of the frames in one write.
func (s *socket) pushLogged(frames []frame) (more bool) {
	size := 0
	for i, f := range frames {
		if size += len(f.Text); i > 0 && (i >= s.hub.QueueFrames/2 || size > s.hub.QueueBytes/2) {
			return true
		}
		if f.Seq > s.seq {
			s.seq = f.Seq
			s.push(f.In(s.locale))
		}
	}
	return false
}

// waitUntilDrained waits until the queue is empty or the socket ends. The write
// timeout bounds the wait.
func (s *socket) waitUntilDrained() {
	s.mu.Lock()
	if s.frames == 0 || s.closing != 0 || s.cause != "" {
		s.mu.Unlock()
		return
	}
	if s.drained == nil {
		s.drained = make(chan struct{})
	}
	drained := s.drained
	s.mu.Unlock()
	<-drained
}
