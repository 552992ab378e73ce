package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kabar-gateway/kabar/cmd/internal/app"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// errAborted reports that a second signal ended the playground before it had stopped.
var errAborted = errors.New("aborted: requests and pushes under way were not finished")

// A playground is everything that one run starts. Call play once; abort may be
// called meanwhile.
type playground struct {
	flags
	stdout, stderr io.Writer
	fail           func(error) // stops the run for a reason

	store   atomic.Pointer[store] // nil until it is started
	found   bool                  // whether an earlier run left data
	core    *app.Core
	gateway *app.App
	page    *page

	onStop []func() error // run in reverse order
}

// closing registers a clean-up function; close runs them in reverse order.
func (p *playground) closing(f func() error) { p.onStop = append(p.onStop, f) }

func (p *playground) close() error {
	var err error
	for _, f := range slices.Backward(p.onStop) {
		err = errors.Join(err, f())
	}
	p.onStop = nil
	return err
}

// abort kills Redis without waiting for its clients.
func (p *playground) abort() error {
	if s := p.store.Load(); s != nil {
		return s.kill()
	}
	return nil
}

// play starts everything, prints what to try, serves until ctx ends, and stops
// everything: the gateway first and Redis last.
func (p *playground) play(ctx context.Context) error {
	g, err := p.start(ctx)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // stopped while starting
		}
		return errors.Join(err, p.close())
	}
	if err := g.print(p.stdout); err != nil {
		p.fail(fmt.Errorf("print: %w", err))
	}
	if err = errors.Join(p.gateway.Run(ctx), p.close()); err == nil {
		fmt.Fprintf(p.stdout, "Stopped. %s\n", g.goodbye())
	}
	return err
}

// start starts everything and returns the guide to print. The gateway does not serve or
// send pushes until it runs.
func (p *playground) start(ctx context.Context) (*guide, error) {
	cfg, err := p.configure(ctx)
	if err != nil {
		return nil, err
	}
	log := app.NewLogger(cfg.Log, p.stderr)
	if p.core, err = app.OpenCore(ctx, cfg, nil, log, nil); err != nil {
		return nil, err
	}
	p.closing(p.core.Close)
	screen := newScreen(p.stdout, newDirectory(p.core), p.fail)
	p.closing(screen.close)
	if err := p.showOnPage(screen); err != nil {
		return nil, err
	}
	keys, err := os.MkdirTemp("", "kabar-dev-")
	if err != nil {
		return nil, fmt.Errorf("start the providers: %w", err)
	}
	defer os.RemoveAll(keys) // the gateway reads the keys only once, in app.New
	if err := p.startProviders(cfg, keys, screen.show); err != nil {
		return nil, err
	}
	greeting, err := p.populate(ctx)
	if err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("the playground's own configuration: %w", err)
	}
	if p.gateway, err = app.New(ctx, cfg, log); err != nil {
		return nil, err
	}
	p.page.serve(local(p.gateway.Addr()), p.fail)
	return p.guide(cfg, greeting), nil
}

// showOnPage opens the page, and shows on it what the screen prints.
func (p *playground) showOnPage(s *screen) error {
	listen, err := address("--page-listen", p.PageListen, presetPage)
	if err != nil {
		return err
	}
	board := newBoard()
	if p.page, err = openPage(listen, board, describeFaults(p.Fault)); err != nil {
		return err
	}
	p.closing(p.page.close)
	s.also = board.show
	return nil
}

// populate creates the demo users with a notification, and returns its id.
func (p *playground) populate(ctx context.Context) (greeting string, err error) {
	if p.found, err = populated(ctx, p.core); err != nil {
		return "", err
	}
	if err := createPeople(ctx, p.core); err != nil {
		return "", err
	}
	return welcome(ctx, p.core)
}

// configure chooses the addresses, starts Redis, and returns the configuration.
func (p *playground) configure(ctx context.Context) (*config.Config, error) {
	cfg := config.Default()
	var err error
	if cfg.Listen, err = address("--listen", p.Listen, presetListen); err != nil {
		return nil, err
	}
	if cfg.AdminListen, err = address("--admin-listen", p.AdminListen, presetAdmin); err != nil {
		return nil, err
	}
	s, err := openStore(ctx, p.Data, p.InMemory)
	if err != nil {
		return nil, err
	}
	p.store.Store(s)
	p.closing(s.close)
	cfg.Redis.URL = config.URL(s.url)
	cfg.Redis.AllowVolatile = s.embedded
	cfg.Attachments.URL = "mem://"
	if !s.embedded {
		folder, err := filepath.Abs(filepath.Join(p.Data, "attachments"))
		if err != nil {
			return nil, err
		}
		cfg.Attachments.URL = config.URL("file://" + filepath.ToSlash(folder))
	}
	cfg.Origins = p.Origin
	cfg.Services = []config.Service{demoService()}
	cfg.Log = config.Log{Level: "warn", Format: config.LogText} // the output is for pushes
	return cfg, nil
}

// startProviders starts the fake FCM, APNs and push service, which write their keys to a folder, and sets
// them in the configuration.
func (p *playground) startProviders(cfg *config.Config, keys string, onPush func(*sandbox.Push)) error {
	providers, err := sandbox.Start(sandbox.Options{OnPush: onPush})
	if err != nil {
		return err
	}
	p.closing(providers.Close)
	ca, err := providers.CAFile(keys)
	if err != nil {
		return fmt.Errorf("start the providers: %w", err)
	}
	cfg.FCM = config.FCM{ProjectID: "kabar-demo", Endpoint: providers.FCM.Endpoint(), CAFile: ca}
	if cfg.FCM.CredentialsFile, err = providers.FCM.WriteCredentials(keys); err != nil {
		return fmt.Errorf("start the providers: %w", err)
	}
	cfg.APNs.Topic = "com.example.kabar"
	cfg.APNs.Endpoint, cfg.APNs.CAFile = providers.APNs.Endpoint(), ca
	cfg.APNs.KeyFile, cfg.APNs.KeyID, cfg.APNs.TeamID, err = providers.APNs.WriteKey(keys)
	if err != nil {
		return fmt.Errorf("start the providers: %w", err)
	}
	cfg.WebPush = config.WebPush{
		PrivateKey: config.Secret(webpush.NewPrivateKey()), Subject: "mailto:demo@kabar.example",
		Services: []string{strings.TrimPrefix(providers.Web.Endpoint(), "https://")}, AllowPrivate: true, CAFile: ca,
	}
	p.page.subscribe = providers.Web.Subscribe
	for _, f := range p.Fault {
		if _, err := providers.Inject(f.name, f.options); err != nil { // it lasts as long as they do
			return err
		}
	}
	return nil
}
