package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLive makes a small run of everything, with a real Redis, daemon and bare server. The
// run succeeds only if every event reaches its socket exactly once.
func TestLive(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	got := runWith(t.Context(), nil, "live", "--idle=60", "--sockets=50", "--missed=3", "--rounds=2", "--rate=2000",
		"--settle=10ms", "--kabar="+daemon(t), "--profile="+dir, "--output="+file)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r liveReport
	decode(t, string(text), &r)
	if r.Idle == nil || r.Storm == nil || len(r.Events) != 4 {
		t.Fatalf("something is missing in %s", text)
	}
	if r.Storm.Seconds.Median <= 0 || r.Storm.BareSeconds.Median <= 0 {
		t.Errorf("storm: %+v", r.Storm)
	}
	for name, f := range map[string]figure{
		"idle": r.Idle.Gateway, "idle, bare": r.Idle.BareStays, "idle, bare, returned": r.Idle.BareReturns,
		"storm": r.Storm.Seconds, "storm, bare": r.Storm.BareSeconds,
	} {
		if len(f.Rounds) != 2 { // so few sockets may seem to take no memory, or to free some
			t.Errorf("%s: %+v", name, f)
		}
	}
	for i, e := range r.Events {
		if want := []float64{0, 0, 2000, 2000}[i]; e.Rate != want || e.Batch != liveBatches[i%2] {
			t.Errorf("row %d is of %g a second, %d a request", i, e.Rate, e.Batch)
		}
		for name, f := range map[string]figure{
			"events a second": e.PerSecond, "bare": e.BarePerSecond,
			"p50": e.P50, "p99": e.P99, "bare p50": e.BareP50, "bare p99": e.BareP99,
		} {
			if len(f.Rounds) != 2 || f.Median <= 0 {
				t.Errorf("row %d: %s: %+v", i, name, f)
			}
		}
		if len(e.GatewayCPU.Rounds) != 2 || len(e.BareCPU.Rounds) != 2 || len(e.RedisCPU.Rounds) != 2 {
			t.Errorf("row %d lacks rounds: %+v", i, e)
		}
		if e.P50.Median > e.P99.Median || e.BareP50.Median > e.BareP99.Median {
			t.Errorf("row %d: the median is above the 99th percentile: %+v", i, e)
		}
	}
	for _, name := range []string{"live-idle-heap", "live-0-1", "live-0-20", "live-2000-1", "live-2000-20", "live-storm"} {
		if info, err := os.Stat(filepath.Join(dir, name+".pprof")); err != nil || info.Size() == 0 {
			t.Errorf("profile: %v", err)
		}
	}
	for _, line := range []string{"60 idle sockets", "saturated, 20", "2000 a second, 1", "50 sockets, 3 events each"} {
		if !strings.Contains(got.out, line) {
			t.Errorf("no %q in\n%s", line, got.out)
		}
	}
}

// Only the requested measurements are made and reported.
func TestLiveMeasure(t *testing.T) {
	got := runWith(t.Context(), nil, "live", "--measure=storm", "--sockets=3", "--missed=1", "--rounds=1", "--kabar="+daemon(t), "--json")
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	var r liveReport
	decode(t, got.out, &r)
	if r.Idle != nil || r.Events != nil || r.Storm == nil || len(r.Storm.Seconds.Rounds) != 1 {
		t.Errorf("reported %s", got.out)
	}
}

// When the gateway closes a socket, the run ends with an error that gives the reason.
func TestLiveNoticesALostSocket(t *testing.T) {
	var said listener
	e := &env{ctx: t.Context(), err: &said}
	w, err := openWorld(t.Context(), e, worldOptions{binary: daemon(t), inFlight: 1})
	if err != nil {
		t.Fatalf("%v: %s", err, said.text.String())
	}
	defer w.close()
	if err := eachUser(t.Context(), 2, w.gateway.setUser); err != nil {
		t.Fatal(err)
	}
	s := &side{client: w.gateway.client, crowd: newCrowd(w.gateway.client, 2, true), cpu: []counter{cpuOf(w.gateway.pid())}, numbers: true}
	defer s.crowd.drop()
	if err := s.crowd.connect(t.Context(), afresh); err != nil {
		t.Fatal(err)
	}
	if _, err := s.deliver(t.Context(), 1, pace{publishers: 1}, 1); err != nil {
		t.Errorf("all is well: %v", err)
	}
	if _, err := s.deliver(t.Context(), 3, pace{publishers: 1}, 2); err != nil {
		t.Errorf("all is well: %v", err)
	}
	if err := w.gateway.setToken(t.Context(), 2, "another one"); err != nil {
		t.Fatal(err)
	}
	_, err = s.deliver(t.Context(), 5, pace{publishers: 1}, 1)
	if err == nil || errors.Is(err, errWrongFrames) || !strings.Contains(err.Error(), "socket of user 2: the server closed the socket: 4001") {
		t.Errorf("its token has changed: %v", err)
	}
}

func TestFit(t *testing.T) {
	var said listener
	c := &liveCmd{Idle: 1 << 40, Sockets: 5}
	if err := c.fit(&env{err: &said}); err != nil {
		t.Fatal(err)
	}
	if c.Idle >= 1<<40 || c.Idle <= 0 || c.Sockets != 5 {
		t.Errorf("%d idle, %d open", c.Idle, c.Sockets)
	}
	if says := said.text.String(); !strings.Contains(says, "of 1099511627776 --idle: raise it") || strings.Contains(says, "--sockets") {
		t.Errorf("said %q", says)
	}
}
