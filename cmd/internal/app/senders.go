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

// A Sender sends pushes by one route. Close it.
type Sender interface {
	push.Sender
	// Warm opens connections to the provider.
	Warm(ctx context.Context) error
	Close()
}

// Senders holds the senders that the configuration enables, by their routes.
type Senders map[push.Route]Sender

// NewSenders reads keys and certificates and makes the senders. It opens no
// connection. Close them.
func NewSenders(ctx context.Context, cfg *config.Config) (Senders, error) {
	senders := make(Senders)
	for _, a := range cfg.AllApps() {
		for _, route := range Routes(a) {
			s, err := NewSender(ctx, cfg, a, route)
			if err != nil {
				senders.Close()
				return nil, err
			}
			senders[route] = s
		}
	}
	if err := senders.addBrowsers(cfg); err != nil {
		senders.Close()
		return nil, err
	}
	return senders, nil
}

// ByFirebase reports whether a route is that of FCM to iOS.
func ByFirebase(r push.Route) bool {
	return r.Platform == string(devices.IOS) && r.Environment == ""
}

// Routes returns the routes of an app that the configuration enables: FCM's first, and of
// the environments of APNs the one that is tried first.
func Routes(a config.App) []push.Route {
	var routes []push.Route
	if a.FCM.Enabled() {
		routes = append(routes, push.Route{App: a.Name, Platform: string(devices.Android)},
			push.Route{App: a.Name, Platform: string(devices.IOS)})
	}
	if !a.APNs.Enabled() {
		return routes
	}
	home := push.Route{App: a.Name, Platform: string(devices.IOS), Environment: a.APNs.Home()}
	for _, route := range []push.Route{home, home.Elsewhere()} {
		if _, on := a.APNs.Endpoints()[route.Environment]; on {
			routes = append(routes, route)
		}
	}
	return routes
}

// NewSender makes the sender of one of an app's routes.
func NewSender(ctx context.Context, cfg *config.Config, a config.App, route push.Route) (Sender, error) {
	if route.Environment == "" {
		s, err := newFCM(ctx, cfg, a.FCM, route)
		if err != nil {
			return nil, fmt.Errorf("%sfcm: %w", cfg.Section(a.Name), err)
		}
		return s, nil
	}
	s, err := newAPNs(cfg, a.APNs, route.Environment)
	if err != nil {
		return nil, fmt.Errorf("%sapns: %w", cfg.Section(a.Name), err)
	}
	return s, nil
}

// ByRoute returns the senders for delivery.
func (s Senders) ByRoute() map[push.Route]push.Sender {
	senders := make(map[push.Route]push.Sender, len(s))
	for route, sender := range s {
		senders[route] = sender
	}
	return senders
}

// Warm opens connections to the providers, but for environments that pushes seldom go to. It
// only logs failures: pushes are retried while a provider is unavailable.
func (s Senders) Warm(ctx context.Context, cfg *config.Config, log *slog.Logger) {
	for _, a := range cfg.AllApps() {
		routes := Routes(a)
		for i, route := range routes {
			if ByFirebase(route) || i > 0 && routes[i-1] == route.Elsewhere() {
				continue
			}
			if err := s[route].Warm(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
				log.Warn("the provider cannot be reached yet", "", route, "error", err)
			}
		}
		if !a.FCM.Enabled() {
			log.Info("Android push is off: "+cfg.Section(a.Name)+"fcm.project_id is not set", "app", a.Name)
		}
		if !a.APNs.Enabled() {
			section := cfg.Section(a.Name)
			log.Info("iOS push is off: neither "+section+"apns.key_file nor "+section+"apns.certificate_file is set", "app", a.Name)
		}
	}
	s.warmBrowsers(ctx, cfg, log)
}

// Close closes the connections.
func (s Senders) Close() {
	for _, sender := range s {
		sender.Close()
	}
}

// FCMEndpoint returns the base URL of FCM's API that the configuration chooses.
func FCMEndpoint(c config.FCM) string { return cmp.Or(c.Endpoint, fcm.Google) }

// APNsEndpoint returns the base URL that the configuration chooses for an environment of APNs.
func APNsEndpoint(c config.APNs, environment string) string {
	apples := map[string]string{push.Production: apns.Production, push.Sandbox: apns.Development}
	return cmp.Or(c.Endpoints()[environment], apples[environment])
}

// environments returns to which environment of APNs the pushes of each app go where the
// device does not say it.
func environments(cfg *config.Config) map[string]string {
	home := make(map[string]string)
	for _, a := range cfg.AllApps() {
		home[a.Name] = a.APNs.Home()
	}
	return home
}

func newFCM(ctx context.Context, cfg *config.Config, c config.FCM, route push.Route) (*fcm.Sender, error) {
	o := fcm.Options{
		ProjectID: c.ProjectID,
		Endpoint:  FCMEndpoint(c),
		InFlight:  inFlight(cfg.Push.InFlight),
		Timeout:   requestTimeout(cfg),
	}
	if ByFirebase(route) {
		o.APNs = apns.ForFirebase
	}
	var err error
	if o.CredentialsJSON, err = readFile(c.CredentialsFile); err != nil {
		return nil, fmt.Errorf("credentials_file: %w", err)
	}
	if o.RootCAs, err = readCAs(c.CAFile); err != nil {
		return nil, err
	}
	return fcm.New(ctx, o)
}

func newAPNs(cfg *config.Config, c config.APNs, environment string) (*apns.Sender, error) {
	o := apns.Options{
		KeyID:    c.KeyID,
		TeamID:   c.TeamID,
		Topic:    c.Topic,
		Endpoint: APNsEndpoint(c, environment),
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
