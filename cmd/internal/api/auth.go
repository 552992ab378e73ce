package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The values of WWW-Authenticate.
const (
	basicChallenge  = `Basic realm="kabar"`
	bearerChallenge = `Bearer realm="kabar"`
)

// unauthenticated is the failure of requests without valid credentials.
func unauthenticated(challenge string) *failure {
	return &failure{code: unauthorized, header: map[string]string{"WWW-Authenticate": challenge}}
}

// authentication verifies which user or service sends a request.
type authentication struct {
	credentials Credentials
	signIn      SignIn      // nil when credentials keeps users' tokens
	tokens      TokenReader // signIn if it is a TokenReader, else nil
	services    []Service
	refused     *prometheus.CounterVec // sign-ins, by limit
	recheck     time.Duration          // how long a session is good for a body that is still arriving
}

// sessionRecheck is longer than most requests take, so that these cost no round trip more.
const sessionRecheck = time.Second

func newAuthentication(opts Options, m *metrics) *authentication {
	tokens, _ := opts.SignIn.(TokenReader)
	return &authentication{
		credentials: opts.Credentials, signIn: opts.SignIn, tokens: tokens, services: opts.Services,
		refused: m.signInsRefused, recheck: sessionRecheck,
	}
}

// forUser is an endpoint that authenticates the user first.
func (a *authentication) forUser(serve func(r *http.Request, user int64) (reply, error)) endpoint {
	return a.serve(false, func(r *http.Request, s credentials.Session) (reply, error) { return serve(r, s.User) })
}

// forSession is forUser for endpoints whose effect outlives the request: they need to know
// what ends the session.
func (a *authentication) forSession(serve func(r *http.Request, s credentials.Session) (reply, error)) endpoint {
	return a.serve(true, serve)
}

func (a *authentication) serve(lasting bool, serve func(r *http.Request, s credentials.Session) (reply, error)) endpoint {
	return func(r *http.Request) (reply, error) {
		s, err := a.session(r, lasting)
		if err != nil {
			return reply{}, err
		}
		body := a.watchBody(r, s)
		re, err := serve(r, s)
		switch {
		case errors.Is(body.ended, credentials.ErrUnauthorized):
			return reply{}, a.signInFirst()
		case body.ended != nil:
			return reply{}, body.ended
		case err != nil:
			f := *failureOf(err)
			f.user = s.User
			return reply{}, &f
		}
		return re, nil
	}
}

// A sessionBody is the body of a request. It fails when the credential of the request was
// revoked while it arrived, so that nobody acts with a credential that was good when a slow
// request began.
type sessionBody struct {
	io.ReadCloser
	authentication *authentication
	ctx            context.Context
	session        credentials.Session
	checked        time.Time
	ended          error // why it fails; credentials.ErrUnauthorized: revoked
}

// watchBody makes the body of a request a sessionBody. Credentials that are kept elsewhere
// are not revoked here: their bodies are left as they are.
func (a *authentication) watchBody(r *http.Request, s credentials.Session) *sessionBody {
	b := &sessionBody{ReadCloser: r.Body, authentication: a, ctx: r.Context(), session: s, checked: time.Now()}
	if a.signIn == nil && r.ContentLength != 0 {
		r.Body = b
	}
	return b
}

// Read reads from the body. What arrives later than authentication.recheck after the last
// check is not passed on before another one.
func (b *sessionBody) Read(p []byte) (int, error) {
	if b.ended != nil {
		return 0, b.ended
	}
	n, err := b.ReadCloser.Read(p)
	if time.Since(b.checked) < b.authentication.recheck {
		return n, err
	}
	revoked, failed := b.authentication.credentials.Vouch(b.ctx, b.session.User)
	if failed == nil && revoked > b.session.Vouched {
		failed = credentials.ErrUnauthorized
	}
	if failed != nil {
		b.ended = failed
		return 0, failed
	}
	b.checked = time.Now()
	return n, err
}

// session verifies the credential of a request: HTTP Basic user_id:token, or a bearer
// token that names its user. Vouched and Until of the session are set when it is to last
// longer than the request; for credentials that are kept elsewhere, that takes a round trip.
func (a *authentication) session(r *http.Request, lasting bool) (credentials.Session, error) {
	user, token, ok := a.credential(r)
	if !ok {
		return credentials.Session{}, a.signInFirst()
	}
	s := credentials.Session{User: user}
	err := a.verify(r, &s, token, lasting)
	if locked := (*credentials.LockedOutError)(nil); errors.As(err, &locked) {
		a.refused.WithLabelValues(string(locked.Limit)).Inc()
	}
	if errors.Is(err, credentials.ErrUnauthorized) {
		return credentials.Session{}, a.signInFirst()
	}
	if err != nil {
		return credentials.Session{}, err
	}
	if a.tokens != nil {
		_, s.Until, err = a.tokens.Claims(token)
	}
	return s, err
}

// verify verifies a credential, and sets Vouched of its session.
func (a *authentication) verify(r *http.Request, s *credentials.Session, token string, lasting bool) (err error) {
	if a.signIn == nil {
		s.Vouched, err = a.credentials.Authenticate(r.Context(), s.User, token, clientAddress(r).Addr().String())
		return err
	}
	if lasting {
		if s.Vouched, err = a.credentials.Vouch(r.Context(), s.User); err != nil {
			return err
		}
	}
	return a.signIn.Authenticate(r.Context(), s.User, token, clientAddress(r).Addr().String())
}

// credential returns the user and the token in a request's header. ok is false when there
// are none, or when they cannot be a user's.
func (a *authentication) credential(r *http.Request) (user int64, token string, ok bool) {
	if name, token, ok := r.BasicAuth(); ok {
		user, err := model.ParseUser(name)
		return user, token, err == nil
	}
	if a.tokens == nil {
		return 0, "", false
	}
	if token, ok = bearer(r); !ok {
		return 0, "", false
	}
	user, _, err := a.tokens.Claims(token)
	return user, token, err == nil
}

// signInFirst is the failure of requests without a user's valid credentials.
func (a *authentication) signInFirst() *failure {
	if a.tokens != nil {
		return unauthenticated(bearerChallenge)
	}
	return unauthenticated(basicChallenge)
}

// bearer returns the bearer token in a request's header.
func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// forService is an endpoint that authenticates the service and checks its scope first.
func (a *authentication) forService(scope string, serve func(r *http.Request, s *Service) (reply, error)) endpoint {
	return func(r *http.Request) (reply, error) {
		s := a.service(r)
		if s == nil {
			return reply{}, unauthenticated(bearerChallenge)
		}
		if s.Scopes != nil && !slices.Contains(s.Scopes, scope) {
			return reply{}, &failure{code: forbidden, fields: map[string]string{"scope": scope + " is not among those of this key"}}
		}
		return serve(r, s)
	}
}

// service returns the service whose key the request bears, or nil. It compares all keys in
// constant time, so that its duration tells nothing about them.
func (a *authentication) service(r *http.Request) *Service {
	key, ok := bearer(r)
	if !ok {
		return nil
	}
	sum := sha256.Sum256([]byte(key))
	var found *Service
	for i := range a.services {
		if subtle.ConstantTimeCompare(sum[:], a.services[i].KeySHA256[:]) == 1 {
			found = &a.services[i]
		}
	}
	return found
}

// source names the service as the origin of events.
func (s *Service) source() string { return event.ServiceSource(s.Name) }
