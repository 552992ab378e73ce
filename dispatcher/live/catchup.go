package live

import (
	"context"
	"log/slog"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	minRetryDelay = 50 * time.Millisecond
	maxRetryDelay = 2 * time.Second
)

// A replayer sends sockets the frames that they have missed.
type replayer struct {
	channels   Channels
	replayLog  *replayLog
	counts     *countQueue
	goroutines *goroutines
	metrics    *metrics
	log        *slog.Logger
}

// start starts a goroutine that sends a socket the frames that it has missed.
func (r *replayer) start(s *socket) {
	r.goroutines.start(func() { r.catchUp(s) })
}

// catchUp sends a socket that is behind the frames that it has missed, from the
// replay log, until none is missing. While a socket is behind, nobody else queues
// logged frames for it.
func (r *replayer) catchUp(s *socket) {
	ctx := r.goroutines.context()
	delay := minRetryDelay
	for !s.queue.closed() {
		more, err := r.readOnce(ctx, s)
		switch {
		case err == nil && !more:
			return
		case err == nil:
			delay = minRetryDelay
		default:
			r.log.Warn("the replay log cannot be read", "error", err)
			if !rdb.Sleep(ctx, delay) {
				return
			}
			delay = min(2*delay, maxRetryDelay)
		}
	}
}

// readOnce reads the log once. more is true when frames are still missing.
func (r *replayer) readOnce(ctx context.Context, s *socket) (more bool, err error) {
	since := s.startReplay()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now, err := r.channels.Snapshot(ctx, s.user.id)
	if err != nil {
		return true, err
	}
	s.revoke(now.Revoked) // pub/sub may have lost this, too
	frames, newest, known, err := r.replayLog.readInTurn(s.user.id, since, &now)
	if err != nil {
		return true, err
	}
	if !known {
		r.resync(s, newest)
	} else if more = s.drainAndPush(frames); more {
		return true, nil
	}
	if !s.caughtUp() {
		return true, nil
	}
	r.counts.add(s.user) // pub/sub may have lost a change of the unreads
	return false, nil
}

// resync tells the client to fetch its data anew, since the log lacks frames.
func (r *replayer) resync(s *socket, newest int64) {
	r.metrics.resyncs.Inc()
	s.resync(newest)
}
