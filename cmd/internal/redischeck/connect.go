package redischeck

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/kabar-gateway/kabar/config"
)

const (
	dialTimeout   = 2 * time.Second
	answerTimeout = 3 * time.Second
)

// Connect returns a client for the configured Redis. It does not connect yet.
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
		DialerRetries:         1, // the batcher retries commands
		ReadTimeout:           answerTimeout,
		WriteTimeout:          answerTimeout,
		ContextTimeoutEnabled: true,
		TLSConfig:             a.TLSConfig(),
		// Only managed services support these notifications. Other servers answer with an
		// error.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if a.Kind == config.RedisCluster {
		cluster := opts.Cluster()
		// With these policies the client asks a random node for the list of commands before
		// its first command, so that one node that hangs would block all commands.
		cluster.DisableRoutingPolicies = true
		return redis.NewClusterClient(cluster), nil
	}
	return redis.NewUniversalClient(opts), nil
}
