package devices

import (
	"testing"

	"github.com/kabar-gateway/kabar/devices/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// onEveryRedis runs a test on every kind of Redis, in parallel with other tests.
func onEveryRedis(t *testing.T, test func(t *testing.T, s store)) {
	t.Helper()
	redistest.OnEvery(t, func(t *testing.T, s redistest.Store) { test(t, store{s}) })
}

// A store is one kind of Redis, with keys of the test's own.
type store struct{ redistest.Store }

// registry returns a registry on this Redis.
func (s store) registry(o Options) *Registry {
	o.Redis, o.Batcher, o.Partitions = s.Client, s.Batcher, s.Partitions
	return New(o)
}

// stream returns a key in a user's partition.
func (s store) stream(user int64) string { return s.Partitions.UserKey(user, "stream") }

func check(t testing.TB, err error) {
	t.Helper()
	redistest.Check(t, err)
}
