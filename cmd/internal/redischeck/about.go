package redischeck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/config"
)

// Errors about a Redis that Kabar cannot use.
var (
	// ErrVolatile reports a Redis that may lose data.
	ErrVolatile = errors.New("this Redis may lose what Kabar has accepted")
	// ErrKind reports a Redis of another kind than redis.url says.
	ErrKind = errors.New("redis.url names another kind of Redis")
	// ErrVersion reports a Redis that is too old.
	ErrVersion = errors.New("this Redis is too old")
)

// minMajor is the oldest major version of Redis that Kabar supports.
const minMajor = 7

// facts are the fields of INFO.
type facts map[string]string

// about reads INFO from a master. An embedded Redis returns few fields.
func (c *Checker) about(ctx context.Context, m master) (facts, error) {
	text, err := m.client.Info(ctx).Result()
	if redis.HasErrorPrefix(err, "NOPERM") {
		if err := c.rights(ctx, m); err != nil {
			return nil, err // the error names every missing right
		}
	}
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	about := make(facts)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			about[name] = value
		}
	}
	return about, nil
}

// number returns a field as a number, or 0.
func (f facts) number(name string) int {
	n, _ := strconv.Atoi(f[name])
	return n
}

// kind checks a master's mode and version.
func (c *Checker) kind(m master, about facts) error {
	switch about["redis_mode"] {
	case "cluster":
		if !c.cluster() {
			return fmt.Errorf("%w: %s is a node of a Redis Cluster; begin redis.url with redis-cluster://", ErrKind, m.name)
		}
	case "sentinel":
		return fmt.Errorf("%w: %s is a Sentinel; write redis-sentinel://%s/MASTER", ErrKind, m.name, m.name)
	}
	version := about["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < minMajor {
		return fmt.Errorf("%w: %s runs version %s, Kabar needs 7.0 or newer: scripts that Redis checks for rights and memory before they write (7.0)%s",
			ErrVersion, m.name, version, newerThan(version))
	}
	return nil
}

// newerThan lists the commands of Kabar that a version of Redis lacks.
func newerThan(version string) string {
	var b strings.Builder
	for _, text := range append(append([]string(nil), commands...), clusterCommands...) {
		name := parseCommand(text).name
		if since := newCommands[name]; since > version {
			fmt.Fprintf(&b, ", %s (%s)", strings.ToUpper(name), since)
		}
	}
	return b.String()
}

// explain adds the remedy to an error that shows that redis.url is wrong.
func (c *Checker) explain(ctx context.Context, err error) error {
	switch {
	case c.cluster() && strings.Contains(err.Error(), "cluster support disabled"):
		return fmt.Errorf("%w: %w; it is no node of a cluster: begin redis.url with redis://", ErrKind, err)
	case c.cluster() && strings.Contains(err.Error(), "unknown command"):
		return fmt.Errorf("%w: %w; write redis-sentinel://HOST:PORT/MASTER if it is a Sentinel", ErrKind, err)
	case redis.HasErrorPrefix(err, "NOPERM"), strings.Contains(err.Error(), "NOPERM"):
		return c.refused(master{name: c.name()}, err)
	case c.address.Kind == config.RedisSentinel:
		return c.explainSentinel(ctx, err)
	}
	return err
}

// explainSentinel lists the masters that the Sentinels know, when they know none by the
// configured name.
func (c *Checker) explainSentinel(ctx context.Context, err error) error {
	for _, host := range c.address.Hosts {
		s := redis.NewSentinelClient(&redis.Options{
			Addr: host, Username: c.address.SentinelUsername, Password: c.address.SentinelPassword.Reveal(),
			TLSConfig: c.address.TLSConfig(), DialTimeout: nodeTimeout, MaxRetries: -1, ContextTimeoutEnabled: true,
		})
		known, asked := s.Masters(ctx).Result()
		_ = s.Close() // it was only asked
		if redis.HasErrorPrefix(asked, "unknown command") {
			return fmt.Errorf("%w: %s is no Sentinel; begin redis.url with redis:// or redis-cluster://", ErrKind, host)
		}
		if asked != nil {
			continue // ask the next Sentinel
		}
		names := masterNames(known)
		for _, name := range names {
			if name == c.address.Master {
				return err
			}
		}
		return fmt.Errorf("%w: Sentinel at %s knows no master %q; it knows %q", ErrKind, host, c.address.Master, names)
	}
	return err
}

// masterNames returns the names in the reply to SENTINEL MASTERS.
func masterNames(reply []any) []string {
	var names []string
	for _, item := range reply {
		switch fields := item.(type) {
		case map[any]any: // RESP3
			names = append(names, fmt.Sprint(fields["name"]))
		case []any:
			for i := 0; i+1 < len(fields); i += 2 {
				if fields[i] == "name" {
					names = append(names, fmt.Sprint(fields[i+1]))
				}
			}
		}
	}
	return names
}

// durable returns ErrVolatile unless a master writes an append-only file and never evicts
// keys (guarantee G1).
func durable(m master, about facts) error {
	if about["aof_enabled"] != "1" {
		return fmt.Errorf("%w: %s has no append-only file; set \"appendonly yes\"", ErrVolatile, m.name)
	}
	if policy := about["maxmemory_policy"]; policy != "noeviction" {
		return fmt.Errorf("%w: %s evicts keys when memory is short (%s); set \"maxmemory-policy noeviction\"", ErrVolatile, m.name, policy)
	}
	return nil
}
