package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher"
)

// What a client that is not signed in is asked for.
const (
	basicChallenge  = `Basic realm="kabar"`
	bearerChallenge = `Bearer realm="kabar"`
)

func signInFirst(challenge string) *failure {
	return &failure{code: unauthorized, header: map[string]string{"WWW-Authenticate": challenge}}
}

// forUser lets signed-in users through to an endpoint.
func (a *api) forUser(serve func(r *http.Request, user int64) (reply, error)) endpoint {
	return func(r *http.Request) (reply, error) {
		user, err := a.user(r)
		if err != nil {
			return reply{}, err
		}
		return serve(r, user)
	}
}

// user verifies HTTP Basic user_id:token and returns the user.
func (a *api) user(r *http.Request) (int64, error) {
	name, token, ok := r.BasicAuth()
	if !ok {
		return 0, signInFirst(basicChallenge)
	}
	user, err := dispatcher.ParseUser(name)
	if err != nil {
		return 0, signInFirst(basicChallenge)
	}
	err = a.Devices.Authenticate(r.Context(), user, token, peer(r))
	if errors.Is(err, devices.ErrUnauthorized) {
		return 0, signInFirst(basicChallenge)
	}
	return user, err
}

// peer returns the address at the other end of the connection, without its port.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// forService lets services that have the scope through to an endpoint.
func (a *api) forService(scope string, serve func(r *http.Request, s *Service) (reply, error)) endpoint {
	return func(r *http.Request) (reply, error) {
		s := a.service(r)
		if s == nil {
			return reply{}, signInFirst(bearerChallenge)
		}
		if s.Scopes != nil && !slices.Contains(s.Scopes, scope) {
			return reply{}, &failure{code: forbidden, fields: map[string]string{"scope": scope + " is not among those of this key"}}
		}
		return serve(r, s)
	}
}

// service returns the service whose key the request bears, or nil. It takes as
// long whichever key that is.
func (a *api) service(r *http.Request) *Service {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	var found *Service
	for i := range a.Services {
		if subtle.ConstantTimeCompare(sum[:], a.Services[i].KeySHA256[:]) == 1 {
			found = &a.Services[i]
		}
	}
	return found
}

// source names the service as the origin of events.
func (s *Service) source() string { return "service:" + s.Name }
