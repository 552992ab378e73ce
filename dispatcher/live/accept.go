package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Errors of Accept that leave the answer to the caller.
var (
	// ErrSubprotocol: the client does not ask for Subprotocol.
	ErrSubprotocol = errors.New("the subprotocol " + Subprotocol + " is required")
	// ErrHandshake wraps what is wrong with a handshake that was answered already.
	ErrHandshake = errors.New("websocket handshake")
)

// joinWithin is how long a socket waits for its hello, while Redis is away.
const joinWithin = 10 * time.Second

// Accept makes a request the socket of a user who has been authenticated. With
// since it resumes after that frame. Until is when the user's credential expires,
// zero when it does not: the socket is closed with 4001 then, a ping interval later
// at most. It returns as soon as the handshake has ended; everything else happens
// in goroutines of the hub, so that the server's can end.
//
// The error is ErrSubprotocol or ErrClosed, which the caller answers, or wraps
// ErrHandshake: then it was answered.
func (h *Hub) Accept(w http.ResponseWriter, r *http.Request, user int64, until time.Time, since *int64) error {
	if !offers(r, Subprotocol) {
		return ErrSubprotocol
	}
	if !h.admission.enter() {
		return ErrClosed
	}
	s, err := h.handshake(w, r)
	if err != nil {
		h.admission.leave()
		return err
	}
	if !until.IsZero() {
		s.until = until.UnixMilli()
	}
	fresh, ok := h.enter(s, user)
	h.sockets.Add(1)
	if h.admission.closed() { // Drain may have looked before the socket was there
		s.close(codeRestart, reasonRestart)
	}
	if !h.start(func() { h.begin(s, fresh, ok, since) }) {
		s.leave()
	}
	return nil
}

// handshake makes the request's connection a websocket. It waits for the client,
// so that no lock may be held.
func (h *Hub) handshake(w http.ResponseWriter, r *http.Request) (*socket, error) {
	taken := &hijacking{ResponseWriter: w, timeout: h.WriteTimeout}
	opts := &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}, OriginPatterns: h.OriginPatterns}
	if h.Compression {
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	ws, err := websocket.Accept(taken, r, opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	ws.SetReadLimit(h.MaxFrame)
	return &socket{hub: h, ws: ws, conn: taken.conn, accept: r.Header.Get("Accept-Language"), behind: true}, nil
}

// begin brings a socket to where everything runs by itself, or closes it.
func (h *Hub) begin(s *socket, fresh, admitted bool, since *int64) {
	defer func() {
		if !h.start(s.read) { // afresh: this stack has become large
			s.leave()
		}
	}()
	if !admitted {
		s.close(codeTooMany, "too many sockets")
		return
	}
	if s.closed() { // the hub is closing
		return
	}
	ctx, cancel := h.withTimeout(joinWithin)
	defer cancel()
	more, err := h.join(ctx, s, fresh, since)
	if err != nil {
		h.Log.Warn("a socket cannot be greeted", "error", err)
		s.close(codeAway, "try again later")
		return
	}
	if more || !s.settled() { // something came meanwhile
		h.start(func() { h.catchUp(s) })
	}
}

func offers(r *http.Request, protocol string) bool {
	for _, list := range r.Header.Values("Sec-WebSocket-Protocol") {
		if slices.ContainsFunc(strings.Split(list, ","), func(p string) bool {
			return strings.EqualFold(strings.TrimSpace(p), protocol)
		}) {
			return true
		}
	}
	return false
}

// join waits until the user's channel is subscribed, and sends hello and what the
// socket has missed. more says that this was not all.
func (h *Hub) join(ctx context.Context, s *socket, fresh bool, since *int64) (more bool, err error) {
	a := s.audience
	if fresh {
		h.start(func() { h.announce(a) })
	}
	for delay := retryFirst; ; delay *= 2 {
		more, err = h.greet(ctx, s, since)
		if err == nil || !pause(ctx, delay) {
			return more, err
		}
	}
}

// greet sends hello, whose seq is the frame after which the socket's frames begin,
// and in the same write what it has missed. more says that this was not all.
func (h *Hub) greet(ctx context.Context, s *socket, since *int64) (more bool, err error) {
	a := s.audience
	if err := h.bus.await(ctx, a); err != nil {
		return false, err
	}
	revoked, err := h.revokedAt(ctx, a)
	if err != nil {
		return false, err
	}
	locale, err := h.Dispatcher.LocaleOf(ctx, a.user, s.accept)
	if err != nil {
		return false, err
	}
	changes := a.changes.Load()
	unreads, err := h.Inbox.Unreads(ctx, a.user)
	if err != nil {
		return false, err
	}
	seq := int64(math.MaxInt64) // no frame is as new as that
	if since != nil {
		h.metrics.resumes.Inc()
		seq = *since
	}
	missed, newest, known, err := h.replay(a.user, seq)
	if err != nil {
		return false, err
	}
	if !known {
		seq = newest
	}
	s.mu.Lock()
	s.seq, s.revoked, s.locale, s.greeted = seq, revoked, locale, true
	s.push(h.hello(seq, unreads))
	s.checkRevoked()
	more = s.pushSome(missed)
	s.mu.Unlock()
	if !known && since != nil {
		s.resync(newest)
	}
	if a.changes.Load() != changes {
		h.count(a)
	}
	return more, nil
}
