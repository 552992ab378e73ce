package redischeck

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// If redis.url names another kind of Redis, the start fails and the error names the correct
// URL.
func TestKind(t *testing.T) {
	single := shared(t).Addr()
	node := start(t, "--cluster-enabled", "yes").Addr()
	sentinel := startSentinel(t, single)
	for name, tc := range map[string]struct {
		url   string
		wants []string
	}{
		"a node of a cluster":           {"redis://" + node, []string{node + " is a node of a Redis Cluster", "redis-cluster://"}},
		"a Sentinel":                    {"redis://" + sentinel, []string{"is a Sentinel", "redis-sentinel://" + sentinel + "/MASTER"}},
		"a single Redis as a cluster":   {"redis-cluster://" + single, []string{"no node of a cluster", "redis://"}},
		"a Sentinel as a cluster":       {"redis-cluster://" + sentinel, []string{"unknown command", "redis-sentinel://HOST:PORT/MASTER"}},
		"a single Redis as a Sentinel":  {"redis-sentinel://" + single + "/mymaster", []string{single + " is no Sentinel", "redis://"}},
		"a name that Sentinel does not": {"redis-sentinel://" + sentinel + "/yourmaster", []string{`no master "yourmaster"`, `["mymaster"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := checker(t, tc.url)
			err := c.Start(t.Context())
			if !errors.Is(err, ErrKind) || errors.Is(err, ErrNotYet) {
				t.Fatalf("error %v, want ErrKind", err)
			}
			for _, want := range tc.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
	t.Run("the right name", func(t *testing.T) {
		t.Parallel()
		c, _ := checker(t, "redis-sentinel://"+sentinel+"/mymaster", func(c *config.Redis) { c.AllowVolatile = true })
		check(t, c.Start(t.Context()))
	})
}

// startSentinel starts a Sentinel that watches a master under the name mymaster, and
// returns the Sentinel's address.
func startSentinel(t *testing.T, masterAddr string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(masterAddr)
	check(t, err)
	own := localredistest.Port(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	check(t, os.WriteFile(file, []byte("port "+own+"\nbind 127.0.0.1\nsentinel monitor mymaster "+host+" "+port+" 1\n"), 0o600))
	path, err := exec.LookPath("redis-server")
	check(t, err)
	cmd := exec.Command(path, file, "--sentinel")
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	addr := net.JoinHostPort("127.0.0.1", own)
	s := redis.NewSentinelClient(&redis.Options{Addr: addr})
	defer s.Close()
	await(t, "Sentinel", func() bool { return s.Ping(t.Context()).Err() == nil })
	return addr
}

// await waits for a condition.
func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick, late := time.NewTicker(20*time.Millisecond), time.After(2*time.Minute)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not so after 2 minutes", what)
		}
	}
}

// A Redis that is too old is refused. The error names its version and the commands that it
// lacks.
func TestVersion(t *testing.T) {
	t.Parallel()
	addr := aged(t, shared(t).Addr(), "6.0.16")
	c, _ := checker(t, "redis://"+addr)
	err := c.Start(t.Context())
	if !errors.Is(err, ErrVersion) {
		t.Fatalf("error %v, want ErrVersion", err)
	}
	for _, want := range []string{addr + " runs version 6.0.16", "7.0 or newer", "GETDEL (6.2)", "SPUBLISH (7.0)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if text := newerThan("6.2.14"); strings.Contains(text, "GETDEL") || !strings.Contains(text, "SSUBSCRIBE (7.0)") {
		t.Errorf("newer than 6.2.14: %s", text)
	}
}

// aged starts a proxy to a Redis that replaces the version in its replies by one of equal
// length.
func aged(t *testing.T, to, version string) string {
	t.Helper()
	client := connect(t, to)
	info, err := client.Info(t.Context(), "server").Result()
	check(t, err)
	_, rest, _ := strings.Cut(info, "redis_version:")
	real, _, _ := strings.Cut(rest, "\r\n")
	version += strings.Repeat(" ", max(0, len(real)-len(version)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				return
			}
			wg.Go(func() { io.Copy(out, in); out.Close() })
			wg.Go(func() {
				defer in.Close()
				for buf := make([]byte, 64<<10); ; {
					n, err := out.Read(buf)
					if err != nil {
						return
					}
					in.Write(bytes.ReplaceAll(buf[:n], []byte("redis_version:"+real), []byte("redis_version:"+version)))
				}
			})
		}
	})
	return l.Addr().String()
}

// Start fails when Redis cannot be reached or may lose data. It succeeds on a Redis that is
// loading or full, unless it is the first start.
func TestStart(t *testing.T) {
	t.Parallel()
	server := start(t, "--maxmemory-policy", "noeviction")
	c, _ := checker(t, server.URL())
	check(t, c.Start(t.Context()))
	admin := connect(t, server.Addr())

	t.Run("full", func(t *testing.T) {
		check(t, admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
		defer admin.ConfigSet(t.Context(), "maxmemory", "0")
		check(t, c.Start(t.Context()))
		other, _ := checker(t, server.URL(), func(c *config.Redis) { c.Prefix = "new" })
		if err := other.Start(t.Context()); !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "OOM") {
			t.Errorf("the first start on a full Redis: %v, want ErrNotYet", err)
		}
	})
	t.Run("a replica", func(t *testing.T) {
		replica := start(t, "--maxmemory-policy", "noeviction", "--replicaof", strings.Replace(server.Addr(), ":", " ", 1))
		r := connect(t, replica.Addr())
		await(t, "replication", func() bool {
			info, err := r.Info(t.Context(), "replication").Result()
			return err == nil && strings.Contains(info, "master_link_status:up")
		})
		of, _ := checker(t, replica.URL(), func(cfg *config.Redis) { cfg.Prefix = c.Config.Prefix })
		check(t, of.Start(t.Context()))
	})
	t.Run("volatile", func(t *testing.T) {
		check(t, admin.ConfigSet(t.Context(), "appendonly", "no").Err())
		defer admin.ConfigSet(t.Context(), "appendonly", "yes")
		if err := c.Start(t.Context()); !errors.Is(err, ErrVolatile) || !strings.Contains(err.Error(), "redis.allow_volatile") {
			t.Errorf("error %v, want ErrVolatile", err)
		}
	})
	t.Run("a wrong password", func(t *testing.T) {
		other, _ := checker(t, "redis://kabar:wrong@"+server.Addr())
		if err := other.Start(t.Context()); err == nil || errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("error %v, want WRONGPASS", err)
		}
	})
	t.Run("away", func(t *testing.T) {
		check(t, server.Kill())
		if err := c.Start(t.Context()); err == nil || errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "reach Redis at redis://") {
			t.Errorf("error %v, want that Redis cannot be reached", err)
		}
	})
}

// A start on a cluster succeeds while one shard is away. When the shard is back, it is
// checked and its faults are logged.
func TestStartWithoutAShard(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.Addr())
	}
	open := func() (*Checker, *strings.Builder) { return checker(t, "redis-cluster://"+strings.Join(urls, ",")) }
	first, _ := open()
	check(t, first.Start(t.Context()))

	for i, away := range nodes {
		back := goAway(t, i, nodes)
		c, log := open()
		check(t, c.Start(t.Context()))
		if !strings.Contains(log.String(), away.Addr()) {
			t.Errorf("it is not said that %s is away: %s", away.Addr(), log)
		}
		m := NewMonitor(c)
		m.Look(t.Context())
		able := 0
		for _, s := range m.Shards() {
			if s.Err == nil {
				able++
			} else if reason, _ := s.Reason(); s.Name != away.Addr() || reason != Away {
				t.Errorf("%s: %s, %v", s.Name, reason, s.Err)
			}
		}
		if able != len(nodes)-1 {
			t.Errorf("%d shards store: %+v", able, m.Shards())
		}
		wrong, _ := checker(t, "redis-cluster://"+strings.Join(urls, ","), func(c *config.Redis) { c.Partitions = 8; c.Prefix = first.Config.Prefix })
		if err := wrong.Start(t.Context()); !errors.Is(err, rdb.ErrPartitions) {
			t.Errorf("with another number of partitions: %v", err)
		}
		back()
		await(t, "the shard is back", func() bool {
			m.Look(t.Context())
			return !slices.ContainsFunc(m.Shards(), func(s Shard) bool { return s.Err != nil })
		})
		if said, volatile := strings.Contains(log.String(), "no append-only file"), i == len(nodes)-1; said != volatile {
			t.Errorf("what is wrong with the shard that is back is said: %t\n%s", said, log)
		}
	}
}

// goAway takes node i away: by index, it is killed, stopped, or killed and restarted as a
// Redis that may lose data.
func goAway(t *testing.T, i int, nodes []node) (back func()) {
	t.Helper()
	n := nodes[i]
	if i == 1 {
		check(t, syscall.Kill(n.PID(), syscall.SIGSTOP))
		t.Cleanup(func() { syscall.Kill(n.PID(), syscall.SIGCONT) })
		return func() { check(t, syscall.Kill(n.PID(), syscall.SIGCONT)) }
	}
	check(t, n.Kill())
	appendOnly := "yes"
	if i == len(nodes)-1 {
		appendOnly = "no"
	}
	return func() { nodes[i] = startNode(t, localredis.Options{Dir: n.Dir(), Port: n.Port()}, n.bus, appendOnly) }
}
