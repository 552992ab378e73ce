package live

import (
	"context"
	"errors"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/time/rate"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// limits limit what a client sends.
type limits struct {
	frames   *rate.Limiter
	rejected *rate.Limiter // frames over the limit, malformed or of an unknown op
}

// rejectedLimit is how many rejected frames a client may send before its socket is
// closed.
var rejectedLimit = chat.Rate{PerSecond: 0.5, Burst: 20}

// read handles the client's frames, one after the other, until the connection ends.
// Then it removes the socket from the hub.
func (s *socket) read() {
	defer s.leave()
	for {
		kind, frame, err := s.ws.Read(context.Background())
		if err != nil {
			s.setCause(err)
			return
		}
		s.handle(kind, frame)
	}
}

// setCause records why the connection has ended, unless a cause is known already.
func (s *socket) setCause(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cause != "":
	case errors.Is(err, websocket.ErrMessageTooBig):
		s.cause = "1009"
	case websocket.CloseStatus(err) != -1:
		s.cause = "client"
	default:
		s.cause = "lost"
	}
	s.signalDrained()
}

// leave closes the connection and removes the socket from the hub.
func (s *socket) leave() {
	_ = s.ws.CloseNow() // it may be closed already
	s.user.remove(s)
	s.mu.Lock()
	s.hub.metrics.closed.WithLabelValues(s.cause).Inc()
	s.mu.Unlock()
	s.hub.sockets.Add(-1)
	s.hub.admission.leave()
}

// ops are the requests of clients, by op.
var ops = map[string]func(s *socket, ctx context.Context, r *request) *answer{
	"send":     (*socket).send,
	"read":     (*socket).markRead,
	"typing":   (*socket).typing,
	"presence": (*socket).presence,
	"seen":     (*socket).seen,
}

// handle handles one frame and replies to it.
func (s *socket) handle(kind websocket.MessageType, frame []byte) {
	if s.closed() {
		return // the client will see the close frame
	}
	if s.limits == nil {
		o := &s.hub.Options
		s.limits = &limits{
			frames:   rate.NewLimiter(rate.Limit(o.Frames.PerSecond), o.Frames.Burst),
			rejected: rate.NewLimiter(rate.Limit(rejectedLimit.PerSecond), rejectedLimit.Burst),
		}
	}
	var r request
	if err := json.Unmarshal(frame, &r); err != nil || kind != websocket.MessageText || !validRef(&r) {
		s.hub.metrics.received.WithLabelValues("malformed").Inc()
		s.reject(nil, failure("malformed", textMalformed))
		return
	}
	if !s.limits.frames.Allow() {
		s.reject(&r, failure("rate_limited", textTooMany))
		return
	}
	do, known := ops[r.Op]
	if !known {
		s.hub.metrics.received.WithLabelValues("unknown").Inc()
		s.reject(&r, failure("malformed", textMalformed, member{"errors", map[string]string{"op": "is not known"}}))
		return
	}
	s.hub.metrics.received.WithLabelValues(r.Op).Inc()
	ctx, cancel := s.hub.withTimeout(requestTimeout)
	defer cancel()
	s.reply(r.Ref, do(s, ctx, &r))
}

// reply queues the answer to a frame.
func (s *socket) reply(ref jsontext.Value, a *answer) {
	s.mu.Lock()
	locale := s.locale
	s.mu.Unlock()
	s.notify(a.encode(ref, s.hub.Texts, locale))
}

// reject answers a frame that was not carried out. It closes the socket after too
// many of them.
func (s *socket) reject(r *request, a *answer) {
	var ref jsontext.Value
	if r != nil {
		ref = r.Ref
	}
	s.reply(ref, a)
	if !s.limits.rejected.Allow() {
		s.close(codeTooMany, "too many frames: come back later")
	}
}

// validRef reports whether a request's ref is absent, or a string or a number of at most
// maxRef bytes.
func validRef(r *request) bool {
	_, ok := jsonscan.Scalar(r.Ref)
	return (ok || jsonscan.Absent(r.Ref)) && len(r.Ref) <= maxRef
}

// seen records that the user has seen everything up to a frame.
func (s *socket) seen(ctx context.Context, r *request) *answer {
	seq, ok := number(r.Seq)
	if !ok {
		return invalid(textInvalid, map[string]string{"seq": "must be a number"})
	}
	if err := s.hub.Channels.MarkSeen(ctx, s.user.id, seq); err != nil {
		return s.unavailable(err)
	}
	return ack(member{"message", nil})
}

// unavailable logs an error of Redis, and returns the answer for the client.
func (s *socket) unavailable(err error) *answer {
	s.hub.Log.Warn("a request has failed", "error", err)
	return failure("unavailable", textAway)
}
