package localredistest

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// OnEvery runs a test on the shared server and on a new embedded Redis, in parallel with
// other tests. The test must prefix its keys with its name.
func OnEvery(t *testing.T, test func(t *testing.T, client redis.UniversalClient)) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server, err := localredis.Shared()
		if err != nil {
			t.Fatal(err)
		}
		test(t, Client(t, server.Addr()))
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, Client(t, miniredis.RunT(t).Addr()))
	})
}

// Client returns a client that is closed when the test ends.
func Client(t testing.TB, addr string) redis.UniversalClient {
	client := redis.NewClient(Options(addr))
	t.Cleanup(func() { client.Close() })
	return client
}

// Options returns the options of a client that waits long for Redis. By default go-redis runs
// a command again when its answer takes 5 seconds, and a test may count on one that runs once.
func Options(addr string) *redis.Options {
	const long = time.Minute
	return &redis.Options{Addr: addr, ReadTimeout: long, WriteTimeout: long, PoolTimeout: long}
}
