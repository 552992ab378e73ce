package redischeck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrRisk reports a configuration that works, but may lose acknowledged data.
var ErrRisk = errors.New("a failover may lose what was acknowledged")

// Kind checks that Redis answers, has the kind that redis.url names, and is new enough. It
// returns the versions.
func (c *Checker) Kind(ctx context.Context) (string, error) {
	return c.describe(ctx, func(m master, about facts) (string, error) {
		return about["redis_version"], c.kind(m, about)
	})
}

// Rights checks that the user of redis.url has every right that Kabar needs, on every
// master.
func (c *Checker) Rights(ctx context.Context) error { return c.all(ctx, c.rights) }

// Durable returns ErrVolatile unless every master writes an append-only file and never
// evicts keys.
func (c *Checker) Durable(ctx context.Context) error {
	_, err := c.describe(ctx, func(m master, about facts) (string, error) { return "", durable(m, about) })
	return err
}

// Replicas compares the number of replicas of each master with redis.wait_replicas. The
// error is ErrRisk when a failover may lose data.
func (c *Checker) Replicas(ctx context.Context) (string, error) {
	return c.describe(ctx, func(m master, about facts) (string, error) {
		return c.replicas(m, about.number("connected_slaves"), c.minReplicas(ctx, m))
	})
}

// minReplicas returns min-replicas-to-write, or 0 when the user lacks the right to read it.
func (c *Checker) minReplicas(ctx context.Context, m master) int {
	reply, err := m.client.ConfigGet(ctx, "min-replicas-to-write").Result()
	if err != nil {
		return 0 // Kabar does not require the right to CONFIG
	}
	n, _ := strconv.Atoi(reply["min-replicas-to-write"])
	return n
}

func (c *Checker) replicas(m master, connected, least int) (string, error) {
	wait := c.Config.WaitReplicas
	switch {
	case wait > connected:
		return "", fmt.Errorf("%s has %d replicas and redis.wait_replicas is %d: no write is acknowledged", m.name, connected, wait)
	case least > connected:
		return "", fmt.Errorf("%s has %d replicas and its min-replicas-to-write is %d: it refuses every write", m.name, connected, least)
	case wait < connected:
		return "", fmt.Errorf("%w: %s has %d replicas and redis.wait_replicas is %d (min-replicas-to-write is %d): a replica that takes over may lack a write",
			ErrRisk, m.name, connected, wait, least)
	case connected == 0:
		return m.name + " has no replicas", nil
	}
	return fmt.Sprintf("all %d replicas of %s have a write before it is acknowledged", connected, m.name), nil
}

// describe calls a function with the INFO of every master, and joins the distinct texts.
func (c *Checker) describe(ctx context.Context, describe func(master, facts) (string, error)) (string, error) {
	var mu sync.Mutex
	var texts []string
	err := c.all(ctx, func(ctx context.Context, m master) error {
		about, err := c.about(ctx, m)
		if err != nil {
			return err
		}
		text, err := describe(m, about)
		mu.Lock()
		defer mu.Unlock()
		texts = append(texts, text)
		return err
	})
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), "; "), err
}
