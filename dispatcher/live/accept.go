package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// ErrHandshake means that the handshake has failed, and was answered.
var ErrHandshake = errors.New("websocket handshake")

// joinTimeout bounds how long a socket waits for its hello frame.
const joinTimeout = 10 * time.Second

// Accept upgrades a request of an authenticated user to a websocket. If since is not
// nil, the socket resumes after that frame. The socket is closed with 4001 when the user's
// credentials were revoked since the session was vouched for, or are later, and within a
// ping interval after the credential has expired. Accept returns as soon as the handshake
// has ended; goroutines of the hub do the rest.
//
// Accept does not look at the Origin: the caller has decided whose pages may open
// sockets.
//
// The caller answers the request when the error is one of Check. Accept has answered it
// when the error wraps ErrHandshake.
func (h *Hub) Accept(w http.ResponseWriter, r *http.Request, session credentials.Session, since *int64) error {
	if err := h.Check(r); err != nil {
		return err
	}
	if !h.admission.enter() {
		return ErrClosed
	}
	s, err := h.handshake(w, r)
	if err != nil {
		h.admission.leave()
		return err
	}
	s.vouched = session.Vouched
	if !session.Until.IsZero() {
		s.expiresAt = session.Until.UnixMilli()
	}
	fresh, ok := h.users.add(s, session.User, h.opts.Channels.Channel(session.User))
	h.sockets.Add(1)
	if h.admission.closed() { // Drain may have missed this socket
		s.queue.close(codeRestart, reasonRestart)
	}
	if !h.goroutines.start(func() { h.begin(s, fresh, ok, since) }) {
		h.leave(s)
	}
	return nil
}

// handshake upgrades the connection of a request. It writes to the network, so the
// caller must not hold a mutex.
func (h *Hub) handshake(w http.ResponseWriter, r *http.Request) (*socket, error) {
	hj := &hijacker{ResponseWriter: w, timeout: h.opts.WriteTimeout, control: h.opts.ControlFrames}
	opts := &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}, InsecureSkipVerify: true} // of the Origin: see Accept
	if h.opts.Compression {
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	ws, err := websocket.Accept(hj, r, opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	ws.SetReadLimit(h.opts.MaxFrame)
	s := &socket{
		ws: ws, conn: hj.conn, replayer: h.replayer, behind: true,
		acceptLanguage: r.Header.Get("Accept-Language"), defaultAvatar: h.opts.DefaultAvatar(r),
	}
	s.queue = writeQueue{
		ws: ws, conn: hj.conn, goroutines: h.goroutines, written: h.metrics.frames,
		maxFrames: h.opts.QueueFrames, maxBytes: h.opts.QueueBytes,
	}
	return s, nil
}

// begin greets a socket or closes it, and then starts its reader.
func (h *Hub) begin(s *socket, fresh, admitted bool, since *int64) {
	defer func() {
		if !h.goroutines.start(func() { h.read(s) }) { // in a new goroutine, whose stack is small
			h.leave(s)
		}
	}()
	if !admitted {
		s.queue.close(codeTooMany, "too many sockets")
		return
	}
	if s.queue.closed() { // the hub is closing
		return
	}
	ctx, cancel := h.goroutines.withTimeout(joinTimeout)
	defer cancel()
	more, err := h.join(ctx, s, fresh, since)
	if err != nil {
		h.opts.Log.Warn("a socket cannot be greeted", "error", err)
		s.queue.close(codeAway, "try again later")
		return
	}
	if s.queue.closed() { // it was revoked
		return
	}
	if more || !s.caughtUp() {
		h.replayer.start(s)
	}
}

// join greets a socket, and retries until ctx ends. more is true when the socket has
// missed more frames than were queued.
func (h *Hub) join(ctx context.Context, s *socket, fresh bool, since *int64) (more bool, err error) {
	if fresh {
		h.presence.add(presenceUpdate{user: s.user, online: onlineTTL})
	}
	for delay := minRetryDelay; ; delay *= 2 {
		more, err = h.greet(ctx, s, since)
		if err == nil || !rdb.Sleep(ctx, delay) {
			return more, err
		}
	}
}

// greet waits until the user's channel is subscribed. Then it queues hello and the
// frames that the socket has missed. The seq of hello is that of the last frame
// before those. more is true when the socket has missed more frames than were queued. A
// socket that was revoked is closed instead.
func (h *Hub) greet(ctx context.Context, s *socket, since *int64) (more bool, err error) {
	u := s.user
	if err := h.pubsub.await(ctx, u); err != nil {
		return false, err
	}
	changes := u.changes.Load()
	now, err := h.opts.Channels.Snapshot(ctx, u.id)
	if err != nil {
		return false, err
	}
	if s.revoke(now.Revoked) {
		return false, nil
	}
	seq, missed, known := now.Seq, []frame(nil), true
	if since != nil {
		h.metrics.resumes.Inc()
		if missed, seq, known, err = h.replayLog.readInTurn(u.id, *since, &now); err != nil {
			return false, err
		}
		if known {
			seq = *since
		}
	}
	locale := h.opts.Locales.LocaleFor(now.Locale, s.acceptLanguage)
	more = s.greet(helloFrame(seq, now.Unreads, &h.opts), seq, changes, locale, missed)
	if !known {
		h.replayer.resync(s, seq)
	}
	if u.changes.Load() != changes {
		h.counts.add(u)
	}
	return more, nil
}
