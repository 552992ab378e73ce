package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/live"
)

// Live holds the websockets of users. [live.Hub] implements it and documents the methods
// and their errors.
type Live interface {
	// Check returns the error that Accept would return for a request, without an effect.
	Check(r *http.Request) error
	Accept(w http.ResponseWriter, r *http.Request, s credentials.Session, since *int64) error
}

const livePath = "/v2/live"

// sockets serves the websocket endpoint and the one of its tickets.
type sockets struct {
	live        Live // nil when there are none
	credentials Credentials
	auth        *authentication
	origins     *origins
	failures    *failures
}

// ticket: POST /v2/live/ticket.json
func (so *sockets) ticket(r *http.Request, s credentials.Session) (reply, error) {
	ticket, err := so.credentials.Issue(r.Context(), s)
	if err != nil {
		return reply{}, err
	}
	re, err := ok(struct {
		Status    string  `json:"status"`
		Ticket    string  `json:"ticket"`
		ExpiresIn int     `json:"expires_in"` // seconds
		Message   *string `json:"message"`
	}{"OK", ticket, int(credentials.TicketTTL / time.Second), nil})
	re.header = map[string]string{"Cache-Control": "no-store"}
	return re, err
}

// openSocket: GET /v2/live
func (so *sockets) openSocket(r *http.Request) (reply, error) {
	if so.live == nil {
		return reply{}, &failure{code: notFound}
	}
	if err := so.origins.mayOpenSocket(r); err != nil {
		return reply{}, err
	}
	if err := so.live.Check(r); err != nil {
		return reply{}, refusedHandshake(err)
	}
	query := r.URL.Query() // a handshake has no body
	var since *int64
	if text := query.Get("since"); text != "" {
		seq, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seq < 0 {
			return reply{}, wrong("since", "must be the seq of a frame")
		}
		since = &seq
	}
	// Last, because it spends the ticket.
	s, err := so.socketSession(r, query.Get("ticket"))
	if err != nil {
		return reply{}, err
	}
	return reply{serve: func(w http.ResponseWriter, r *http.Request) int {
		noted := &statusWriter{ResponseWriter: w, status: http.StatusSwitchingProtocols}
		err := so.live.Accept(noted, r, s, since)
		if err != nil && !errors.Is(err, live.ErrHandshake) {
			return so.failures.fail(livePath, r, refusedHandshake(err)).write(w, r)
		}
		return noted.status
	}}, nil
}

// refusedHandshake is the failure of a request that cannot become a socket.
func refusedHandshake(err error) error {
	switch {
	case errors.Is(err, live.ErrNoUpgrade):
		return &failure{
			code: upgradeRequired, header: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket"},
			fields: map[string]string{"Upgrade": "must be websocket, with Connection: Upgrade, over HTTP/1.1; a proxy in between must pass both on"},
		}
	case errors.Is(err, live.ErrVersion):
		return &failure{
			code: upgradeRequired, header: map[string]string{"Sec-WebSocket-Version": live.Version},
			fields: map[string]string{"Sec-WebSocket-Version": "must be " + live.Version},
		}
	case errors.Is(err, live.ErrKey):
		return &failure{code: malformed, fields: map[string]string{"Sec-WebSocket-Key": "must be 16 bytes in base64"}}
	case errors.Is(err, live.ErrSubprotocol):
		return wrong("Sec-WebSocket-Protocol", "must offer "+live.Subprotocol)
	}
	return err
}

// socketSession returns the session of a ticket, or that of the request's credential when
// there is no ticket.
func (so *sockets) socketSession(r *http.Request, ticket string) (credentials.Session, error) {
	if ticket == "" {
		return so.auth.session(r, true)
	}
	s, err := so.credentials.Redeem(r.Context(), ticket)
	if errors.Is(err, credentials.ErrUnauthorized) {
		return credentials.Session{}, so.auth.signInFirst()
	}
	return s, err
}
