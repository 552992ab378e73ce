package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/cmd/internal/api"
	"github.com/kabar-gateway/kabar/cmd/internal/redischeck"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/devices/ratelimit"
	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/dispatcher/webhook"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A Core is Kabar without its servers: the part that the daemon and the operator's commands
// share. Close it.
type Core struct {
	Redis       redis.UniversalClient
	Inbox       *inbox.Store
	Devices     *devices.Registry
	Credentials *credentials.Store
	Dispatcher  *dispatcher.Dispatcher
	Texts       *text.Catalogue

	Batcher *rdb.Batcher // writes wait for replicas: callers are told that they succeeded
	Sharded bool         // pub/sub is that of a cluster

	partitions *rdb.Partitions
	limits     api.Limits
	checker    *redischeck.Checker
	signIns    *rdb.Batcher // writes do not wait for replicas
	webhooks   []*webhook.Client
}

// OpenCore connects to Redis, checks it, and creates the stores and the dispatcher. Senders
// may be nil for commands that send no pushes. The error is redischeck.ErrNotYet when a
// retry may succeed.
func OpenCore(ctx context.Context, cfg *config.Config, senders map[push.Route]push.Sender, log *slog.Logger, reg prometheus.Registerer) (*Core, error) {
	texts, err := text.New(text.Options{Folder: cfg.Texts})
	if err != nil {
		return nil, err
	}
	redisClient, err := redischeck.Connect(cfg.Redis)
	if err != nil {
		return nil, err
	}
	registerRedis := observeRedis(redisClient)
	parts := rdb.NewPartitions(cfg.Redis.Prefix, cfg.Redis.Partitions)
	checker, err := redischeck.New(redischeck.Options{Client: redisClient, Config: cfg.Redis, Partitions: parts, Log: log})
	if err == nil {
		err = checker.Start(ctx)
	}
	if err != nil {
		_ = redisClient.Close() // the first error says what is wrong
		return nil, err
	}
	if reg != nil {
		registerRedis(reg)
	}
	_, _ = checker.Clock(ctx) // a shard that is away: the monitor asks again
	_, cluster := redisClient.(*redis.ClusterClient)
	hooks, clients, err := newHooks(cfg, log)
	if err != nil {
		_ = redisClient.Close() // the first error says what is wrong
		return nil, err
	}
	c := &Core{Redis: redisClient, partitions: parts, checker: checker, Texts: texts, webhooks: clients, Batcher: rdb.NewBatcher(redisClient, cfg.Redis.WaitReplicas), Sharded: cluster}
	// Signing in must not wait until replicas have confirmed the writes of other users.
	c.signIns = rdb.NewBatcher(redisClient, 0)
	c.Devices = devices.New(devices.Options{Redis: redisClient, Batcher: c.Batcher, Partitions: parts, Log: log})
	c.limits = newLimits(c.signIns, parts, cfg)
	c.Credentials = credentials.New(credentials.Options{
		Batcher: c.Batcher, SignIns: c.signIns, Partitions: parts, Sharded: cluster,
		Lockout: credentials.Lockout{Failures: cfg.Auth.FailuresPerUser, Users: cfg.Auth.UsersPerAddress, Calls: cfg.Auth.UpstreamPerAddress},
	})
	var dismissals func(user int64) (delayed, entry string)
	if cfg.Push.Dismiss {
		dismissals = outbox.Dismissals(parts)
	}
	c.Inbox = inbox.New(inbox.Options{
		Redis:            redisClient,
		Batcher:          c.Batcher,
		Partitions:       parts,
		Devices:          c.Devices.ListKey,
		Dismissals:       dismissals,
		Dedupe:           time.Duration(cfg.Dedupe.Window),
		Keep:             time.Duration(cfg.Retention.Notifications),
		MaxNotifications: cfg.Retention.MaxNotifications,
		RetryFor:         time.Duration(cfg.Push.RetryFor),
		KeepMessages:     time.Duration(cfg.Retention.Messages),
		Sharded:          cluster,
		Log:              log,
	})
	c.Dispatcher = c.newDispatcher(cfg, parts, senders, hooks, log, reg)
	return c, nil
}

func newLimits(b *rdb.Batcher, p *rdb.Partitions, cfg *config.Config) api.Limits {
	devices := ratelimit.Limits{PerUser: cfg.Devices.PerUser, PerAddress: cfg.Devices.PerAddress}
	uploads := ratelimit.Limits{PerUser: cfg.Attachments.PerUser, PerAddress: cfg.Attachments.PerAddress}
	return api.Limits{
		Registrations: ratelimit.New(b, p, "registrations", devices),
		Removals:      ratelimit.New(b, p, "removals", devices),
		Uploads:       ratelimit.New(b, p, "uploads", uploads),
	}
}

func (c *Core) newDispatcher(cfg *config.Config, parts *rdb.Partitions, senders map[push.Route]push.Sender, hooks map[string]report.Hook, log *slog.Logger, reg prometheus.Registerer) *dispatcher.Dispatcher {
	return dispatcher.New(dispatcher.Options{
		Texts:        c.Texts,
		Locale:       text.Locale(cfg.Locale),
		Redis:        c.Redis,
		Partitions:   parts,
		Inbox:        c.Inbox,
		Devices:      c.Devices,
		Credentials:  c.Credentials,
		Senders:      senders,
		Environments: environments(cfg),
		InFlight:     inFlightLimits(cfg.Push.InFlight),
		Lease:        time.Duration(cfg.Push.Lease),
		RetryFor:     time.Duration(cfg.Push.RetryFor),
		LiveGrace:    time.Duration(cfg.Push.LiveGrace),
		StaleAfter:   time.Duration(cfg.Devices.StaleAfter),
		Admins:       cfg.Auth.Admins,
		Hooks:        hooks,
		Types:        types(cfg.Types),
		Apps:         cfg.AppNames(),
		LinkSchemes:  cfg.Push.LinkSchemes,
		AndroidStyle: devices.Style(cfg.Android.Style),
		Location:     cfg.Location(),
		Cluster:      c.Sharded,
		Log:          log,
		Metrics:      reg,
		Now:          c.checker.Now,
	})
}

// Close waits for pending writes to Redis and closes the connections.
func (c *Core) Close() error {
	c.Batcher.Close()
	c.signIns.Close()
	for _, e := range c.webhooks {
		e.Close()
	}
	if err := c.Redis.Close(); err != nil {
		return fmt.Errorf("close Redis: %w", err)
	}
	return nil
}

// newHooks makes the webhooks of the services that have one. It opens no connection.
func newHooks(cfg *config.Config, log *slog.Logger) (map[string]report.Hook, []*webhook.Client, error) {
	hooks := make(map[string]report.Hook)
	var clients []*webhook.Client
	for _, s := range cfg.Services {
		if !s.Webhook.Enabled() {
			continue
		}
		e, err := webhook.New(webhook.Options{
			URL:          s.Webhook.URL.Reveal(),
			Secret:       s.Webhook.Secret.Reveal(),
			AllowPrivate: cfg.Webhooks.AllowPrivate,
			Log:          log.With("service", s.Name),
		})
		if err != nil {
			return nil, nil, fmt.Errorf("service %s: %w", s.Name, err)
		}
		hooks[s.Name] = report.Hook{Client: e, Types: s.Webhook.Events}
		clients = append(clients, e)
	}
	return hooks, clients, nil
}

func types(declared []config.EventType) []event.Type {
	types := make([]event.Type, len(declared))
	for i, t := range declared {
		types[i] = event.Type{Name: t.Name, Message: t.Message, Apps: t.Apps, Defaults: t.Defaults()}
		if t.Lane == "" { // a built-in type
			continue
		}
		var err error
		if types[i].Lane, err = push.ParseLane(t.Lane); err != nil {
			panic(err) // config has validated it
		}
	}
	return types
}

// NewLogger returns the logger that the configuration asks for.
func NewLogger(c config.Log, w interface{ Write([]byte) (int, error) }) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.SlogLevel()}
	if strings.EqualFold(c.Format, config.LogText) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
