package rdb

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// onEveryRedis runs a test on a real server, which all tests share, and on an embedded
// Redis of its own. Tests run in parallel, so that a test must use keys under its own name.
func onEveryRedis(t *testing.T, test func(t *testing.T, client redis.UniversalClient)) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server, err := localredis.Shared()
		if err != nil {
			t.Fatal(err)
		}
		test(t, connect(t, server.Addr()))
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, connect(t, miniredis.RunT(t).Addr()))
	})
}

func connect(t testing.TB, addr string) redis.UniversalClient {
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	return client
}
