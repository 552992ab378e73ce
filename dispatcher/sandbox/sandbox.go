package sandbox

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Options say how a Sandbox starts. The zero value starts two services on free
// ports that answer at once and keep no history.
type Options struct {
	// FCMAddr and APNsAddr are what the services listen on, host:port;
	// 127.0.0.1 and a free port unless set. Their certificate is for localhost,
	// 127.0.0.1 and ::1.
	FCMAddr, APNsAddr string
	// Latency is the time from a request's arrival to its answer.
	Latency time.Duration
	// MaxStreams is how many requests a client may have under way on one
	// connection, for both services; FCM 100 and APNs 1000 unless set.
	MaxStreams uint32
	// History is how many pushes are kept for each service, the newest ones.
	// With 0 none are, which is what benchmarks want.
	History int
	// OnPush, unless nil, is called with every push just before it is answered.
	// It runs on the request's goroutine: it must be quick and safe for
	// concurrent use. The push may be kept, but not changed.
	OnPush func(*Push)
	// ProviderKey, unless nil, makes APNs ask for provider tokens signed with it.
	// APNs.WriteKey makes keys for clients that have none.
	ProviderKey *ProviderKey
	// LimitTokenUpdates makes APNs answer 429 TooManyProviderTokenUpdates when
	// the provider token on a connection changes within 20 minutes.
	LimitTokenUpdates bool
}

// How many concurrent streams the real services announce.
const (
	fcmStreams  = 100
	apnsStreams = 1000
)

// A Sandbox is a running pair of services. Its methods are safe for concurrent
// use.
type Sandbox struct {
	// FCM stands for fcm.googleapis.com.
	FCM *Provider
	// APNs stands for api.push.apple.com.
	APNs *APNs

	authority *authority
	journal   *journal
}

// Start makes a certificate authority and starts both services. The caller must
// Close the sandbox.
func Start(opts Options) (*Sandbox, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("sandbox: certificates: %w", err)
	}
	s := &Sandbox{authority: authority, journal: newJournal(opts.History, opts.OnPush)}

	s.FCM, err = startProvider(new(fcmAPI), s.journal, service{
		platform: PlatformFCM,
		addr:     cmp.Or(opts.FCMAddr, "127.0.0.1:0"),
		root:     "/v1",
		http1:    true,
		streams:  cmp.Or(opts.MaxStreams, fcmStreams),
		latency:  opts.Latency,
		tls:      authority.serverConfig(),
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: FCM: %w", err)
	}

	tokens := newVerifier(opts.ProviderKey, opts.LimitTokenUpdates)
	apns, err := startProvider(&apnsAPI{tokens: tokens}, s.journal, service{
		platform:    PlatformAPNs,
		addr:        cmp.Or(opts.APNsAddr, "127.0.0.1:0"),
		streams:     cmp.Or(opts.MaxStreams, apnsStreams),
		latency:     opts.Latency,
		tls:         authority.serverConfig(),
		connContext: withTokenUse,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: APNs: %w", err), s.FCM.close())
	}
	s.APNs = &APNs{Provider: apns, tokens: tokens}
	return s, nil
}

// Close drops all connections and stops both services. It waits until the
// requests in hand have ended, at most five seconds for each service, and fails
// when one has not: then an OnPush or Answer function hangs. Closing twice is
// harmless.
func (s *Sandbox) Close() error {
	err := errors.Join(s.FCM.close(), s.APNs.close())
	s.journal.close()
	return err
}

// CAPool returns a pool that holds the authority which both services'
// certificates come from.
func (s *Sandbox) CAPool() *x509.CertPool { return s.authority.pool() }

// CAFile writes the authority's certificate into a PEM file in dir and returns
// the file's path.
func (s *Sandbox) CAFile(dir string) (string, error) { return s.authority.writeFile(dir) }

// Pushes returns the pushes kept of both services, in the order in which they
// were answered.
func (s *Sandbox) Pushes() []Push { return s.journal.pushes(PlatformFCM, PlatformAPNs) }

// Subscribe returns a channel that receives every push as it is answered, and a
// function that ends the subscription. A push that finds the channel's buffer
// full is left out, so that a slow reader delays nobody. The channel is closed
// when the subscription ends or the sandbox closes.
func (s *Sandbox) Subscribe(buffer int) (<-chan Push, func()) { return s.journal.subscribe(buffer) }

// Wait returns nil once met returns true. It calls met at once, and again after
// requests have arrived or been answered; met may look at Pushes and at a
// Provider's Count, Accepted and Pending. When ctx ends first, Wait returns an
// error that wraps ctx.Err().
func (s *Sandbox) Wait(ctx context.Context, met func() bool) error {
	return s.journal.wait(ctx, met)
}
