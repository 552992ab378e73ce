package fcm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	scope = "https://www.googleapis.com/auth/firebase.messaging"

	// tokenTimeout bounds one fetch of an access token.
	tokenTimeout = 10 * time.Second
	// An access token is valid for an hour. The next one is fetched renewBefore its
	// expiry; until then pushes use the old one, unless it expires within minLifetime.
	renewBefore = 5 * time.Minute
	minLifetime = 10 * time.Second
)

// A tokenCache holds one access token for all lanes. It is safe for concurrent use.
//
// The token source of golang.org/x/oauth2 does not suffice: a push would wait for a fetch
// beyond its own deadline, and a revoked token could not be dropped.
type tokenCache struct {
	fetch     func() (*oauth2.Token, error)
	now       func() time.Time
	closeIdle func() // closes the idle connections to the token endpoint

	mu       sync.Mutex
	token    *oauth2.Token  // nil when there is none
	fetching chan struct{}  // closed when the current fetch ends; nil without one
	err      error          // of the last fetch
	fetches  sync.WaitGroup // the current fetch
}

// newTokenCache returns a cache without a token. It fails if the credentials are malformed.
func newTokenCache(credentials []byte, roots *x509.CertPool, now func() time.Time) (*tokenCache, error) {
	var file struct {
		Type       google.CredentialsType `json:"type"`
		PrivateKey string                 `json:"private_key"`
	}
	if err := json.Unmarshal(credentials, &file); err != nil {
		return nil, errors.New("not JSON") // err could contain parts of them
	}
	if file.Type == google.ServiceAccount {
		if err := checkKey(file.PrivateKey); err != nil {
			return nil, err
		}
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: tokenTimeout,
		IdleConnTimeout:     tokenTimeout,
	}
	client := &http.Client{Transport: transport, Timeout: tokenTimeout}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	// Every fetch needs a new source, because a source caches its token.
	source := func() (oauth2.TokenSource, error) {
		c, err := google.CredentialsFromJSONWithType(ctx, credentials, file.Type, scope)
		if err != nil {
			return nil, err
		}
		return c.TokenSource, nil
	}
	if _, err := source(); err != nil {
		return nil, err
	}
	return &tokenCache{now: now, closeIdle: transport.CloseIdleConnections, fetch: func() (*oauth2.Token, error) {
		s, err := source()
		if err != nil {
			return nil, err
		}
		return s.Token()
	}}, nil
}

// checkKey returns an error unless key is a PEM-encoded private key.
func checkKey(key string) error {
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return errors.New("private_key is not PEM")
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return errors.New("private_key is not a private key")
		}
	}
	return nil
}

// get returns an access token. It waits for one until ctx ends; all callers wait for the
// same fetch.
func (t *tokenCache) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	lifetime := t.lifetime()
	if lifetime < renewBefore && t.fetching == nil {
		t.fetching = make(chan struct{})
		t.fetches.Add(1)
		go t.renew(t.fetching)
	}
	if lifetime > minLifetime {
		defer t.mu.Unlock()
		return t.token.AccessToken, nil
	}
	fetched := t.fetching // not nil: minLifetime is less than renewBefore
	t.mu.Unlock()

	select {
	case <-fetched:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lifetime() > minLifetime {
		return t.token.AccessToken, nil
	}
	if t.err == nil {
		return "", errors.New("the new access token has already expired")
	}
	return "", t.err
}

// renew fetches a token. If that fails, the old one stays.
func (t *tokenCache) renew(fetched chan struct{}) {
	defer t.fetches.Done()
	token, err := t.fetch()
	if err == nil && token.AccessToken == "" {
		err = errors.New("the answer holds no access token")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err = err; err == nil {
		t.token = token
	}
	t.fetching = nil
	close(fetched)
}

// lifetime returns how long the token is still valid. The caller holds mu.
func (t *tokenCache) lifetime() time.Duration {
	switch {
	case t.token == nil:
		return 0
	case t.token.Expiry.IsZero(): // it does not expire
		return time.Duration(1<<63 - 1)
	default:
		return t.token.Expiry.Sub(t.now())
	}
}

// drop removes a token that FCM rejected, unless it was replaced already.
func (t *tokenCache) drop(access string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != nil && t.token.AccessToken == access {
		t.token = nil
	}
}

// close waits for the current fetch and closes its connection.
func (t *tokenCache) close() {
	t.fetches.Wait()
	t.closeIdle()
}

// noToken returns the result of a push for which no access token could be fetched. If the
// token endpoint refused the request, our credentials are wrong; any other failure is
// retried.
func noToken(err error) push.Result {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return provider.Unanswered(&provider.Attempt{Err: err}) // the attempt's context ended first
	}
	r := push.Result{Outcome: push.Later, Reason: "access_token", Backoff: provider.Backoff}
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		switch status := refused.Response.StatusCode; status {
		case http.StatusTooManyRequests, http.StatusRequestTimeout:
		default:
			switch {
			case refused.ErrorCode == "" && (status == http.StatusForbidden || status == http.StatusNotFound):
				r.Outcome = push.Ambiguous // not OAuth's answer: a proxy's, perhaps
			case status >= 400 && status < 500:
				r.Outcome, r.Reason = push.CredentialsRefused, "credentials"
			}
		}
	}
	return r
}
