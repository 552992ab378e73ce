package ratelimit

import (
	"errors"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices/internal/redistest"
)

const (
	ani  int64 = 66
	budi int64 = 67
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestLimiter(t *testing.T) {
	redistest.OnEvery(t, func(t *testing.T, s redistest.Store) {
		allow := func(l Limits, a string, user int64, address string) string {
			t.Helper()
			// A new limiter each time: another process counts on.
			err := New(s.Batcher, s.Partitions, a, l).Allow(t.Context(), user, address)
			var limit *LimitError
			if err == nil {
				return ""
			}
			if !errors.As(err, &limit) || limit.RetryAfter <= 0 || limit.RetryAfter > time.Hour {
				t.Fatalf("%v", err)
			}
			return limit.By
		}
		expect := func(want, got string) {
			t.Helper()
			if got != want {
				t.Errorf("refused by %q, want %q", got, want)
			}
		}
		// So few in an hour that none comes back while the test runs.
		few := Limits{PerUser: 6, PerAddress: 8}
		for range 3 {
			expect("", allow(few, "registrations", ani, "192.0.2.1"))
		}
		for range 10 {
			expect("user", allow(few, "registrations", ani, "192.0.2.1"))
			expect("user", allow(few, "registrations", ani, "192.0.2.2"))
		}
		expect("", allow(few, "removals", ani, "192.0.2.1")) // has its own count
		expect("", allow(few, "registrations", budi, "192.0.2.1"))
		expect("address", allow(few, "registrations", budi, "192.0.2.1"))
		expect("", allow(few, "registrations", budi, "192.0.2.2"))
		for user := range int64(4) {
			expect("", allow(few, "registrations", 100+user, "2001:db8::1"))
		}
		expect("address", allow(few, "registrations", 104, "2001:db8::2"))
		expect("", allow(few, "registrations", 105, "2001:db8:0:1::2"))
		for user, address := range map[int64]string{200: "2001:db8:0:1::3", 201: "::ffff:192.0.2.2"} {
			expect("", allow(few, "registrations", user, address))
		}
		expect("", allow(few, "registrations", 202, "192.0.2.2"))
		expect("", allow(few, "registrations", 203, "192.0.2.2"))
		expect("address", allow(few, "registrations", 204, "::ffff:192.0.2.2"))
		for i, address := range []string{"127.0.0.1", "10.1.2.3", "192.168.0.1", "100.64.0.1", "::1", "fd00::1", "fe80::1%eth0", "", "@"} {
			for user := range int64(10) { // of a proxy
				expect("", allow(few, "registrations", 300+10*int64(i)+user, address))
			}
		}
		for range 100 {
			expect("", allow(Limits{}, "registrations", ani, "192.0.2.1"))
		}

		// All keys expire within the hour, whoever has hammered.
		l := New(s.Batcher, s.Partitions, "registrations", few)
		for _, key := range []string{
			l.userKey(ani), l.networkKey("192.0.2.1"),
		} {
			if ttl := s.Client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour {
				t.Errorf("%s stays for %v", key, ttl)
			}
		}
	})
}

// A limit gives one back after the other, and a clock that stepped back keeps nobody out.
func TestLimitComesBack(t *testing.T) {
	redistest.OnEvery(t, func(t *testing.T, s redistest.Store) {
		l := New(s.Batcher, s.Partitions, "registrations", Limits{PerUser: 4})
		key := l.userKey(ani)
		for _, tc := range []struct {
			left    time.Duration // until the burst of 2 is permitted; one comes back in 30 minutes
			refused bool
		}{{10 * time.Minute, false}, {29 * time.Minute, false}, {35 * time.Minute, true}, {48 * time.Hour, true}} {
			redistest.Check(t, s.Client.Set(t.Context(), key, "", tc.left).Err())
			err := l.Allow(t.Context(), ani, "192.0.2.1")
			var limit *LimitError
			if errors.As(err, &limit) != tc.refused || (err != nil && !tc.refused) {
				t.Errorf("%v left: %v", tc.left, err)
			}
			if tc.refused && limit.RetryAfter > 30*time.Minute {
				t.Errorf("%v left: wait %v", tc.left, limit.RetryAfter)
			}
		}
	})
}
