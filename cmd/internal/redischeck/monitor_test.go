package redischeck

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/kabar-gateway/kabar/config"
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
