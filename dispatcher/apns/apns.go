// Package apns sends pushes to iPhones through Apple's push service, with the
// apns2 SDK. It implements [dispatcher.Sender].
//
// What an answer means is in classify.go, what a push looks like in payload.go,
// both as pure functions; token.go keeps the provider token.
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

// Apple's two environments. A device token works in the one that its app was
// signed for.
const (
	Production  = apns2.HostProduction
	Development = apns2.HostDevelopment
)

// Options configure a Sender. Either KeyPEM, KeyID and TeamID, or Certificate,
// are needed.
type Options struct {
	// KeyPEM is the content of the .p8 file that signs provider tokens.
	KeyPEM []byte
	// KeyID and TeamID are the key's and the team's ten characters.
	KeyID, TeamID string
	// Certificate is the provider's client certificate; see [LoadCertificate].
	Certificate *tls.Certificate

	// Topic is the app's bundle id.
	Topic string
	// Endpoint is scheme, host and port; Production unless set.
	Endpoint string
	// RootCAs verify the endpoint; the system's when nil.
	RootCAs *x509.CertPool
	// InFlight bounds each lane's requests under way; lanes left out get
	// [provider.DefaultInFlight].
	InFlight map[push.Lane]int
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Sender carries pushes to APNs. Its lanes share nothing but the provider
// token. It is safe for concurrent use.
type Sender struct {
	topic   string
	now     func() time.Time
	signer  *signer // nil with a certificate
	pools   provider.Pools
	clients [len(push.Lanes)]*apns2.Client
}

// New returns a sender that has no connection yet. Its errors are those of the
// configuration: it signs a first token, so that a bad key shows now and not
// with the first push.
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
	if o.Topic == "" || !isToken(o.Topic) {
		return nil, fmt.Errorf("apns: topic %q is no bundle id", o.Topic)
	}
	s := &Sender{topic: o.Topic, now: o.Now}
	switch {
	case o.Certificate != nil && len(o.KeyPEM) > 0:
		return nil, errors.New("apns: there are both a key and a certificate")
	case o.Certificate == nil:
		if s.signer, err = newSigner(o.KeyPEM, o.KeyID, o.TeamID, o.Now); err != nil {
			return nil, fmt.Errorf("apns: provider token: %w", err)
		}
	}
	s.pools = provider.NewPools(provider.Options{URL: endpoint, RootCAs: o.RootCAs, Certificate: o.Certificate}, o.InFlight)
	for l, pool := range s.pools {
		s.clients[l] = &apns2.Client{Host: endpoint, HTTPClient: provider.Client(pool)}
	}
	return s, nil
}

// checkEndpoint returns the endpoint without a slash at its end.
func checkEndpoint(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", fmt.Errorf("endpoint %q is not https://host:port alone", s)
	}
	return "https://" + u.Host, nil
}

// Send makes one attempt to push d. Only when APNs calls the provider token
// expired, and so has not looked at the push, does it try again at once with a
// new one.
func (s *Sender) Send(ctx context.Context, d *push.Delivery) push.Result {
	// The SDK puts the token into the URL as it is. It was checked when it was
	// registered; here is the last place to be sure.
	if !fitsPath(d.Token) {
		return push.Result{Outcome: push.Refused, Reason: apns2.ReasonBadDeviceToken}
	}
	return s.push(ctx, d.Lane, notification(d, s.topic))
}

func (s *Sender) push(ctx context.Context, l push.Lane, n *apns2.Notification) push.Result {
	if s.signer == nil {
		return s.attempt(ctx, l, n, "")
	}
	token, err := s.signer.current()
	if err != nil {
		return push.Result{Outcome: push.Broken, Reason: "provider_token", Backoff: provider.Backoff}
	}
	r := s.attempt(ctx, l, n, token.header)
	if r.Reason == apns2.ReasonExpiredProviderToken {
		if fresh, ok := s.signer.replace(token); ok {
			r = s.attempt(ctx, l, n, fresh.header)
		}
	}
	return r
}

// attempt makes one request.
func (s *Sender) attempt(ctx context.Context, l push.Lane, n *apns2.Notification, authorization string) push.Result {
	a := provider.Attempt{Authorization: authorization}
	_, err := s.clients[l].PushWithContext(provider.WithAttempt(ctx, &a), n)
	if err != nil && !a.Answered() && a.Err == nil {
		// The SDK could not even make a request of it: the data is no JSON.
		return push.Result{Outcome: push.Refused, Reason: "invalid_payload"}
	}
	return classify(&a, s.now())
}

// Warm opens the connections of all lanes ahead of the first push. Its error
// says which could not be opened; pushes open them when they can.
func (s *Sender) Warm(ctx context.Context) error { return s.pools.Warm(ctx) }

// Close closes the connections. Call it when no push is under way.
func (s *Sender) Close() { s.pools.Close() }

// madeUpToken is no device's.
var madeUpToken = strings.Repeat("0", 64)

// Handshake asks APNs about a device that does not exist. It returns nil when
// APNs complains of nothing but that: then connection, credentials and topic
// work. Otherwise the error says what does not.
func (s *Sender) Handshake(ctx context.Context) error {
	r := s.push(ctx, push.Urgent, &apns2.Notification{
		DeviceToken: madeUpToken,
		Topic:       s.topic,
		PushType:    apns2.PushTypeBackground,
		Priority:    apns2.PriorityLow,
		Payload:     []byte(`{"aps":{"content-available":1}}`),
	})
	switch r.Outcome {
	case push.Accepted, push.Forget, push.ForgetIfOthersSucceed:
		return nil
	default:
		return fmt.Errorf("apns: %s (%s)", r.Reason, r.Outcome)
	}
}

// maxToken bounds a device token, in bytes.
const maxToken = 200

// fitsPath reports whether a token may stand in the path of a URL, into which the SDK
// puts it as it is: ASCII letters and digits alone.
func fitsPath(token string) bool {
	const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return token != "" && len(token) <= maxToken && strings.Trim(token, alphanumeric) == ""
}
