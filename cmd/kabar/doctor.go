package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/cmd/internal/app"
	"github.com/kabar-gateway/kabar/cmd/internal/redischeck"
	"github.com/kabar-gateway/kabar/cmd/internal/signin"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/inbox/attachments"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const checkTimeout = 15 * time.Second

type doctorCmd struct{}

// A check is one thing that the doctor checks.
type check struct {
	name   string
	run    func(ctx context.Context) (result string, err error)
	remedy string // what to do when it fails, unless the error is a finding
}

// Run implements the command. A failed check is an error; a risk is only printed.
func (doctorCmd) Run(e *env) error {
	cfg, err := e.load()
	if err != nil {
		fmt.Fprintln(e.out, "✗ configuration: see below; kabar config check shows what is in effect")
		return err
	}
	fmt.Fprintln(e.out, "✓ configuration: valid")
	failed := 0
	for _, c := range slices.Concat(redisChecks(cfg), []check{authCheck(cfg), bucketCheck(cfg)}, providerChecks(cfg)) {
		ctx, cancel := context.WithTimeout(e.ctx, checkTimeout)
		result, err := c.run(ctx)
		cancel()
		if errors.Is(err, redischeck.ErrRisk) {
			fmt.Fprintf(e.out, "! %s: %v\n    → %s\n", c.name, err, c.remedy)
			continue
		}
		if err != nil {
			failed++
			remedy := c.remedy
			if f := (*finding)(nil); errors.As(err, &f) {
				remedy = f.remedy
			}
			fmt.Fprintf(e.out, "✗ %s: %v\n    → %s\n", c.name, err, remedy)
			continue
		}
		fmt.Fprintf(e.out, "✓ %s: %s\n", c.name, result)
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

func redisChecks(cfg *config.Config) []check {
	fails := func(err error) []check {
		return []check{{"redis", func(context.Context) (string, error) { return "", err }, "correct redis.url"}}
	}
	client, err := redischeck.Connect(cfg.Redis)
	if err != nil {
		return fails(err)
	}
	redis, err := redischeck.New(redischeck.Options{
		Client: client, Config: cfg.Redis, Partitions: rdb.NewPartitions(cfg.Redis.Prefix, cfg.Redis.Partitions), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return fails(err)
	}
	return []check{
		{"redis", func(ctx context.Context) (string, error) {
			start := time.Now()
			version, err := redis.Kind(ctx)
			return fmt.Sprintf("%s answers in %v, version %s", cfg.Redis.URL, time.Since(start).Round(time.Microsecond), version), err
		}, "start Redis 7.0 or newer, or correct redis.url"},
		{"rights", func(ctx context.Context) (string, error) {
			return "the user of redis.url may do all that Kabar does", redis.Rights(ctx)
		}, "give the user the rights that docs/deployment.md lists, on every node"},
		{"layout", redis.Layout, "run a build of the layout that is in Redis, correct redis.partitions, or begin anew with another redis.prefix"},
		{"durability", func(ctx context.Context) (string, error) {
			if err := redis.Durable(ctx); err != nil && !cfg.Redis.AllowVolatile {
				return "", err
			} else if err != nil {
				return fmt.Sprintf("%v; redis.allow_volatile accepts that", err), nil
			}
			return "append-only file on, nothing is evicted", nil
		}, "in redis.conf: appendonly yes, maxmemory-policy noeviction"},
		{"replicas", redis.Replicas, "set redis.wait_replicas and min-replicas-to-write to the number of replicas that may take over; docs/operations.md has the numbers"},
		{"clock", func(ctx context.Context) (string, error) {
			defer client.Close()
			offset, err := redis.Clock(ctx)
			if err == nil && offset.Abs() > redischeck.MaxOffset {
				err = fmt.Errorf("this machine and Redis differ by %v", offset.Round(time.Millisecond))
			}
			return fmt.Sprintf("differs from Redis' by %v", offset.Round(time.Millisecond)), err
		}, "synchronise both clocks (NTP): provider tokens and retries depend on them"},
	}
}

func authCheck(cfg *config.Config) check {
	c := check{name: "auth", remedy: "correct auth.upstream_url or auth.jwks, and see that this machine reaches it"}
	c.run = func(ctx context.Context) (string, error) {
		v, err := app.NewVerifier(cfg.Auth, signin.Options{})
		if err != nil {
			return "", err
		}
		if v == nil {
			return "tokens are kept by Kabar", nil
		}
		defer v.Close()
		if err := v.Check(ctx); err != nil {
			return "", err
		}
		return map[string]string{
			config.AuthUpstream: "the upstream answers, and refuses a made-up token",
			config.AuthJWT:      "signed tokens can be verified",
		}[cfg.Auth.Mode], nil
	}
	return c
}

func bucketCheck(cfg *config.Config) check {
	run := func(ctx context.Context) (_ string, err error) {
		files, err := attachments.Open(ctx, attachments.Options{URL: cfg.Attachments.URL.Reveal()})
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, files.Close()) }()
		return "a file was written, read and deleted in " + cfg.Attachments.URL.String(), files.Check(ctx)
	}
	return check{"attachments", run, "correct attachments.url; the gateway has to write, read and delete there"}
}

type healthcheckCmd struct{}

// Run implements the command.
func (healthcheckCmd) Run(e *env) error {
	cfg, err := e.load()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(cfg.AdminListen)
	if err != nil {
		return fmt.Errorf("admin_listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(e.ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("not ready: " + resp.Status)
	}
	return nil
}
