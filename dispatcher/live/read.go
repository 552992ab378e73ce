package live

import (
	"context"
	"time"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/time/rate"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// limits are the rate limits of one client.
type limits struct {
	frames   *rate.Limiter
	rejected *rate.Limiter // frames over the limit, malformed or of an unknown op
}

// rejectedLimit is how many rejected frames a client may send before its socket is
// closed.
var rejectedLimit = chat.Rate{PerSecond: 0.5, Burst: 20}

// A reader handles the frames of one client, one after the other.
type reader struct {
	socket     *socket
	requests   *requests
	goroutines *goroutines
	metrics    *metrics
	texts      *text.Catalogue
	rate       chat.Rate // of frames
	limits     *limits   // nil until the first frame
}

// read handles the client's frames until the connection ends. Then it removes the
// socket from the hub.
func (h *Hub) read(s *socket) {
	defer h.leave(s)
	rd := reader{
		socket: s, requests: h.requests, goroutines: h.goroutines, metrics: h.metrics,
		texts: h.opts.Texts, rate: h.opts.Frames,
	}
	for {
		kind, frame, err := s.ws.Read(context.Background())
		if err != nil {
			if code, reason := s.queue.ended(err); code != 0 {
				_ = s.ws.Close(code, reason) // has a timeout
			}
			return
		}
		rd.handle(kind, frame)
	}
}

// leave closes the connection and removes the socket from the hub. A user who has closed
// the last socket, or is not signed in any more, leaves with it; anybody else may be about
// to come back.
func (h *Hub) leave(s *socket) {
	_ = s.ws.CloseNow() // it may be closed already
	cause := s.queue.endCause()
	if h.users.remove(s, cause == causeClient || cause == causeRevoked) {
		h.depart(s.user, 0)
	}
	h.metrics.closed.WithLabelValues(cause).Inc()
	h.sockets.Add(-1)
	h.admission.leave()
}

// depart ends what a user had who was removed from the registry: the subscription, by which
// scripts see that somebody listens, and the presence. idle is how long ago the user's last
// socket left.
func (h *Hub) depart(u *userSockets, idle time.Duration) {
	h.pubsub.unsubscribe(u)
	h.presence.add(presenceUpdate{user: u, idle: idle})
}

// handle handles one frame and replies to it.
func (rd *reader) handle(kind websocket.MessageType, frame []byte) {
	if rd.socket.queue.closed() {
		return // the client will see the close frame
	}
	if rd.limits == nil {
		rd.limits = &limits{
			frames:   rate.NewLimiter(rate.Limit(rd.rate.PerSecond), rd.rate.Burst),
			rejected: rate.NewLimiter(rate.Limit(rejectedLimit.PerSecond), rejectedLimit.Burst),
		}
	}
	var r request
	if jsonscan.Bounded(frame) != nil || kind != websocket.MessageText || json.Unmarshal(frame, &r) != nil || !validRef(&r) {
		rd.metrics.received.WithLabelValues("malformed").Inc()
		rd.reject(nil, failure("malformed", textMalformed))
		return
	}
	if !rd.limits.frames.Allow() {
		rd.reject(&r, failure("rate_limited", textTooMany))
		return
	}
	do, known := ops[r.Op]
	if !known {
		rd.metrics.received.WithLabelValues("unknown").Inc()
		rd.reject(&r, failure("malformed", textMalformed, member{"errors", map[string]string{"op": "is not known"}}))
		return
	}
	rd.metrics.received.WithLabelValues(r.Op).Inc()
	ctx, cancel := rd.goroutines.withTimeout(requestTimeout)
	defer cancel()
	rd.reply(r.Ref, do(rd.requests, ctx, rd.socket.user.id, &r))
}

// reply queues the answer to a frame.
func (rd *reader) reply(ref jsontext.Value, a *answer) {
	if a.before != nil {
		rd.socket.notify(a.before)
	}
	rd.socket.notify(a.encode(ref, rd.texts, rd.socket.language()))
}

// reject answers a frame that was not carried out. It closes the socket after too
// many of them.
func (rd *reader) reject(r *request, a *answer) {
	var ref jsontext.Value
	if r != nil {
		ref = r.Ref
	}
	rd.reply(ref, a)
	if !rd.limits.rejected.Allow() {
		rd.socket.queue.close(codeTooMany, "too many frames: come back later")
	}
}
