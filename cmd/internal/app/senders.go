package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/apns"
	"github.com/kabar-gateway/kabar/dispatcher/fcm"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Senders holds the senders that the configuration enables; the others are nil.
type Senders struct {
	FCM  *fcm.Sender
	APNs *apns.Sender
}

// NewSenders reads keys and certificates and makes the senders. It opens no
// connection. Close them.
func NewSenders(ctx context.Context, cfg *config.Config) (*Senders, error) {
	s := &Senders{}
	var err error
	if cfg.FCM.Enabled() {
		if s.FCM, err = newFCM(ctx, cfg); err != nil {
			return nil, fmt.Errorf("fcm: %w", err)
		}
	}
	if cfg.APNs.Enabled() {
		if s.APNs, err = newAPNs(cfg); err != nil {
			s.Close()
			return nil, fmt.Errorf("apns: %w", err)
		}
	}
	return s, nil
}

// ByRoute returns the senders by their routes.
func (s *Senders) ByRoute() map[push.Route]push.Sender {
	m := make(map[push.Route]push.Sender)
	if s.FCM != nil {
		m[push.Route{App: push.DefaultApp, Platform: string(devices.Android)}] = s.FCM
	}
	if s.APNs != nil {
		m[push.Route{App: push.DefaultApp, Platform: string(devices.IOS), Environment: push.Production}] = s.APNs
	}
	return m
}

// Warm opens connections to the providers. It only logs failures: pushes are retried while
// a provider is unavailable.
func (s *Senders) Warm(ctx context.Context, log *slog.Logger) {
	warm := func(provider string, open func(context.Context) error) {
		if err := open(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			log.Warn(provider+" cannot be reached yet", "error", err)
		}
	}
	if s.FCM != nil {
		warm("FCM", s.FCM.Warm)
	} else {
		log.Info("Android push is off: fcm.project_id is not set")
	}
	if s.APNs != nil {
		warm("APNs", s.APNs.Warm)
	} else {
		log.Info("iOS push is off: neither apns.key_file nor apns.certificate_file is set")
	}
}

// Close closes the connections.
func (s *Senders) Close() {
	if s.FCM != nil {
		s.FCM.Close()
	}
	if s.APNs != nil {
		s.APNs.Close()
	}
}

// FCMEndpoint returns the base URL of FCM's API that the configuration chooses.
func FCMEndpoint(c config.FCM) string { return cmp.Or(c.Endpoint, fcm.Google) }

// APNsEndpoint returns the base URL of APNs that the configuration chooses.
func APNsEndpoint(c config.APNs) string {
	if c.Endpoint == "" && c.Environment == config.APNsDevelopment {
		return apns.Development
	}
	return cmp.Or(c.Endpoint, apns.Production)
}

func newFCM(ctx context.Context, cfg *config.Config) (*fcm.Sender, error) {
	o := fcm.Options{
		ProjectID: cfg.FCM.ProjectID,
		Endpoint:  FCMEndpoint(cfg.FCM),
		InFlight:  inFlight(cfg.Push.InFlight),
		Timeout:   requestTimeout(cfg),
	}
	var err error
	if o.CredentialsJSON, err = readFile(cfg.FCM.CredentialsFile); err != nil {
		return nil, fmt.Errorf("credentials_file: %w", err)
	}
	if o.RootCAs, err = readCAs(cfg.FCM.CAFile); err != nil {
		return nil, err
	}
	return fcm.New(ctx, o)
}

func newAPNs(cfg *config.Config) (*apns.Sender, error) {
	c := cfg.APNs
	o := apns.Options{
		KeyID:    c.KeyID,
		TeamID:   c.TeamID,
		Topic:    c.Topic,
		Endpoint: APNsEndpoint(c),
		InFlight: inFlight(cfg.Push.InFlight),
		Timeout:  requestTimeout(cfg),
	}
	var err error
	if o.KeyPEM, err = readFile(c.KeyFile); err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	if c.CertificateFile != "" {
		if o.Certificate, err = apns.LoadCertificate(c.CertificateFile, c.CertificatePassword.Reveal()); err != nil {
			return nil, err
		}
	}
	if o.RootCAs, err = readCAs(c.CAFile); err != nil {
		return nil, err
	}
	return apns.New(o)
}

// readFile reads a file. It returns nil for an empty name.
func readFile(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(name)
}

// readCAs reads certificates. It returns nil, for the system's, for an empty name.
func readCAs(name string) (*x509.CertPool, error) {
	pem, err := readFile(name)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	if pem == nil {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca_file holds no certificate")
	}
	return pool, nil
}

// requestTimeout returns how long one request to a provider may last: a third of a lease, so
// that it ends within half a lease together with what it waits for (G3).
func requestTimeout(cfg *config.Config) time.Duration { return time.Duration(cfg.Push.Lease) / 3 }

func inFlight(c config.InFlight) map[push.Lane]int {
	return map[push.Lane]int{push.Urgent: c.Urgent, push.Chat: c.Chat, push.Bulk: c.Bulk}
}

// inFlightLimits is inFlight in the form that the dispatcher takes.
func inFlightLimits(c config.InFlight) (limits [len(push.Lanes)]int) {
	for l, n := range inFlight(c) {
		limits[l] = n
	}
	return limits
}
