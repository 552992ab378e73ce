// Package apns sends pushes to iPhones through the Apple Push Notification service, with
// the apns2 SDK. It implements [push.Sender].
//
// classify.go maps answers to outcomes and payload.go builds requests, both with pure
// functions; token.go caches the provider token.
package apns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// The endpoints of Apple's two environments. A device token is valid in the environment
// that its app was signed for.
const (
	Production  = apns2.HostProduction
	Development = apns2.HostDevelopment
)

// Options configure a [Sender]. Topic is required, and either Certificate or all of
// KeyPEM, KeyID and TeamID.
type Options struct {
	// KeyPEM is the content of the .p8 file with the key that signs provider tokens.
	KeyPEM []byte
	// KeyID and TeamID are the ids of the key and of the developer team, ten characters
	// each.
	KeyID, TeamID string
	// Certificate is the client certificate; see [LoadCertificate].
	Certificate *tls.Certificate

	// Topic is the bundle id of the app.
	Topic string
	// Endpoint is https://host:port; [Production] if empty.
	Endpoint string
	// RootCAs verify the endpoint's certificate; the system's when nil.
	RootCAs *x509.CertPool
	// InFlight bounds the requests in flight of each lane; it is
	// [provider.DefaultInFlight] for lanes without an entry.
	InFlight map[push.Lane]int
	// Timeout bounds one request on the wire; [provider.DefaultTimeout] when zero.
	Timeout time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Sender sends pushes to APNs. Its lanes share only the provider token. It is safe for
// concurrent use.
type Sender struct {
	topic   string
	now     func() time.Time
	signer  *signer // nil with a certificate
	pools   provider.Pools
	clients [len(push.Lanes)]*apns2.Client
}

// New returns a sender that has no connections yet. It fails if the options are invalid.
// It signs the first provider token, so that an invalid key fails here and not with the
// first push.
func New(o Options) (*Sender, error) {
	if o.Endpoint == "" {
		o.Endpoint = Production
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	endpoint, err := checkEndpoint(o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("apns: %w", err)
	}
	if o.Topic == "" || !isVisibleASCII(o.Topic) {
		return nil, fmt.Errorf("apns: topic %q is not a bundle id", o.Topic)
	}
	s := &Sender{topic: o.Topic, now: o.Now}
	switch {
	case o.Certificate != nil && len(o.KeyPEM) > 0:
		return nil, errors.New("apns: a key and a certificate exclude each other")
	case o.Certificate == nil:
		if s.signer, err = newSigner(o.KeyPEM, o.KeyID, o.TeamID, o.Now); err != nil {
			return nil, fmt.Errorf("apns: provider token: %w", err)
		}
	}
	s.pools = provider.NewPools(provider.Options{
		URL: endpoint, RootCAs: o.RootCAs, Certificate: o.Certificate, Timeout: o.Timeout,
		// The path, apns-id, apns-expiration and apns-collapse-id are new in each push.
		LiteralHeaders: true,
	}, o.InFlight)
	for l, pool := range s.pools {
		s.clients[l] = &apns2.Client{Host: endpoint, HTTPClient: provider.Client(pool)}
	}
	return s, nil
}

// checkEndpoint returns the endpoint without a trailing slash.
func checkEndpoint(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", fmt.Errorf("endpoint %q is not https://host:port", s)
	}
	return "https://" + u.Host, nil
}

// Send implements [push.Sender]. If APNs refuses the provider token, and so did not process
// the push, it repeats the request with a new token.
func (s *Sender) Send(ctx context.Context, d *push.Delivery) push.Result {
	// The token was validated when it was registered. It is validated again because the
	// SDK puts it into the URL without escaping.
	if !isDeviceToken(d.Token) {
		return push.Result{Outcome: push.Refused, Reason: apns2.ReasonBadDeviceToken}
	}
	return s.push(ctx, d.Lane, provider.Attempt{Check: d.Check}, newNotification(d, s.topic))
}

// push makes one attempt, with the current provider token unless there is a certificate,
// and another one with a renewed token if the first was refused.
func (s *Sender) push(ctx context.Context, l push.Lane, a provider.Attempt, n *apns2.Notification) push.Result {
	if s.signer == nil {
		return s.request(ctx, l, a, n)
	}
	token, err := s.signer.current()
	if err != nil {
		return push.Result{Outcome: push.CredentialsRefused, Reason: "provider_token", Backoff: provider.Backoff}
	}
	a.Authorization = token.header
	r := s.request(ctx, l, a, n)
	if r.Reason == apns2.ReasonExpiredProviderToken || r.Reason == apns2.ReasonInvalidProviderToken {
		if fresh, ok := s.signer.replace(token); ok {
			a.Authorization = fresh.header
			r = s.request(ctx, l, a, n)
		}
	}
	return r
}

// request makes one request through the SDK.
func (s *Sender) request(ctx context.Context, l push.Lane, a provider.Attempt, n *apns2.Notification) push.Result {
	_, err := s.clients[l].PushWithContext(provider.WithAttempt(ctx, &a), n)
	if err != nil && !a.Answered() && a.Err == nil {
		// The SDK made no request, because the payload is not JSON.
		return push.Result{Outcome: push.Refused, Reason: "invalid_payload"}
	}
	return classify(&a, s.now())
}

// Warm opens the connections of all lanes before the first push. After an error, pushes
// try again to open them.
func (s *Sender) Warm(ctx context.Context) error { return s.pools.Warm(ctx) }

// Close closes the connections. Call it when no push is in flight.
func (s *Sender) Close() { s.pools.Close() }

// noDeviceToken is well-formed and belongs to no device.
var noDeviceToken = strings.Repeat("0", 64)

// Probe implements [push.Sender]. It sends a push to a device that does not exist: if APNs
// rejects only the device token, the connection, the credentials and the topic work.
func (s *Sender) Probe(ctx context.Context) push.Result {
	r := s.push(ctx, push.Urgent, provider.Attempt{Cancel: true}, &apns2.Notification{
		DeviceToken: noDeviceToken,
		Topic:       s.topic,
		PushType:    apns2.PushTypeBackground,
		Priority:    apns2.PriorityLow,
		Payload:     []byte(`{"aps":{"content-available":1}}`),
	})
	if r.Outcome == push.DeadToken {
		return push.Result{Outcome: push.Accepted}
	}
	return r
}

// maxToken bounds a device token, in bytes.
const maxToken = 200

// isDeviceToken reports whether a token consists of ASCII letters and digits, which need
// no escaping in a URL.
func isDeviceToken(token string) bool {
	const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return token != "" && len(token) <= maxToken && strings.Trim(token, alphanumeric) == ""
}
