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
	// An access token lives an hour. From renewBefore its end on another one is
	// fetched, while pushes go on with the old one until leastLife before it.
	renewBefore = 5 * time.Minute
	leastLife   = 10 * time.Second
)

// tokens keep one access token for all lanes. It is safe for concurrent use.
//
// The token source of golang.org/x/oauth2 would do, but it lets a push wait for
// a fetch beyond its own deadline, and cannot be told that a token was revoked.
type tokens struct {
	fetch func() (*oauth2.Token, error)
	now   func() time.Time
	idle  func()

	mu       sync.Mutex
	token    *oauth2.Token  // nil when there is none
	fetching chan struct{}  // closed when the fetch under way has ended; nil without one
	err      error          // of the last fetch
	done     sync.WaitGroup // the fetch under way
}

// newTokens checks the credentials without using them.
func newTokens(credentials []byte, roots *x509.CertPool, now func() time.Time) (*tokens, error) {
	var file struct {
		Type       google.CredentialsType `json:"type"`
		PrivateKey string                 `json:"private_key"`
	}
	if err := json.Unmarshal(credentials, &file); err != nil {
		return nil, errors.New("they are not JSON") // the error could quote them
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
	// Made anew for every fetch, since it keeps what it has fetched.
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
	return &tokens{now: now, idle: transport.CloseIdleConnections, fetch: func() (*oauth2.Token, error) {
		s, err := source()
		if err != nil {
			return nil, err
		}
		return s.Token()
	}}, nil
}

// checkKey returns an error unless key is a private key in PEM.
func checkKey(key string) error {
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return errors.New("private_key is not PEM")
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return errors.New("private_key is no private key")
		}
	}
	return nil
}

// get returns an access token, at the latest when ctx ends. Any number of
// callers wait for one fetch.
func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	life := t.life()
	if life < renewBefore && t.fetching == nil {
		t.fetching = make(chan struct{})
		t.done.Add(1)
		go t.renew(t.fetching)
	}
	if life > leastLife {
		defer t.mu.Unlock()
		return t.token.AccessToken, nil
	}
	fetched := t.fetching
	t.mu.Unlock()

	select {
	case <-fetched:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life() > leastLife {
		return t.token.AccessToken, nil
	}
	if t.err == nil {
		return "", errors.New("the access token has expired on arrival")
	}
	return "", t.err
}

// renew fetches a token. A failure leaves the old one in place.
func (t *tokens) renew(fetched chan struct{}) {
	defer t.done.Done()
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

// life returns how long the token is still valid. The caller holds mu.
func (t *tokens) life() time.Duration {
	switch {
	case t.token == nil:
		return 0
	case t.token.Expiry.IsZero(): // it does not expire
		return time.Duration(1<<63 - 1)
	default:
		return t.token.Expiry.Sub(t.now())
	}
}

// drop forgets a token that was not accepted.
func (t *tokens) drop(access string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != nil && t.token.AccessToken == access {
		t.token = nil
	}
}

// close waits for a fetch under way.
func (t *tokens) close() {
	t.done.Wait()
	t.idle()
}

// noToken says what it means that there is no access token: what Google refuses
// is the fault of our credentials, what it does not answer passes.
func noToken(err error) push.Result {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return provider.Unanswered(err) // the push's own end came first
	}
	r := push.Result{Outcome: push.Later, Reason: "access_token", Backoff: provider.Backoff}
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		switch status := refused.Response.StatusCode; status {
		case http.StatusTooManyRequests, http.StatusRequestTimeout:
		default:
			if status < 500 {
				r.Outcome, r.Reason = push.Broken, "credentials"
			}
		}
	}
	return r
}
