package redischeck

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// start starts a Redis for this test alone.
func start(t *testing.T, args ...string) *localredis.Server {
	t.Helper()
	s, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir(), Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// shared returns the server that all tests share. Each test prefixes its keys with its
// name.
func shared(t *testing.T) *localredis.Server {
	t.Helper()
	s, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func connect(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}

// checker returns a Checker of redis.url, with the same client as the daemon's, and the
// log.
func checker(t *testing.T, url string, change ...func(*config.Redis)) (*Checker, *strings.Builder) {
	t.Helper()
	cfg := config.Redis{URL: config.URL(url), Partitions: 16, Prefix: strings.ReplaceAll(t.Name(), "/", ".")}
	for _, f := range change {
		f(&cfg)
	}
	client, err := Connect(cfg)
	check(t, err)
	t.Cleanup(func() { client.Close() })
	var log strings.Builder
	c, err := New(Options{
		Client: client, Config: cfg, Partitions: rdb.NewPartitions(cfg.Prefix, cfg.Partitions),
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, &log
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// embedded starts an embedded Redis and returns its address.
func embedded(t *testing.T) string {
	t.Helper()
	return miniredis.RunT(t).Addr()
}
