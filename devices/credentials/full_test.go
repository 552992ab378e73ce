package credentials

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices/internal/redistest"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// While Redis is full, right credentials are let in, known or not.
func TestSignInWhileRedisIsFull(t *testing.T) {
	t.Parallel()
	full, err := localredis.Start(t.Context(), localredis.Options{Args: []string{"--appendonly", "no"}})
	check(t, err)
	t.Cleanup(func() { full.Close() })
	client := redis.NewClient(localredistest.Options(full.Addr()))
	batcher := rdb.NewBatcher(client, 0)
	t.Cleanup(func() { batcher.Close(); client.Close() })
	r := server{redistest.Store{Client: client, Batcher: batcher, Partitions: rdb.NewPartitions("kabar", 4)}}
	s := r.store(Options{})
	check(t, s.SetToken(t.Context(), ani, "t"))
	if _, err := s.Authenticate(t.Context(), ani, "t", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	known := s.keys.known(ani)
	for _, member := range client.ZRange(t.Context(), known, 0, -1).Val() { // to be renewed
		check(t, client.ZAdd(t.Context(), known, redis.Z{Score: float64(time.Now().Add(-2 * knownRenewal).UnixMilli()), Member: member}).Err())
	}
	check(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	for _, address := range []string{"192.0.2.1", "192.0.2.2"} {
		if _, err := s.Authenticate(t.Context(), ani, "t", address); err != nil {
			t.Errorf("from %s: %v", address, err)
		}
	}
}
