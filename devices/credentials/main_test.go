package credentials

import (
	"errors"
	"testing"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/devices/internal/redistest"
)

const (
	ani  int64 = 66
	budi int64 = 67
)

func TestMain(m *testing.M) { redistest.Main(m) }

// onEveryRedis runs a test on every kind of Redis, in parallel with other tests.
func onEveryRedis(t *testing.T, test func(t *testing.T, r server)) {
	t.Helper()
	redistest.OnEvery(t, func(t *testing.T, s redistest.Store) { test(t, server{s}) })
}

// A server is one kind of Redis, with keys of the test's own.
type server struct{ redistest.Store }

// store returns a store of credentials on this Redis.
func (r server) store(o Options) *Store {
	o.Batcher, o.Partitions = r.Batcher, r.Partitions
	return New(o)
}

func check(t testing.TB, err error) {
	t.Helper()
	redistest.Check(t, err)
}

// wantInvalid checks that err is an InvalidError of the given field.
func wantInvalid(t *testing.T, err error, field string) {
	t.Helper()
	var invalid *account.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != field {
		t.Errorf("got %v, want %s to be invalid", err, field)
	}
}
