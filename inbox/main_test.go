package inbox

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

var (
	prefixes sync.Map // by test
	runs     atomic.Int64
)

// prefixOf returns the common prefix of the keys of all stores of a test. It is different
// each time that -count repeats the test.
func prefixOf(t testing.TB) string {
	name := strings.NewReplacer("/", ".", "{", "", "}", "").Replace(t.Name())
	prefix, known := prefixes.LoadOrStore(t, fmt.Sprint(name, ".", runs.Add(1)))
	if !known {
		t.Cleanup(func() { prefixes.Delete(t) })
	}
	return prefix.(string)
}

// newStore returns a store with keys of its own. Every user has a device list,
// so that pushes are enqueued.
func newStore(t testing.TB, redisClient redis.UniversalClient, change ...func(*Options)) *Store {
	t.Helper()
	prefix := prefixOf(t)
	parts := rdb.NewPartitions(prefix, 4)
	b := rdb.NewBatcher(redisClient, 0)
	t.Cleanup(b.Close)
	opts := Options{
		Redis: redisClient, Batcher: b, Partitions: parts,
		Devices: func(user int64) string {
			return parts.Key(parts.OfUser(user), fmt.Sprintf("devices:%d", user))
		},
		Dedupe: 7 * 24 * time.Hour, Keep: 90 * 24 * time.Hour, MaxNotifications: 1000, RetryFor: 24 * time.Hour,
	}
	for _, f := range change {
		f(&opts)
	}
	s := New(opts)
	if _, ok := t.(*testing.T); ok { // not in benchmarks, where it would be measured
		t.Cleanup(func() { audit(t, s) })
	}
	return s
}

// audit fails the test if an audit of the test's users finds anything.
func audit(t testing.TB, s *Store) {
	t.Helper()
	ctx := context.Background()
	for p := range s.parts.Len() {
		users, err := s.Users.After(ctx, p, 0, 1000)
		if err != nil {
			t.Errorf("audit: %v", err)
		}
		for _, user := range users {
			found, err := s.Auditor.Audit(ctx, user, nil, false)
			if err != nil || len(found) > 0 {
				t.Errorf("audit: %+v, %v", found, err)
			}
		}
	}
}
