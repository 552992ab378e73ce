// Package fcm sends pushes to Android phones through Firebase Cloud Messaging,
// with Google's SDK. It implements [dispatcher.Sender].
//
// What an answer means is in classify.go, what a push looks like in payload.go,
// both as pure functions; token.go keeps the access token.
package fcm

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"google.golang.org/api/option"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Google is FCM's own endpoint.
const Google = "https://fcm.googleapis.com/v1"

// Options configure a Sender.
type Options struct {
	// ProjectID is the Firebase project's id.
	ProjectID string
	// CredentialsJSON is the content of the project's credentials file, usually a
	// service account's. It may be empty with an endpoint that is not Google's:
	// then requests are not authenticated.
	CredentialsJSON []byte
	// Endpoint is the API's base with its version, https://host/v1; Google unless
	// set.
	Endpoint string
	// RootCAs verify the endpoint; the system's when nil.
	RootCAs *x509.CertPool
	// InFlight bounds each lane's requests under way; lanes left out get
	// [provider.DefaultInFlight].
	InFlight map[push.Lane]int
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Sender carries pushes to FCM. Its lanes share nothing but the access token.
// It is safe for concurrent use.
type Sender struct {
	now     func() time.Time
	tokens  *tokens // nil without credentials
	pools   provider.Pools
	clients [len(push.Lanes)]*messaging.Client
}

// New returns a sender that has no connection and no access token yet. Its
// errors are those of the configuration.
func New(ctx context.Context, o Options) (*Sender, error) {
	if o.Endpoint == "" {
		o.Endpoint = Google
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ProjectID == "" || url.PathEscape(o.ProjectID) != o.ProjectID {
		return nil, fmt.Errorf("fcm: project %q is no project's id", o.ProjectID)
	}
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil || endpoint.Scheme != "https" || endpoint.Host == "" || endpoint.RawQuery != "" {
		return nil, fmt.Errorf("fcm: endpoint %q is not https://host/v1", o.Endpoint)
	}
	s := &Sender{now: o.Now}
	switch {
	case len(o.CredentialsJSON) > 0:
		if s.tokens, err = newTokens(o.CredentialsJSON, o.RootCAs, o.Now); err != nil {
			return nil, fmt.Errorf("fcm: credentials: %w", err)
		}
	case strings.HasSuffix(endpoint.Hostname(), "googleapis.com"):
		return nil, errors.New("fcm: Google's endpoint needs credentials")
	}
	s.pools = provider.NewPools(provider.Options{URL: o.Endpoint, RootCAs: o.RootCAs}, o.InFlight)
	for l, pool := range s.pools {
		if s.clients[l], err = newClient(ctx, o, pool); err != nil {
			s.Close()
			return nil, fmt.Errorf("fcm: %w", err)
		}
	}
	return s, nil
}

// newClient returns the SDK's client on the pool.
func newClient(ctx context.Context, o Options, pool *provider.Pool) (*messaging.Client, error) {
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: o.ProjectID},
		option.WithEndpoint(strings.TrimRight(o.Endpoint, "/")),
		option.WithTelemetryDisabled(),
		// It makes the SDK forget any credentials; requests get the access token
		// from their provider.Attempt.
		option.WithHTTPClient(provider.Client(onceOnly{pool})))
	if err != nil {
		return nil, err
	}
	return app.Messaging(ctx)
}

// onceOnly keeps the SDK from trying again by itself, up to four times, which it
// does after a 503 and after every failure of the network: it is told 500
// instead, which it takes as final. What really happened is in the
// provider.Attempt.
type onceOnly struct{ pool http.RoundTripper }

// RoundTrip implements [http.RoundTripper]. It returns no error.
func (o onceOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.pool.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusServiceUnavailable {
		return resp, nil
	}
	return &http.Response{
		StatusCode: http.StatusInternalServerError,
		Proto:      "HTTP/2.0",
		ProtoMajor: 2,
		Header:     http.Header{},
		Body:       http.NoBody,
		Request:    req,
	}, nil
}

// Send makes one attempt to push d.
func (s *Sender) Send(ctx context.Context, d *push.Delivery) push.Result {
	return s.attempt(ctx, func(ctx context.Context) (string, error) {
		return s.clients[d.Lane].Send(ctx, message(d, s.now()))
	})
}

// attempt makes one request through the SDK.
func (s *Sender) attempt(ctx context.Context, send func(context.Context) (string, error)) push.Result {
	var a provider.Attempt
	if s.tokens != nil {
		token, err := s.tokens.get(ctx)
		if err != nil {
			return noToken(err)
		}
		a.Authorization = "Bearer " + token
	}
	name, err := send(provider.WithAttempt(ctx, &a))
	if err != nil && !a.Answered() && a.Err == nil {
		// The SDK made no request of it.
		return push.Result{Outcome: push.Refused, Reason: "invalid_message"}
	}
	r := classify(&a, s.now())
	switch {
	case r.Outcome == push.Accepted:
		r.ProviderID = name
	case r.Reason == unauthenticated && s.tokens != nil:
		// Revoked before its time, perhaps: the next attempt fetches another.
		s.tokens.drop(strings.TrimPrefix(a.Authorization, "Bearer "))
	}
	return r
}

// Warm opens the connections of all lanes and fetches an access token, ahead of
// the first push. Its error says what could not be done; pushes do it when they
// can.
func (s *Sender) Warm(ctx context.Context) error {
	var err error
	if s.tokens != nil {
		_, err = s.tokens.get(ctx)
	}
	return errors.Join(err, s.pools.Warm(ctx))
}

// Close closes the connections. Call it when no push is under way. It may wait
// ten seconds for an access token that is being fetched.
func (s *Sender) Close() {
	if s.tokens != nil {
		s.tokens.close()
	}
	s.pools.Close()
}

// DryRun asks FCM to judge, and not to send, a push to a device that does not
// exist. It returns nil when FCM complains of nothing but that: then connection,
// credentials and project work. Otherwise the error says what does not.
func (s *Sender) DryRun(ctx context.Context) error {
	r := s.attempt(ctx, func(ctx context.Context) (string, error) {
		return s.clients[push.Urgent].SendDryRun(ctx, &messaging.Message{Token: "made-up", Data: map[string]string{"type": "doctor"}})
	})
	switch r.Outcome {
	case push.Accepted, push.Forget:
		return nil
	default:
		return fmt.Errorf("fcm: %s (%s)", r.Reason, r.Outcome)
	}
}
