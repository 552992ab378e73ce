package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

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
	signIn   SignIn
	tokens   TokenReader // signIn if it is a TokenReader, else nil
	services []Service
}

func newAuthentication(signIn SignIn, services []Service) *authentication {
	tokens, _ := signIn.(TokenReader)
	return &authentication{signIn: signIn, tokens: tokens, services: services}
}

// forUser is an endpoint that authenticates the user first.
func (a *authentication) forUser(serve func(r *http.Request, user int64) (reply, error)) endpoint {
	return a.forSession(func(r *http.Request, s session) (reply, error) { return serve(r, s.user) })
}

// forSession is forUser for endpoints that need to know when the credential expires.
func (a *authentication) forSession(serve func(r *http.Request, s session) (reply, error)) endpoint {
	return func(r *http.Request) (reply, error) {
		s, err := a.session(r)
		if err != nil {
			return reply{}, err
		}
		re, err := serve(r, s)
		if err != nil {
			f := *failureOf(err)
			f.user = s.user
			return reply{}, &f
		}
		return re, nil
	}
}

// A session is a user who has signed in.
type session struct {
	user  int64
	until time.Time // when the credential expires; zero when it does not
}

// session verifies the credential of a request: HTTP Basic user_id:token, or a bearer
// token that names its user.
func (a *authentication) session(r *http.Request) (session, error) {
	user, token, ok := a.credential(r)
	if !ok {
		return session{}, a.signInFirst()
	}
	err := a.signIn.Authenticate(r.Context(), user, token, clientAddress(r).Addr().String())
	if errors.Is(err, credentials.ErrUnauthorized) {
		return session{}, a.signInFirst()
	}
	if err != nil {
		return session{}, err
	}
	s := session{user: user}
	if a.tokens != nil {
		_, s.until, err = a.tokens.Claims(token)
	}
	return s, err
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
