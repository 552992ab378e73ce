package live

import (
	"context"
	"errors"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/time/rate"

	"github.com/kabar-gateway/kabar/dispatcher"
)

// limits are those of what a client sends.
type limits struct {
	frames   *rate.Limiter
	patience *rate.Limiter // with frames that are too many or cannot be understood
}

// patience is how many such frames a client may send before it is closed.
var patience = dispatcher.Rate{PerSecond: 0.5, Burst: 20}

// read reads what the client sends, and carries it out, one frame after the other,
// until the connection ends. It is the socket's last goroutine.
func (s *socket) read() {
	defer s.leave()
	for {
		kind, frame, err := s.ws.Read(context.Background())
		if err != nil {
			s.note(err)
			return
		}
		s.handle(kind, frame)
	}
}

// note keeps why the connection ended, unless that is known.
func (s *socket) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.why != "":
	case errors.Is(err, websocket.ErrMessageTooBig):
		s.why = "1009"
	case websocket.CloseStatus(err) != -1:
		s.why = "client"
	default:
		s.why = "lost"
	}
	s.makeRoom()
}

// leave takes the socket out of the hub.
func (s *socket) leave() {
	_ = s.ws.CloseNow() // does nothing to one that is closed
	s.audience.remove(s)
	s.mu.Lock()
	s.hub.metrics.closed.WithLabelValues(s.why).Inc()
	s.mu.Unlock()
	s.hub.sockets.Add(-1)
	s.hub.admission.leave()
}

// ops are what clients may ask for.
var ops = map[string]func(s *socket, ctx context.Context, r *request) *answer{
	"send":     (*socket).send,
	"read":     (*socket).markRead,
	"typing":   (*socket).typing,
	"presence": (*socket).presence,
	"seen":     (*socket).seen,
}

// handle answers one frame.
func (s *socket) handle(kind websocket.MessageType, frame []byte) {
	if s.closed() {
		return // it was told so
	}
	if s.limits == nil {
		o := &s.hub.Options
		s.limits = &limits{
			frames:   rate.NewLimiter(rate.Limit(o.Frames.PerSecond), o.Frames.Burst),
			patience: rate.NewLimiter(rate.Limit(patience.PerSecond), patience.Burst),
		}
	}
	var r request
	if err := json.Unmarshal(frame, &r); err != nil || kind != websocket.MessageText || !validRef(&r) {
		s.hub.metrics.received.WithLabelValues("malformed").Inc()
		s.complain(nil, failure("malformed", textMalformed))
		return
	}
	if !s.limits.frames.Allow() {
		s.complain(&r, failure("rate_limited", textTooMany))
		return
	}
	do, known := ops[r.Op]
	if !known {
		s.hub.metrics.received.WithLabelValues("unknown").Inc()
		s.complain(&r, failure("malformed", textMalformed, member{"errors", map[string]string{"op": "is not known"}}))
		return
	}
	s.hub.metrics.received.WithLabelValues(r.Op).Inc()
	ctx, cancel := s.hub.withTimeout(askTimeout)
	defer cancel()
	s.reply(r.Ref, do(s, ctx, &r))
}

// reply answers a frame.
func (s *socket) reply(ref jsontext.Value, a *answer) {
	s.mu.Lock()
	locale := s.locale
	s.mu.Unlock()
	s.notify(a.encode(ref, s.hub.Texts, locale))
}

// complain answers a frame that should not have been sent. After too many of them
// the socket is closed.
func (s *socket) complain(r *request, a *answer) {
	var ref jsontext.Value
	if r != nil {
		ref = r.Ref
	}
	s.reply(ref, a)
	if !s.limits.patience.Allow() {
		s.close(codeTooMany, "too many frames: come back later")
	}
}

func validRef(r *request) bool {
	_, ok := scalar(r.Ref)
	return ok && len(r.Ref) <= maxRef
}

// seen: this person has everything up to a frame in front of them.
func (s *socket) seen(ctx context.Context, r *request) *answer {
	seq, ok := number(r.Seq)
	if !ok {
		return invalid(textInvalid, map[string]string{"seq": "must be a number"})
	}
	if err := s.hub.Inbox.SeenUpTo(ctx, s.audience.user, seq); err != nil {
		return s.away(err)
	}
	return ack(member{"message", nil})
}

// away is the answer while Redis does not answer.
func (s *socket) away(err error) *answer {
	s.hub.Log.Warn("what a client asked for has failed", "error", err)
	return failure("unavailable", textAway)
}
