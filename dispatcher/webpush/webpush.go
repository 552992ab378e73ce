// Package webpush sends pushes to browsers through their push services (RFC 8030), with
// VAPID credentials (RFC 8292) and the webpush-go library, which also encrypts them (RFC
// 8291). It implements [push.Sender].
//
// subscription.go says which subscriptions may be sent to, classify.go maps answers to
// outcomes and payload.go builds messages, all with pure functions; hosts.go keeps the
// connections.
package webpush

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	library "github.com/SherClockHolmes/webpush-go"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Options configure a [Sender]. Service, PrivateKey and Subject are required.
type Options struct {
	// Service is the push service to which the sender sends; see [CheckService].
	Service string
	// PrivateKey is the VAPID private key in base64; see [PublicKey].
	PrivateKey string
	// Subject is how the push service reaches us: mailto: or https: and the rest.
	Subject string
	// AllowPrivate allows addresses outside of the public internet, such as the sandbox's.
	AllowPrivate bool
	// RootCAs verify the push service's certificate; the system's when nil.
	RootCAs *x509.CertPool
	// InFlight bounds the requests in flight of each lane to one host; it is
	// [provider.DefaultInFlight] for lanes without an entry.
	InFlight map[push.Lane]int
	// Timeout bounds one request on the wire; [provider.DefaultTimeout] when zero.
	Timeout time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Sender sends pushes to one push service. Its lanes share nothing. It is safe for
// concurrent use.
type Sender struct {
	service               string
	publicKey, privateKey string
	subject               string
	now                   func() time.Time
	hosts                 *hosts
}

// New returns a sender that has no connections yet. It fails if the options are invalid; the
// errors do not contain the private key.
func New(o Options) (*Sender, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := CheckService(o.Service); err != nil {
		return nil, fmt.Errorf("webpush: service: %w", err)
	}
	publicKey, err := PublicKey(o.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("webpush: private key: %w", err)
	}
	if err := CheckSubject(o.Subject); err != nil {
		return nil, fmt.Errorf("webpush: subject: %w", err)
	}
	return &Sender{
		service: o.Service, publicKey: publicKey, privateKey: o.PrivateKey, now: o.Now,
		subject: strings.TrimPrefix(o.Subject, "mailto:"), // the library adds it
		hosts: newHosts(provider.Options{
			RootCAs: o.RootCAs, Timeout: o.Timeout, PublicOnly: !o.AllowPrivate,
			// The path, the VAPID token and the topic are new in each push.
			LiteralHeaders: true,
		}, o.InFlight),
	}, nil
}

// PublicKey returns the public key of a VAPID private key, both in base64 (URL alphabet,
// without padding): what a browser calls applicationServerKey. The error does not contain the
// key.
func PublicKey(privateKey string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(privateKey)
	if err != nil {
		return "", errors.New("is not base64 with the URL alphabet and without padding")
	}
	key, err := ecdh.P256().NewPrivateKey(b)
	if err != nil {
		return "", errors.New("is no private key of the curve P-256")
	}
	return base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()), nil
}

// NewPrivateKey returns a new VAPID private key in base64; see [PublicKey].
func NewPrivateKey() string {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // never: crypto/rand does not fail
	}
	return base64.RawURLEncoding.EncodeToString(key.Bytes())
}

// CheckSubject returns an error unless a subject is an address of mail or of a page by which
// a push service can reach us.
func CheckSubject(subject string) error {
	if mail, ok := strings.CutPrefix(subject, "mailto:"); ok && strings.Contains(mail, "@") {
		return nil
	}
	if u, err := url.Parse(subject); err == nil && u.Scheme == "https" && u.Host != "" {
		return nil
	}
	return fmt.Errorf("%q is neither mailto: and an address nor an https:// URL", subject)
}

// Send implements [push.Sender].
func (s *Sender) Send(ctx context.Context, d *push.Delivery) push.Result {
	// The subscription was validated when it was registered. It is validated again because
	// the configuration may have changed since then.
	endpoint, err := url.Parse(d.Token)
	if err != nil || CheckEndpoint(d.Token) != nil || !Matches(s.service, endpoint.Host) {
		return push.Result{Outcome: push.Refused, Reason: "invalid_endpoint"}
	}
	host, err := s.hosts.use(endpoint.Host)
	if err != nil {
		return provider.Unanswered(&provider.Attempt{Err: err})
	}
	defer s.hosts.done(host)
	now := s.now()
	a := provider.Attempt{Check: d.Check}
	_, err = library.SendNotificationWithContext( //nolint:bodyclose // the body is in the attempt
		provider.WithAttempt(ctx, &a), payload(d), &library.Subscription{
			Endpoint: d.Token,
			Keys:     library.Keys{P256dh: d.Keys.P256dh, Auth: d.Keys.Auth},
		}, &library.Options{
			HTTPClient:      host.clients[d.Lane],
			Subscriber:      s.subject,
			VAPIDPublicKey:  s.publicKey,
			VAPIDPrivateKey: s.privateKey,
			RecordSize:      maxBody,
			Topic:           topic(d.Tag),
			Urgency:         urgency(d),
			TTL:             ttl(d, now),
		})
	if err != nil && !a.Answered() && a.Err == nil {
		// The library made no request, because the subscription's keys are none.
		return push.Result{Outcome: push.Refused, Reason: "invalid_keys"}
	}
	return classify(&a, s.now())
}

// Probe implements [push.Sender]. Push services offer nothing to ask without a subscription,
// so a probe says only whether the service answers at all. It is Ambiguous when the service
// has many hosts and none is known yet: then only a push can tell.
func (s *Sender) Probe(ctx context.Context) push.Result {
	name := s.hosts.latest()
	if single(s.service) {
		name = s.service
	}
	if name == "" {
		return push.Result{Outcome: push.Ambiguous, Reason: "no_host", Backoff: provider.Backoff}
	}
	host, err := s.hosts.use(name)
	if err != nil {
		return provider.Unanswered(&provider.Attempt{Err: err})
	}
	defer s.hosts.done(host)
	a := provider.Attempt{Cancel: true}
	req, err := http.NewRequestWithContext(provider.WithAttempt(ctx, &a), http.MethodGet, "https://"+name+"/", nil)
	if err != nil {
		return push.Result{Outcome: push.Ambiguous, Reason: "invalid_endpoint", Backoff: provider.Backoff}
	}
	_, _ = host.clients[push.Urgent].Do(req) //nolint:bodyclose // all is in the attempt
	return classifyProbe(&a, s.now())
}

// Warm opens the connections of all lanes before the first push, if the service has a single
// host. After an error, pushes try again to open them.
func (s *Sender) Warm(ctx context.Context) error {
	if !single(s.service) {
		return nil
	}
	host, err := s.hosts.use(s.service)
	if err != nil {
		return err
	}
	defer s.hosts.done(host)
	return host.pools.Warm(ctx)
}

// Close closes the connections. Call it when no push is in flight.
func (s *Sender) Close() { s.hosts.close() }
