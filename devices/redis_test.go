package devices

import (
	"context"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range stops {
		stop()
	}
	os.Exit(code)
}

// stops ends the servers that the tests have started.
var stops []func()

// Each server is started by the first test that wants it, and shared.
var (
	single = sync.OnceValues(func() (string, error) { return startRedis() })
	// A cluster of one node still refuses scripts whose keys are in two slots.
	cluster = sync.OnceValues(func() (string, error) {
		addr, err := startRedis("--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(freePort()))
		if err != nil {
			return "", err
		}
		c := redis.NewClient(&redis.Options{Addr: addr})
		defer c.Close()
		if err := c.ClusterAddSlotsRange(context.Background(), 0, 16383).Err(); err != nil {
			return "", err
		}
		return addr, poll(func() bool { return c.Get(context.Background(), "ready").Err() == redis.Nil })
	})
)

// startRedis starts a redis-server in a directory of its own.
func startRedis(args ...string) (addr string, err error) {
	dir, err := os.MkdirTemp("", "kabar-devices")
	if err != nil {
		return "", err
	}
	stops = append(stops, func() { os.RemoveAll(dir) })
	port := strconv.Itoa(freePort())
	args = append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"}, args...)
	cmd := exec.Command("redis-server", args...)
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("%w (on Debian: apt-get install redis-server, on macOS: brew install redis)", err)
	}
	stops = append([]func(){func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }}, stops...)

	addr = net.JoinHostPort("127.0.0.1", port)
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	return addr, poll(func() bool { return c.Ping(context.Background()).Err() == nil })
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// poll waits for a condition.
func poll(done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(10 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("not so after 10 s")
		}
	}
	return nil
}

// A store is one kind of Redis, as one test sees it.
type store struct {
	client redis.UniversalClient
	prefix string
	mini   *miniredis.Miniredis // nil on a real server
}

// registry returns a registry with the test's own keys.
func (s store) registry(o Options) *Registry {
	o.Redis, o.Prefix, o.Tag, o.Listing, o.Tombstone = s.client, s.prefix, tag, listing, tombstone
	return New(o)
}

// tag spreads keys over 16 partitions.
func tag(key string) string {
	return fmt.Sprintf("{p%d}", crc32.ChecksumIEEE([]byte(key))%16)
}

// listing lists all users of a partition in one set.
func listing(user int64) (key, member string) {
	id := strconv.FormatInt(user, 10)
	return "test:" + tag(id) + ":users", id
}

// tombstone is a key in the user's partition.
func tombstone(user int64) string {
	id := strconv.FormatInt(user, 10)
	return "test:" + tag(id) + ":gone:" + id
}

// onEveryRedis runs a test on a real server, a cluster and the embedded Redis.
func onEveryRedis(t *testing.T, test func(t *testing.T, s store)) {
	t.Helper()
	run := func(name string, open func(t *testing.T) (redis.UniversalClient, *miniredis.Miniredis)) {
		t.Run(name, func(t *testing.T) {
			client, mini := open(t)
			t.Cleanup(func() { client.Close() })
			test(t, store{client, t.Name(), mini})
		})
	}
	run("redis", func(t *testing.T) (redis.UniversalClient, *miniredis.Miniredis) {
		addr, err := single()
		check(t, err)
		return redis.NewClient(&redis.Options{Addr: addr}), nil
	})
	run("cluster", func(t *testing.T) (redis.UniversalClient, *miniredis.Miniredis) {
		addr, err := cluster()
		check(t, err)
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}}), nil
	})
	run("miniredis", func(t *testing.T) (redis.UniversalClient, *miniredis.Miniredis) {
		mini := miniredis.RunT(t)
		return redis.NewClient(&redis.Options{Addr: mini.Addr()}), mini
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
