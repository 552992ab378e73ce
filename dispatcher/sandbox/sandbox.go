package sandbox

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Options configure a [Sandbox]. With the zero value, all services listen on free ports,
// answer immediately and keep no history.
type Options struct {
	// FCMAddr, APNsAddr and WebAddr are the addresses on which the services listen, host:port; a
	// free port of 127.0.0.1 if empty. Their certificate is valid for localhost,
	// 127.0.0.1 and ::1.
	FCMAddr, APNsAddr, WebAddr string
	// Latency is the time from a request's arrival to its answer.
	Latency time.Duration
	// MaxStreams is the number of concurrent streams allowed on one connection to each
	// service; if 0, 100 for FCM and Web Push and 1000 for APNs.
	MaxStreams uint32
	// History is how many pushes of each service are kept, the newest ones. Benchmarks
	// use 0.
	History int
	// OnPush, unless nil, is called with every push just before it is answered, on the
	// request's goroutine. It must be fast and safe for concurrent use. It may keep the
	// push, but must not change it.
	OnPush func(*Push)
	// ProviderKey, unless nil, makes APNs require provider tokens signed with it.
	// [APNs.WriteKey] creates keys for clients.
	ProviderKey *ProviderKey
	// LimitTokenUpdates makes APNs answer 429 TooManyProviderTokenUpdates when
	// the provider token on a connection changes within 20 minutes.
	LimitTokenUpdates bool
}

// The numbers of concurrent streams that the real services allow on a connection. FCM's is
// Web Push's, too: it is the push service of Chrome.
const (
	fcmStreams  = 100
	apnsStreams = 1000
)

// A Sandbox is a running fake FCM, APNs and push service of browsers. Its methods are safe for concurrent use.
type Sandbox struct {
	// FCM replaces fcm.googleapis.com.
	FCM *FCM
	// APNs replaces api.push.apple.com.
	APNs *APNs
	// Web is the push service of a browser.
	Web *WebPush

	authority *authority
	journal   *journal
}

// Start makes a certificate authority and starts all services. The caller must
// Close the sandbox.
func Start(opts Options) (*Sandbox, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("sandbox: certificates: %w", err)
	}
	s := &Sandbox{authority: authority, journal: newJournal(opts.History, opts.OnPush)}

	access := newAccessTokens()
	fcm, err := startProvider(&fcmAPI{tokens: access}, s.journal, service{
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
	s.FCM = &FCM{Provider: fcm, tokens: access}

	tokens := newVerifier(opts.ProviderKey, opts.LimitTokenUpdates)
	apns, err := startProvider(&apnsAPI{tokens: tokens}, s.journal, service{
		platform: PlatformAPNs,
		addr:     cmp.Or(opts.APNsAddr, "127.0.0.1:0"),
		streams:  cmp.Or(opts.MaxStreams, apnsStreams),
		latency:  opts.Latency,
		tls:      authority.serverConfig(),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: APNs: %w", err), s.FCM.close())
	}
	s.APNs = &APNs{Provider: apns, tokens: tokens}

	browsers := newBrowsers()
	web, err := startProvider(&webAPI{browsers: browsers}, s.journal, service{
		platform: PlatformWeb,
		addr:     cmp.Or(opts.WebAddr, "127.0.0.1:0"),
		streams:  cmp.Or(opts.MaxStreams, fcmStreams),
		latency:  opts.Latency,
		tls:      authority.serverConfig(),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: Web Push: %w", err), s.FCM.close(), s.APNs.close())
	}
	s.Web = &WebPush{Provider: web, browsers: browsers}
	return s, nil
}

// Close drops all connections and stops all services. It waits up to five seconds for
// the requests in flight of each service, and fails if one has not ended, because an
// OnPush or Answer function hangs. It may be called twice.
func (s *Sandbox) Close() error {
	err := errors.Join(s.FCM.close(), s.APNs.close(), s.Web.close())
	s.journal.close()
	return err
}

// CAPool returns a pool with the authority that has signed the certificate of all
// services.
func (s *Sandbox) CAPool() *x509.CertPool { return s.authority.pool() }

// CAFile writes the authority's certificate into a PEM file in dir and returns
// the file's path.
func (s *Sandbox) CAFile(dir string) (string, error) { return s.authority.writeFile(dir) }

// Pushes returns the kept pushes of all services, in the order of their answers; see
// [Options.History].
func (s *Sandbox) Pushes() []Push { return s.journal.pushes(PlatformFCM, PlatformAPNs, PlatformWeb) }

// Subscribe returns a channel that receives every push when it is answered, and a function
// that ends the subscription. While the channel's buffer is full, pushes are dropped. The
// channel is closed when the subscription ends or the sandbox closes.
func (s *Sandbox) Subscribe(buffer int) (<-chan Push, func()) { return s.journal.subscribe(buffer) }

// Wait returns nil once met returns true. It calls met immediately and whenever a connection
// has been accepted or closed, or a request has arrived or been answered; met may call Pushes and a
// Provider's Count, Accepted, Pending and Connections. If ctx ends first, the error wraps ctx.Err().
func (s *Sandbox) Wait(ctx context.Context, met func() bool) error {
	return s.journal.wait(ctx, met)
}
