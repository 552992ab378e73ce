package devices

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(localredis.StopShared(), stopCluster()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// stopCluster ends the cluster, if a test has started it.
var stopCluster = func() error { return nil }

// cluster is started by the first test that wants it. One node still refuses scripts
// whose keys are in two slots.
var cluster = sync.OnceValues(func() (addr string, err error) {
	node, err := localredis.Start(context.Background(), localredis.Options{Args: []string{"--cluster-enabled", "yes", "--appendonly", "no"}})
	if err != nil {
		return "", err
	}
	stopCluster = node.Close
	c := redis.NewClient(&redis.Options{Addr: node.Addr()})
	defer c.Close()
	if err := c.ClusterAddSlotsRange(context.Background(), 0, 16383).Err(); err != nil {
		return "", err
	}
	return node.Addr(), poll(func() bool { return c.Get(context.Background(), "ready").Err() == redis.Nil })
})

// single is a server that the tests share.
func single() (addr string, err error) {
	server, err := localredis.Shared()
	if err != nil {
		return "", err
	}
	return server.Addr(), nil
}

// poll waits for a condition.
func poll(done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return errors.New("not so after a minute")
		}
	}
	return nil
}

var stores atomic.Int64

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
			test(t, store{client, fmt.Sprint(t.Name(), ".", stores.Add(1)), mini}) // -count repeats the name
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
