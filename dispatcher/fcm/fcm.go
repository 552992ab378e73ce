// Package fcm sends pushes to Android phones, and to iPhones whose apps use Firebase, through
// the HTTP v1 API of Firebase Cloud Messaging, with Google's SDK. It implements [push.Sender].
//
// classify.go maps answers to outcomes and payload.go builds messages, both with pure
// functions; token.go caches the access token.
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

// Google is the default endpoint.
const Google = "https://fcm.googleapis.com/v1"

// Options configure a [Sender]. ProjectID is required, and CredentialsJSON with Google's
// endpoint.
type Options struct {
	// ProjectID is the id of the Firebase project.
	ProjectID string
	// CredentialsJSON is the content of the project's credentials file, usually that of
	// a service account. If it is empty, requests are not authenticated.
	CredentialsJSON []byte
	// Endpoint is the base URL of the API with its version, https://host/v1; [Google] if
	// empty.
	Endpoint string
	// RootCAs verify the certificates of the endpoint and of the token endpoint; the
	// system's when nil.
	RootCAs *x509.CertPool
	// InFlight bounds the requests in flight of each lane; it is
	// [provider.DefaultInFlight] for lanes without an entry.
	InFlight map[push.Lane]int
	// Timeout bounds one request on the wire; [provider.DefaultTimeout] when zero.
	Timeout time.Duration
	// APNs returns the header and the payload of a push that goes to iOS. When it is nil,
	// pushes go to Android.
	APNs func(*push.Delivery) (header map[string]string, payload []byte)
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Sender sends pushes to FCM. Its lanes share only the access token. It is safe for
// concurrent use.
type Sender struct {
	now     func() time.Time
	apns    func(*push.Delivery) (header map[string]string, payload []byte)
	tokens  *tokenCache // nil without credentials
	pools   provider.Pools
	clients [len(push.Lanes)]*messaging.Client
}

// New returns a sender that has neither connections nor an access token yet. It fails if
// the options are invalid.
func New(ctx context.Context, o Options) (*Sender, error) {
	if o.Endpoint == "" {
		o.Endpoint = Google
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ProjectID == "" || url.PathEscape(o.ProjectID) != o.ProjectID {
		return nil, fmt.Errorf("fcm: project %q is not a project id", o.ProjectID)
	}
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil || endpoint.Scheme != "https" || endpoint.Host == "" || endpoint.RawQuery != "" {
		return nil, fmt.Errorf("fcm: endpoint %q is not https://host/v1", o.Endpoint)
	}
	s := &Sender{now: o.Now, apns: o.APNs}
	switch {
	case len(o.CredentialsJSON) > 0:
		if s.tokens, err = newTokenCache(o.CredentialsJSON, o.RootCAs, o.Now); err != nil {
			return nil, fmt.Errorf("fcm: credentials: %w", err)
		}
	case strings.HasSuffix(endpoint.Hostname(), "googleapis.com"):
		return nil, errors.New("fcm: Google's endpoint needs credentials")
	}
	s.pools = provider.NewPools(provider.Options{URL: o.Endpoint, RootCAs: o.RootCAs, Timeout: o.Timeout}, o.InFlight)
	for l, pool := range s.pools {
		if s.clients[l], err = newClient(ctx, o, pool); err != nil {
			s.Close()
			return nil, fmt.Errorf("fcm: %w", err)
		}
	}
	return s, nil
}

// newClient returns an SDK client that sends its requests through the pool.
func newClient(ctx context.Context, o Options, pool *provider.Pool) (*messaging.Client, error) {
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: o.ProjectID},
		option.WithEndpoint(strings.TrimRight(o.Endpoint, "/")),
		option.WithTelemetryDisabled(),
		// With an HTTP client of its own the SDK uses no credentials: the
		// provider.Attempt adds the access token.
		option.WithHTTPClient(provider.Client(noRetry{pool})))
	if err != nil {
		return nil, err
	}
	return app.Messaging(ctx)
}

// noRetry keeps the SDK from retrying a request up to four times after a 503 or a network
// error: it returns status 500 instead, which the SDK does not retry. The provider.Attempt
// holds the real answer.
type noRetry struct{ pool http.RoundTripper }

// RoundTrip implements [http.RoundTripper]. It returns no error.
func (n noRetry) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.pool.RoundTrip(req)
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

// Send implements [push.Sender]. If FCM refuses the access token, and so did not process the
// push, it repeats the request with a new one.
func (s *Sender) Send(ctx context.Context, d *push.Delivery) push.Result {
	return s.push(ctx, provider.Attempt{Check: d.Check}, func(ctx context.Context) error {
		m, err := s.message(d)
		if err == nil {
			_, err = s.clients[d.Lane].Send(ctx, m)
		}
		return err
	})
}

// message returns the FCM message of a delivery.
func (s *Sender) message(d *push.Delivery) (*messaging.Message, error) {
	if s.apns == nil {
		return message(d, s.now()), nil
	}
	header, payload := s.apns(d)
	return appleMessage(d, header, payload)
}

// push makes one attempt, and another one with a new access token if the first was refused.
func (s *Sender) push(ctx context.Context, a provider.Attempt, send func(context.Context) error) push.Result {
	if s.tokens == nil {
		return s.request(ctx, a, send)
	}
	for renewed := false; ; renewed = true {
		token, err := s.tokens.get(ctx)
		if err != nil {
			return noToken(err)
		}
		a.Authorization = "Bearer " + token
		r := s.request(ctx, a, send)
		if r.Outcome != push.CredentialsRefused {
			return r
		}
		s.tokens.drop(token) // it may have been revoked
		if renewed {
			return r
		}
	}
}

// request makes one request through the SDK.
func (s *Sender) request(ctx context.Context, a provider.Attempt, send func(context.Context) error) push.Result {
	err := send(provider.WithAttempt(ctx, &a))
	if err != nil && !a.Answered() && a.Err == nil {
		// The SDK rejected the message and made no request.
		return push.Result{Outcome: push.Refused, Reason: "invalid_message"}
	}
	return classify(&a, s.now())
}

// Warm opens the connections of all lanes and fetches an access token before the first
// push. After an error, pushes try both again.
func (s *Sender) Warm(ctx context.Context) error {
	var err error
	if s.tokens != nil {
		_, err = s.tokens.get(ctx)
	}
	return errors.Join(err, s.pools.Warm(ctx))
}

// Close closes the connections. Call it when no push is in flight. It waits up to 10 s for
// the fetch of an access token.
func (s *Sender) Close() {
	if s.tokens != nil {
		s.tokens.close()
	}
	s.pools.Close()
}

// Probe implements [push.Sender]. It asks FCM to validate a push to a device that does not
// exist (validate_only): if FCM rejects only the token, the connection, the credentials and
// the project work.
func (s *Sender) Probe(ctx context.Context) push.Result {
	r := s.push(ctx, provider.Attempt{Cancel: true}, func(ctx context.Context) error {
		m := to("made-up", false)
		m.Data = map[string]string{"type": "probe"}
		_, err := s.clients[push.Urgent].SendDryRun(ctx, m)
		return err
	})
	if r.Outcome == push.DeadToken {
		return push.Result{Outcome: push.Accepted}
	}
	return r
}
