package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestPush makes a small run of everything, with a real Redis, sandbox, daemon and bare
// loops. The run succeeds only if every push arrives exactly once.
func TestPush(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	got := runWith(t.Context(), nil, "push", "--users=50", "--rounds=2", "--latency=1ms", "--kabar="+daemon(t),
		"--profile="+dir, "--output="+file)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r pushReport
	decode(t, string(text), &r)

	cases := []struct {
		provider provider
		batch    int
	}{{apns, 1}, {apns, 100}, {fcm, 1}, {fcm, 100}}
	if len(r.Pushes) != len(cases) || len(r.Redis) != 2+len(cases) {
		t.Fatalf("%d and %d rows in %s", len(r.Pushes), len(r.Redis), text)
	}
	for i, want := range cases {
		row := r.Pushes[i]
		if row.Provider != want.provider || row.Batch != want.batch {
			t.Errorf("row %d is %s, %d", i, row.Provider, row.Batch)
		}
		for name, f := range map[string]figure{
			"pushes a second": row.PushesPerSecond, "bare pushes a second": row.BarePushesPerSecond,
			"p50": row.LatencyP50, "p99": row.LatencyP99,
			"bytes": row.Bytes, "bare bytes": row.BareBytes, "AOF bytes": row.Logged,
		} {
			if len(f.Rounds) != 2 || f.Median <= 0 {
				t.Errorf("row %d: %s: %+v", i, name, f)
			}
		}
		if len(row.GatewayCPU.Rounds) != 2 || len(row.BareCPU.Rounds) != 2 || len(row.RedisCPU.Rounds) != 2 {
			t.Errorf("row %d lacks rounds: %+v", i, row)
		}
		if row.LatencyP50.Median < 1 || row.LatencyP50.Median > row.LatencyP99.Median {
			t.Errorf("row %d: p50 %v, p99 %v", i, row.LatencyP50, row.LatencyP99)
		}
		profile := filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", want.provider, want.batch))
		if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
			t.Errorf("profile: %v", err)
		}
	}
	for _, row := range r.Redis {
		if row.Logged.Median <= 0 || row.BareLogged.Median <= 0 {
			t.Errorf("%s: bytes %+v", row.name(), row)
		}
	}
	if r.Machine.Redis == "" || r.Machine.CPUs == 0 || r.Settings.Users != 50 {
		t.Errorf("machine %+v, settings %+v", r.Machine, r.Settings)
	}
	for _, line := range []string{"50 users with one device each, providers answer in 1 ms, medians of 2 rounds", "publish and push, FCM"} {
		if !strings.Contains(got.out, line) {
			t.Errorf("no %q in\n%s", line, got.out)
		}
	}
}

// Ctrl-C ends a run. The run has waited for every process if it returns and leaves no
// goroutine behind.
func TestPushInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	got := runWith(ctx, func(says string) {
		if strings.Contains(says, "round 1") {
			interrupt()
		}
	}, "push", "--users=50", "--rounds=100", "--kabar="+daemon(t), "--provider=apns")
	if got.code != 1 || !strings.Contains(got.err, "context canceled") {
		t.Errorf("code %d:\n%s", got.code, got.err)
	}
}

func TestPushTimeout(t *testing.T) {
	got := runWith(t.Context(), nil, "push", "--users=50", "--kabar="+daemon(t), "--timeout=1ms")
	if got.code != 1 {
		t.Errorf("code %d:\n%s", got.code, got.err)
	}
}

// When the gateway cannot start, its own error message is shown.
func TestGatewayThatFails(t *testing.T) {
	var said listener
	_, err := startGateway(t.Context(), gatewayOptions{binary: daemon(t), redisURL: "redis://127.0.0.1:1/0", inFlight: -1}, &said)
	if err == nil || !strings.Contains(said.text.String(), "push.in_flight.urgent") {
		t.Errorf("%v: %s", err, said.text.String())
	}
}

// A round with a real gateway fails when the sandbox does not count exactly the expected
// pushes.
func TestRoundNoticesWhatIsMissing(t *testing.T) {
	var said listener
	e := &env{ctx: t.Context(), err: &said}
	w, err := openWorld(t.Context(), e, worldOptions{binary: daemon(t), inFlight: 10})
	if err != nil {
		t.Fatalf("%v: %s", err, said.text.String())
	}
	defer w.close()
	if err := w.enrol(t.Context(), apns, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := w.round(t.Context(), apns, 1, everyone(3), 1, pace{publishers: 1}); err != nil {
		t.Errorf("all is well: %v", err)
	}
	if err := w.enrol(t.Context(), fcm, 2); err != nil { // two of the users now get a second push, on another phone
		t.Fatal(err)
	}
	if _, err := w.round(t.Context(), apns, 4, everyone(3), 1, pace{publishers: 1}); !errors.Is(err, errWrongPushes) {
		t.Errorf("two phones too many: %v", err)
	}
}

// Closing a world fails when the gateway leaves data in Redis that contradict each other.
func TestClosingAWorldAudits(t *testing.T) {
	var said listener
	w, err := openWorld(t.Context(), &env{ctx: t.Context(), err: &said}, worldOptions{binary: daemon(t)})
	if err != nil {
		t.Fatalf("%v: %s", err, said.text.String())
	}
	defer w.close()
	if err := w.enrol(t.Context(), apns, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.round(t.Context(), apns, 1, everyone(1), 1, pace{publishers: 1}); err != nil {
		t.Fatal(err)
	}
	unread := w.redis.clients[0].Keys(t.Context(), "*:u1:unread").Val()
	if len(unread) != 1 {
		t.Fatalf("%d unread sets", len(unread))
	}
	if err := w.redis.clients[0].ZAdd(t.Context(), unread[0], redis.Z{Score: 1, Member: "nothing"}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.close(); err == nil || !strings.Contains(err.Error(), "audit") || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("closed with %v", err)
	}
}
