package live

import (
	"context"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// catchUp brings a socket that is behind what the log has after its last frame,
// until nothing is missing. It is the only one to queue logged frames meanwhile.
func (h *Hub) catchUp(s *socket) {
	ctx, cancel := h.context()
	defer cancel()
	delay := retryFirst
	for !s.closed() {
		more, err := h.catchUpOnce(ctx, s)
		switch {
		case err == nil && !more:
			return
		case err == nil:
			delay = retryFirst
		default:
			h.Log.Warn("the replay log cannot be read", "error", err)
			if !pause(ctx, delay) {
				return
			}
			delay = min(2*delay, retryMost)
		}
	}
}

// catchUpOnce reads the log once. more says that something is still missing.
func (h *Hub) catchUpOnce(ctx context.Context, s *socket) (more bool, err error) {
	s.mu.Lock()
	since := s.seq
	s.again, s.heard = false, 0
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	revoked, err := h.revokedAt(ctx, s.audience) // may have been missed, too
	if err != nil {
		return true, err
	}
	s.revoke(revoked)
	frames, newest, known, err := h.replay(s.audience.user, since)
	if err != nil {
		return true, err
	}
	if !known {
		s.resync(newest)
	} else if more = s.pushAll(frames); more {
		return true, nil
	}
	if !s.settled() {
		return true, nil
	}
	h.count(s.audience) // numbers may have changed unheard
	return false, nil
}

// settled reports whether nothing is missing any more, and if so lets live frames
// follow.
func (s *socket) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = s.again || s.heard > s.seq
	return !s.behind
}

// replay reads the log. Only some may do so at a time; waiting for a turn has no
// timeout, as it takes long when thousands of sockets come back at once.
func (h *Hub) replay(user, since int64) (frames []dispatcher.Frame, newest int64, known bool, err error) {
	select {
	case h.reads <- struct{}{}:
		defer func() { <-h.reads }()
	case <-h.done:
		return nil, 0, false, ErrClosed
	}
	ctx, cancel := h.withTimeout(askTimeout)
	defer cancel()
	return h.Dispatcher.Replay(ctx, user, since)
}

// resync tells the client that it has to fetch afresh.
func (s *socket) resync(newest int64) {
	s.hub.metrics.resyncs.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = newest
	s.push(fmt.Appendf(nil, `{"op":"resync","seq":%d}`, newest))
}

// pushAll waits until nothing is queued, and then does what pushSome does.
func (s *socket) pushAll(frames []dispatcher.Frame) (more bool) {
	s.waitForRoom()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushSome(frames)
}

// pushSome queues frames of the log, but no more at once than half of what the
// queue may hold. When there are more it reports true: those are read again, so
// that no slow client keeps them in memory. s.mu is held, which keeps the writer
// waiting: all of them leave in one write.
func (s *socket) pushSome(frames []dispatcher.Frame) (more bool) {
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

// waitForRoom waits until nothing is queued. The write timeout bounds it.
func (s *socket) waitForRoom() {
	s.mu.Lock()
	if s.frames == 0 || s.closing != 0 || s.why != "" {
		s.mu.Unlock()
		return
	}
	if s.room == nil {
		s.room = make(chan struct{})
	}
	room := s.room
	s.mu.Unlock()
	<-room
}
