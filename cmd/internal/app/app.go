// Package app wires the daemon together and runs it: [New] binds the addresses and connects
// to Redis, [App.Run] serves until its context ends, and then drains.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/cmd/internal/api"
	"github.com/kabar-gateway/kabar/cmd/internal/edge"
	"github.com/kabar-gateway/kabar/cmd/internal/redischeck"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/live"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/attachments"
)

const (
	headerTimeout = 5 * time.Second  // for a request's header
	bodyTimeout   = 30 * time.Second // for a request as a whole
	writeTimeout  = 60 * time.Second // for an answer
	idleTimeout   = 2 * time.Minute  // for the next request of a connection
	maxHeader     = 16 << 10         // bytes
	drainTimeout  = 10 * time.Second // for requests that are being answered
	warmTimeout   = 30 * time.Second // for connections to the providers, beside all else
)

// An App is one Kabar process. New makes it; Run runs it, once.
type App struct {
	cfg     *config.Config
	log     *slog.Logger
	core    *Core
	hub     *live.Hub
	signIn  Verifier // nil when Kabar keeps the credentials itself
	monitor *redischeck.Monitor
	public  listener
	admin   listener

	draining atomic.Bool
	onStop   []func() error // run in reverse order
	stopOnce sync.Once
	stopErr  error
	warm     func(context.Context)
}

type listener struct {
	net.Listener
	server *http.Server
}

// New binds the addresses, reads the keys and connects to Redis. It serves nothing yet. When
// it fails, it closes what it has opened.
func New(ctx context.Context, cfg *config.Config, log *slog.Logger) (_ *App, err error) {
	quiet := redischeck.NewQuiet(log.Handler(), notRedis)
	log = slog.New(quiet)
	a := &App{cfg: cfg, log: log}
	a.closing(quiet.Close)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	redis.SetLogger(redisLog{log})
	if a.public.Listener, err = a.listen("listen", cfg.Listen); err != nil {
		return nil, err
	}
	if a.admin.Listener, err = a.listen("admin_listen", cfg.AdminListen); err != nil {
		return nil, err
	}
	senders, err := NewSenders(ctx, cfg)
	if err != nil {
		return nil, err
	}
	a.closing(func() error { senders.Close(); return nil })
	a.warm = func(ctx context.Context) { senders.Warm(ctx, cfg, log) }
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if a.core, err = awaitCore(ctx, cfg, senders.ByRoute(), log, reg); err != nil {
		return nil, err
	}
	a.closing(a.core.Close)
	a.monitor = redischeck.NewMonitor(a.core.checker)
	reg.MustRegister(a.monitor)
	a.monitor.Look(ctx) // before the first request to /readyz
	if a.signIn, err = NewVerifier(cfg.Auth, a.core.signInOptions(log)); err != nil {
		return nil, err
	}
	if a.signIn != nil {
		a.closing(a.signIn.Close)
	}
	files, err := attachments.Open(ctx, attachments.Options{
		URL: cfg.Attachments.URL.Reveal(), Batcher: a.core.Batcher, Partitions: a.core.partitions,
		Quota: int64(cfg.Attachments.Quota) << 20, Erased: a.core.Inbox.Eraser.Erased,
	})
	if err != nil {
		return nil, fmt.Errorf("attachments: %w", err)
	}
	a.closing(files.Close)
	a.core.Dispatcher.Janitor.SetFiles(files)
	a.hub = a.newHub(reg)
	handler, err := a.newAPI(files, reg)
	if err != nil {
		return nil, err
	}
	a.public.server = newServer(handler, log)
	a.limitConnections(reg)
	a.admin.server = newServer(a.adminHandler(reg), log)
	a.admin.server.WriteTimeout = 0 // a CPU profile takes as long as requested
	return a, nil
}

func (a *App) newHub(reg prometheus.Registerer) *live.Hub {
	return live.New(live.Options{
		Redis:         a.core.Redis,
		Batcher:       a.core.Batcher,
		Chat:          a.core.Dispatcher.Chat,
		Locales:       a.core.Dispatcher,
		Types:         a.core.Dispatcher.Types(),
		Channels:      a.core.Inbox.Live,
		Counters:      a.core.Inbox.Counters,
		Notifications: a.core.Inbox.Notifications,
		Conversations: a.core.Inbox.Conversations,
		DefaultAvatar: api.DefaultAvatar(a.cfg.Attachments.PublicURL),
		Sharded:       a.core.Sharded,
		Frames:        perSecond(a.cfg.Live.Frames),
		ControlFrames: perSecond(a.cfg.Live.ControlFrames),
		Typing:        time.Duration(a.cfg.Live.Typing),
		Texts:         a.core.Texts,
		Location:      a.cfg.Location(),
		Log:           a.log,
		Metrics:       reg,
	})
}

// perSecond is the rate of n things a second, three times as many at once.
func perSecond(n int) chat.Rate { return chat.Rate{PerSecond: float64(n), Burst: 3 * n} }

func (a *App) newAPI(files *attachments.Store, reg prometheus.Registerer) (http.Handler, error) {
	pages, err := browsers(a.cfg)
	if err != nil {
		return nil, err
	}
	opts := api.Options{
		Notifications: a.core.Inbox.Notifications,
		Counters:      a.core.Inbox.Counters,
		Conversations: a.core.Inbox.Conversations,
		Profiles:      a.core.Inbox.Profiles,
		Contacts:      a.core.Inbox.Contacts,
		Devices:       a.core.Devices,
		Limits:        a.core.limits,
		Credentials:   a.core.Credentials,
		Publisher:     a.core.Dispatcher,
		Deliveries:    a.core.Dispatcher.Delivery,
		Broadcasts:    a.core.Dispatcher.Broadcasts,
		Receipts:      a.core.Dispatcher.Receipts,
		Chat:          a.core.Dispatcher.Chat,
		Eraser:        a.core.Dispatcher.Janitor,
		Types:         a.core.Dispatcher.Types(),
		Apps:          a.cfg.AppNames(),
		Browsers:      pages,
		Services:      services(a.cfg.Services),
		Proxies:       a.proxies(),
		Origins:       edge.NewOrigins(a.cfg.Origins),
		Attachments:   files,
		PublicURL:     a.cfg.Attachments.PublicURL,
		Live:          a.hub,
		Texts:         a.core.Texts,
		Locale:        text.Locale(a.cfg.Locale),
		Location:      a.cfg.Location(),
		Log:           a.log,
		Metrics:       reg,
	}
	if a.signIn != nil {
		opts.SignIn = a.signIn
	}
	return api.New(opts), nil
}

// proxies returns the proxies that the configuration trusts.
func (a *App) proxies() edge.Proxies {
	return edge.Proxies{Networks: a.cfg.Proxies.Networks(), Header: a.cfg.Proxies.Header}
}

// limitConnections applies the limits on connections to the public address. What the
// operator's address needs is kept by them.
func (a *App) limitConnections(reg prometheus.Registerer) {
	limits := edge.Limits{PerAddress: a.cfg.Connections.PerAddress, Total: a.cfg.Connections.Total, Files: edge.FileLimit()}
	connections := edge.NewConnections(edge.Options{Limits: limits, Proxies: a.proxies(), Log: a.log, Metrics: reg})
	a.public.Listener = connections.Listen(a.public.Listener)
	a.public.server.ConnState, a.public.server.ConnContext = connections.ConnState, connections.ConnContext
}

func (a *App) listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	a.closing(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // the server may have closed it
			return err
		}
		return nil
	})
	return l, nil
}

// closing registers a clean-up function; close runs them in reverse order.
func (a *App) closing(f func() error) { a.onStop = append(a.onStop, f) }

func (a *App) close() error {
	a.stopOnce.Do(func() {
		for _, f := range slices.Backward(a.onStop) {
			a.stopErr = errors.Join(a.stopErr, f())
		}
	})
	return a.stopErr
}

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func services(configured []config.Service) []api.Service {
	services := make([]api.Service, len(configured))
	for i, s := range configured {
		services[i] = api.Service{Name: s.Name, KeySHA256: s.KeySum(), Scopes: s.Scopes, Strict: s.Strict}
	}
	return services
}

// Addr returns the address of the public API.
func (a *App) Addr() net.Addr { return a.public.Addr() }

// AdminAddr returns the address of metrics and health.
func (a *App) AdminAddr() net.Addr { return a.admin.Addr() }

// Run serves until ctx ends, then drains: it stops reporting ready, finishes the requests
// and attempts under way, leaves the rest in Redis for other processes, and closes
// everything. The error is nil after a clean stop.
func (a *App) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var servers, workers sync.WaitGroup
	for _, l := range []*listener{&a.public, &a.admin} {
		servers.Go(func() {
			if err := l.server.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve %s: %w", l.Addr(), err))
			}
		})
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	workers.Go(func() {
		warm, cancel := context.WithTimeout(work, warmTimeout)
		defer cancel()
		a.warm(warm)
	})
	workers.Go(func() { a.core.Dispatcher.Run(work) })
	workers.Go(func() { a.hub.Run(work) })
	workers.Go(func() { a.monitor.Run(work) })
	if s, ok := a.signIn.(interface{ Run(context.Context) }); ok {
		workers.Go(func() { s.Run(work) })
	}
	a.log.Info("kabar serves", "address", a.Addr().String(), "admin", a.AdminAddr().String())

	<-ctx.Done()
	a.draining.Store(true)
	a.log.Info("kabar is stopping: finishing requests and attempts under way")
	a.drainSockets()
	err := a.shutdown(&a.public) // the workers still run, for what these requests publish
	stopWork()
	workers.Wait()
	err = errors.Join(err, a.shutdown(&a.admin))
	servers.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return errors.Join(err, a.close())
}

// drainSockets tells the clients of live sockets to reconnect to another process.
func (a *App) drainSockets() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	a.hub.Drain(ctx)
}

// shutdown stops a server once it has answered the requests under way.
func (a *App) shutdown(l *listener) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := l.server.Shutdown(ctx); err != nil {
		a.log.Warn("requests were cut off", "address", l.Addr().String(), "error", err)
		if err := l.server.Close(); err != nil {
			return fmt.Errorf("close %s: %w", l.Addr(), err)
		}
	}
	return nil
}
