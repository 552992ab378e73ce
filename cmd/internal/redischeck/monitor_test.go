package redischeck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// The Monitor sees a shard that answers but refuses writes, reports Redis' error code, and
// logs one line for each change.
func TestMonitor(t *testing.T) {
	t.Parallel()
	server := start(t)
	admin := connect(t, server.Addr())
	set := func(name, value string) func() {
		return func() { t.Helper(); check(t, admin.ConfigSet(t.Context(), name, value).Err()) }
	}
	for _, tc := range []struct {
		reason     string
		begin, end func()
	}{
		{"OOM", set("maxmemory", "1"), set("maxmemory", "0")},
		{"READONLY", func() { check(t, admin.ReplicaOf(t.Context(), "127.0.0.1", "1").Err()) }, func() { check(t, admin.ReplicaOf(t.Context(), "no", "one").Err()) }},
		{"NOREPLICAS", set("min-replicas-to-write", "1"), set("min-replicas-to-write", "0")},
	} {
		c, log := checker(t, server.URL())
		m := NewMonitor(c)
		m.Look(t.Context())
		tc.begin()
		m.Look(t.Context())
		m.Look(t.Context())
		s := m.Shards()[0]
		if reason, meaning := s.Reason(); s.Name != server.Addr() || reason != tc.reason || meaning == "" {
			t.Errorf("%s: %s, %s, %v", tc.reason, reason, meaning, s.Err)
		}
		expect(t, m, "kabar_redis_writable", `kabar_redis_writable{shard="`+server.Addr()+`"} 0`)
		tc.end()
		m.Look(t.Context())
		m.Look(t.Context())
		if s := m.Shards()[0]; s.Err != nil {
			t.Errorf("after %s: %v", tc.reason, s.Err)
		}
		expect(t, m, "kabar_redis_writable", `kabar_redis_writable{shard="`+server.Addr()+`"} 1`)
		for _, line := range []string{"reason=" + tc.reason, "stores again"} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("%q is logged %d times:\n%s", line, n, log)
			}
		}
	}

	c, _ := checker(t, server.URL(), func(c *config.Redis) { c.WaitReplicas = 1 })
	m := NewMonitor(c)
	m.Look(t.Context())
	if reason, _ := m.Shards()[0].Reason(); reason != "WAIT" {
		t.Errorf("without the replicas of redis.wait_replicas: %q, %v", reason, m.Shards()[0].Err)
	}
	check(t, server.Kill())
	m.Look(t.Context())
	if reason, _ := m.Shards()[0].Reason(); reason != Away {
		t.Errorf("without Redis: %q", reason)
	}
}

func expect(t *testing.T, m *Monitor, name, line string) {
	t.Helper()
	got, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, name)
	check(t, err)
	if !strings.Contains(string(got), line) {
		t.Errorf("metrics %s\nwant %s", got, line)
	}
}

// A gateway logs once when its clock differs from Redis' by more than a second, and once
// when the difference is small again.
func TestClocks(t *testing.T) {
	t.Parallel()
	c, log := checker(t, shared(t).URL())
	m := NewMonitor(c)
	check(t, prometheus.NewRegistry().Register(m))
	var shift time.Duration
	c.now = func() time.Time { return time.Now().Add(shift) }
	for _, tc := range []struct {
		shift        time.Duration
		differ, same int // lines so far
	}{{0, 0, 0}, {-5 * time.Minute, 1, 0}, {-6 * time.Minute, 1, 0}, {500 * time.Millisecond, 1, 1}, {time.Hour, 2, 1}} {
		shift = tc.shift
		m.clocks = time.Time{} // as if 10 seconds had passed
		m.Look(t.Context())
		offset := m.Shards()[0].Offset
		if off := offset + tc.shift; off.Abs() > 30*time.Second { // far longer than a reply of Redis takes
			t.Errorf("clock shifted by %v: offset %v", tc.shift, offset)
		}
		if off := time.Since(c.Now()); off.Abs() > 30*time.Second { // Redis runs on this machine
			t.Errorf("clock shifted by %v: the corrected clock is %v behind", tc.shift, off)
		}
		if differ, same := strings.Count(log.String(), "differ by more"), strings.Count(log.String(), "agree again"); differ != tc.differ || same != tc.same {
			t.Errorf("clock shifted by %v: %d and %d lines, want %d and %d:\n%s", tc.shift, differ, same, tc.differ, tc.same, log)
		}
	}
	got, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "kabar_clock_offset_seconds")
	check(t, err)
	if !strings.Contains(string(got), `kabar_clock_offset_seconds{shard="`) || !strings.Contains(string(got), "} -3") {
		t.Errorf("metrics %s", got)
	}
	before := m.clocks
	m.Look(t.Context())
	if m.clocks != before {
		t.Error("the clocks are compared each time")
	}
}

// While a shard does not serve, the Monitor speaks for all: once at the start, once a minute
// and once at the end. What others say about Redis meanwhile is dropped, all else is kept.
func TestQuiet(t *testing.T) {
	t.Parallel()
	server := start(t)
	var b strings.Builder
	quiet := NewQuiet(slog.NewTextHandler(&b, nil), func(err error) bool { return errors.Is(err, errBucket) })
	log := slog.New(quiet)
	c, _ := checker(t, server.URL())
	c.Log = log
	now := time.Now()
	c.now = func() time.Time { return now }
	m := NewMonitor(c)
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	log.Warn("before the first look", "error", refused)
	m.Look(t.Context())

	log.Warn("a lost connection", "error", refused)
	log.With("lane", "chat").Error("a timeout", "error", context.DeadlineExceeded)
	if strings.Contains(b.String(), "lost") {
		t.Error("a record did not wait")
	}
	m.Look(t.Context()) // Redis serves: it was something else
	check(t, server.Kill())
	for range 3 {
		log.Warn("noise", "error", fmt.Errorf("read outbox: %w", refused))
		log.Warn("of Redis' words", "error", redis.ErrPoolTimeout)
		log.Info("noise is no failure")
		log.Warn("no bucket", "error", errors.Join(errBucket, refused))
		log.Error("a bug", "error", errors.New("division by zero"))
		m.Look(t.Context())
	}
	now = now.Add(remindEvery)
	m.Look(t.Context())
	_, port, _ := strings.Cut(server.Addr(), ":")
	number, err := strconv.Atoi(port)
	check(t, err)
	again, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir(), Port: number})
	check(t, err)
	t.Cleanup(func() { again.Close() })
	m.Look(t.Context())
	log.Warn("at the end", "error", refused)
	check(t, quiet.Close())
	log.Warn("after the end", "error", refused)

	for line, want := range map[string]int{
		`msg="before the first look"`: 1, `msg="a lost connection"`: 1, `msg="a timeout" lane=chat`: 1,
		"msg=noise": 0, "of Redis' words": 0, "noise is no failure": 3, "no bucket": 3, "a bug": 3,
		`msg="nothing can be stored on a shard of Redis`: 1, `msg="still nothing can be stored`: 1, "records_dropped=6": 1,
		"stores again": 1, "after=1m0s records_dropped=0": 1, "at the end": 1, "after the end": 1,
	} {
		if n := strings.Count(b.String(), line); n != want {
			t.Errorf("%s: %d times, want %d\n%s", line, n, want, b.String())
		}
	}
}

var errBucket = errors.New("bucket")
