package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/kabar-gateway/kabar/config"
)

const (
	dialTimeout   = 2 * time.Second
	answerTimeout = 3 * time.Second
)

// Connect returns a client for the configured Redis. It opens no connection yet.
func Connect(c config.Redis) (redis.UniversalClient, error) {
	a, err := c.Address()
	if err != nil {
		return nil, fmt.Errorf("redis.url %w", err)
	}
	opts := &redis.UniversalOptions{
		Addrs:                 a.Hosts,
		MasterName:            a.Master,
		DB:                    a.DB,
		Username:              a.Username,
		Password:              a.Password.Reveal(),
		SentinelUsername:      a.SentinelUsername,
		SentinelPassword:      a.SentinelPassword.Reveal(),
		IsClusterMode:         a.Kind == config.RedisCluster,
		ClientName:            "kabar",
		DialTimeout:           dialTimeout,
		DialerRetries:         1, // the commands are retried
		ReadTimeout:           answerTimeout,
		WriteTimeout:          answerTimeout,
		ContextTimeoutEnabled: true,
		// Only managed services support these notifications; other servers answer with an
		// error.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if a.TLS {
		opts.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return redis.NewUniversalClient(opts), nil
}

// ErrVolatile reports a Redis that may lose data.
var ErrVolatile = errors.New("this Redis may lose what Kabar has accepted")

// CheckDurable returns ErrVolatile unless every master of Redis writes an
// append-only file and evicts nothing (guarantee G1).
func CheckDurable(ctx context.Context, rdb redis.UniversalClient) error {
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return checkDurable(ctx, node)
		})
	}
	return checkDurable(ctx, rdb)
}

func checkDurable(ctx context.Context, node redis.Cmdable) error {
	info, err := node.Info(ctx, "persistence").Result()
	if err != nil {
		return fmt.Errorf("ask Redis about persistence: %w", err)
	}
	if !hasInfo(info, "aof_enabled:1") {
		return fmt.Errorf("%w: it has no append-only file; set \"appendonly yes\"", ErrVolatile)
	}
	if info, err = node.Info(ctx, "memory").Result(); err != nil {
		return fmt.Errorf("ask Redis about memory: %w", err)
	}
	if !hasInfo(info, "maxmemory_policy:noeviction") {
		return fmt.Errorf("%w: it evicts keys when memory is short; set \"maxmemory-policy noeviction\"", ErrVolatile)
	}
	return nil
}

func hasInfo(info, line string) bool {
	for l := range strings.Lines(info) {
		if strings.TrimSpace(l) == line {
			return true
		}
	}
	return false
}
