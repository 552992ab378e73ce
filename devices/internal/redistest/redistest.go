// Package redistest runs the tests of the device registry and of the store of
// credentials on every kind of Redis.
package redistest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Main runs a package's tests, stops the servers that they share, and fails when a
// goroutine is left.
func Main(m *testing.M) {
	localredistest.Main(m, func() error { return stopCluster() })
}

// stopCluster stops the cluster, if a test has started it.
var stopCluster = func() error { return nil }

// cluster is started by the first test that wants it. One node still refuses scripts
// whose keys are in two slots.
var cluster = sync.OnceValues(func() (addr string, err error) {
	node, err := localredis.Start(context.Background(), localredis.Options{Args: []string{"--cluster-enabled", "yes", "--appendonly", "no"}})
	if err != nil {
		return "", err
	}
	stopCluster = node.Close
	c := redis.NewClient(localredistest.Options(node.Addr()))
	defer c.Close()
	if err := c.ClusterAddSlotsRange(context.Background(), 0, 16383).Err(); err != nil {
		return "", err
	}
	return node.Addr(), Poll(func() bool { return errors.Is(c.Get(context.Background(), "ready").Err(), redis.Nil) })
})

// A Store is one kind of Redis, as one test sees it: its keys begin with a prefix of
// their own, so that tests run in parallel.
type Store struct {
	Client     redis.UniversalClient
	Batcher    *rdb.Batcher
	Partitions *rdb.Partitions
	Prefix     string
	Mini       *miniredis.Miniredis // nil on a real server
}

// stores counts the stores, because -count repeats the names of tests.
var stores atomic.Int64

func open(t testing.TB, client redis.UniversalClient, mini *miniredis.Miniredis) Store {
	prefix := t.Name() + "." + strconv.FormatInt(stores.Add(1), 10)
	s := Store{client, rdb.NewBatcher(client, 0), rdb.NewPartitions(prefix, 16), prefix, mini}
	t.Cleanup(func() { s.Batcher.Close(); client.Close() })
	return s
}

// Single returns a store on the server that the tests share.
func Single(t testing.TB) Store {
	t.Helper()
	server, err := localredis.Shared()
	Check(t, err)
	return open(t, redis.NewClient(localredistest.Options(server.Addr())), nil)
}

// OnEvery runs a test on a real server, a cluster and the embedded Redis, in parallel
// with them and with other tests.
func OnEvery(t *testing.T, test func(t *testing.T, s Store)) {
	t.Helper()
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, Single(t))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		addr, err := cluster()
		Check(t, err)
		test(t, open(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}}), nil))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		mini := miniredis.RunT(t)
		test(t, open(t, redis.NewClient(localredistest.Options(mini.Addr())), mini))
	})
}

// Tombstone erases a user, or takes that back.
func (s Store) Tombstone(t *testing.T, user int64, erased bool) {
	t.Helper()
	key := s.Partitions.Tombstone(user)
	if erased {
		Check(t, s.Client.HSet(t.Context(), key, "erased", "first").Err())
		return
	}
	Check(t, s.Client.Del(t.Context(), key).Err())
}

// Poll waits for a condition.
func Poll(done func() bool) error {
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

// Check ends the test when there is an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// CountTrips returns a counter of the round trips after this call.
func (s Store) CountTrips(t *testing.T) *Counter {
	t.Helper()
	c := &Counter{}
	cluster, ok := s.Client.(*redis.ClusterClient)
	if !ok {
		s.Client.AddHook(c)
		return c
	}
	Check(t, cluster.ForEachMaster(t.Context(), func(_ context.Context, node *redis.Client) error {
		node.AddHook(c) // a batcher sends its pipelines to the nodes
		return nil
	}))
	return c
}

// A Counter is a hook that counts round trips, of one caller at a time.
type Counter struct{ N int }

// DialHook implements redis.Hook.
func (c *Counter) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (c *Counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.N++; return next(ctx, cmd) }
}

// ProcessPipelineHook implements redis.Hook.
func (c *Counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.N++; return next(ctx, cmds) }
}

// LoseReplies returns a batcher that carries out every pipeline
// twice, as one does that lost the first reply and tries again.
func (s Store) LoseReplies(t *testing.T) *rdb.Batcher {
	b := rdb.NewBatcher(repeatingClient{s.Client}, 0)
	t.Cleanup(b.Close)
	return b
}

type repeatingClient struct{ redis.UniversalClient }

// Pipeline implements redis.Cmdable.
func (c repeatingClient) Pipeline() redis.Pipeliner {
	return repeatingPipeline{c.UniversalClient.Pipeline(), c.UniversalClient}
}

type repeatingPipeline struct {
	redis.Pipeliner
	client redis.UniversalClient
}

// Exec implements redis.Pipeliner.
func (p repeatingPipeline) Exec(ctx context.Context) ([]redis.Cmder, error) {
	again := p.client.Pipeline()
	for _, cmd := range p.Cmds() {
		if err := again.Process(ctx, cmd); err != nil {
			return nil, err
		}
	}
	_, _ = p.Pipeliner.Exec(ctx) // this reply is lost
	return again.Exec(ctx)
}
