package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/kabar-gateway/kabar/cmd/internal/api"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// webRoute returns the route to the browsers that have subscribed at a push service.
func webRoute(service string) push.Route {
	return push.Route{App: push.DefaultApp, Platform: string(devices.Web), Environment: service}
}

// addBrowsers adds the senders to the push services of browsers.
func (s Senders) addBrowsers(cfg *config.Config) error {
	if !cfg.WebPush.Enabled() {
		return nil
	}
	for _, service := range cfg.WebPush.Services {
		sender, err := NewWebPush(cfg, service)
		if err != nil {
			return err
		}
		s[webRoute(service)] = sender
	}
	return nil
}

// NewWebPush makes the sender to a push service of browsers.
func NewWebPush(cfg *config.Config, service string) (*webpush.Sender, error) {
	c := cfg.WebPush
	roots, err := readCAs(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("webpush: %w", err)
	}
	return webpush.New(webpush.Options{
		Service: service, PrivateKey: c.PrivateKey.Reveal(), Subject: c.Subject, AllowPrivate: c.AllowPrivate,
		RootCAs: roots, InFlight: inFlight(cfg.Push.InFlight), Timeout: requestTimeout(cfg),
	})
}

// warmBrowsers opens connections to the push services of browsers, as Warm does.
func (s Senders) warmBrowsers(ctx context.Context, cfg *config.Config, log *slog.Logger) {
	if !cfg.WebPush.Enabled() {
		log.Info("browser push is off: webpush.private_key is not set")
		return
	}
	for _, service := range cfg.WebPush.Services {
		route := webRoute(service)
		if err := s[route].Warm(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			log.Warn("the provider cannot be reached yet", "", route, "error", err)
		}
	}
}

// browsers returns which browsers may register.
func browsers(cfg *config.Config) (b api.Browsers, err error) {
	if !cfg.WebPush.Enabled() {
		return b, nil
	}
	if b.PublicKey, err = webpush.PublicKey(cfg.WebPush.PrivateKey.Reveal()); err != nil {
		return b, fmt.Errorf("webpush.private_key: %w", err)
	}
	b.Services = slices.Clone(cfg.WebPush.Services)
	return b, nil
}
