package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// A store is the Redis of a world: one server, or the masters of a cluster. What it counts
// is the sum over its servers. Close it.
type store struct {
	cluster bool
	servers []*localredis.Server
	clients []*redis.Client // by server
}

// startStore starts one server, or a cluster of some shards.
func startStore(ctx context.Context, cluster bool, shards int) (*store, error) {
	// Rewriting the append-only file in the middle of a round would be noise.
	o := localredis.Options{Group: true, Args: []string{"--auto-aof-rewrite-percentage", "0"}}
	if cluster {
		servers, err := localredis.StartCluster(ctx, shards, o)
		if err != nil {
			return nil, err
		}
		return newStore(true, servers...), nil
	}
	server, err := localredis.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return newStore(false, server), nil
}

func newStore(cluster bool, servers ...*localredis.Server) *store {
	s := &store{cluster: cluster, servers: servers}
	for _, server := range servers {
		s.clients = append(s.clients, redis.NewClient(&redis.Options{Addr: server.Addr()}))
	}
	return s
}

func (s *store) close() error {
	var err error
	for i, c := range s.clients {
		err = errors.Join(err, c.Close(), s.servers[i].Close())
	}
	return err
}

// url is what a gateway is told.
func (s *store) url() string {
	if s.cluster {
		return localredis.ClusterURL(s.servers)
	}
	return s.servers[0].URL()
}

// cpu counts the CPU time of Redis, in µs.
func (s *store) cpu(ctx context.Context) (float64, error) {
	var all float64
	for _, server := range s.servers {
		used, err := cpuOf(server.PID())(ctx)
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

// logged counts the bytes of the append-only files, which are never rewritten.
func (s *store) logged(ctx context.Context) (float64, error) {
	return s.sum(ctx, "persistence", "aof_current_size")
}

// memory returns the bytes that Redis has allocated.
func (s *store) memory(ctx context.Context) (float64, error) {
	return s.sum(ctx, "memory", "used_memory")
}

// sum adds up a number that each server says about itself.
func (s *store) sum(ctx context.Context, section, field string) (float64, error) {
	var all float64
	for _, c := range s.clients {
		text, err := info(ctx, c, section, field)
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("INFO %s, %s: %w", section, field, err)
		}
		all += n
	}
	return all, nil
}

// version returns Redis' version.
func (s *store) version(ctx context.Context) (string, error) {
	return info(ctx, s.clients[0], "server", "redis_version")
}

// info returns a field of what a server says about itself.
func info(ctx context.Context, c *redis.Client, section, field string) (string, error) {
	text, err := c.Info(ctx, section).Result()
	if err != nil {
		return "", fmt.Errorf("ask Redis for %s: %w", field, err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("INFO %s has no %s", section, field)
}
