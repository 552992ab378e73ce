package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBroadcast makes a small run of everything. The run succeeds only if every push,
// urgent or of the broadcast, arrives exactly once.
func TestBroadcast(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	got := runWith(t.Context(), nil, "broadcast", "--users=200", "--broadcast-rate=20", "--rate=40", "--measure=500ms",
		"--rounds=2", "--latency=1ms", "--provider=fcm", "--kabar="+daemon(t), "--profile="+dir, "--output="+file)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r broadcastReport
	decode(t, string(text), &r)
	for name, row := range map[string]laneRow{"alone": r.Alone, "during": r.During} {
		if len(row.P99.Rounds) != 2 || row.P50.Median < 1 || row.P50.Median > row.P99.Median || row.UrgentPerSecond.Median <= 0 {
			t.Errorf("%s: %+v", name, row)
		}
		if len(row.GatewayCPU.Rounds) != 2 || len(row.RedisCPU.Rounds) != 2 {
			t.Errorf("%s lacks CPU: %+v", name, row)
		}
	}
	if r.Alone.BroadcastPerSecond.Median != 0 || r.During.BroadcastPerSecond.Median <= 0 {
		t.Errorf("broadcasts: %v alone, %v during one", r.Alone.BroadcastPerSecond, r.During.BroadcastPerSecond)
	}
	if r.P99Ratio <= 0 || r.Goal != 1.2 || r.Machine.Redis == "" || r.Settings.Users != 200 {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"alone.pprof", "alone.stalls.txt", "broadcast.pprof", "broadcast.stalls.txt"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("profile: %v", err)
		}
	}
	if !strings.Contains(got.out, "a broadcast to 200 users at 20 a second, FCM answers in 1 ms, medians of 2 rounds") {
		t.Errorf("printed\n%s", got.out)
	}
}

func TestMatchBroadcast(t *testing.T) {
	receipt := func(user int64, after time.Duration) Receipt {
		return Receipt{Tag: "52d1f2a8", Token: fcm.token(user), Status: 200, At: begin.Add(after).UnixNano()}
	}
	good := []Receipt{receipt(2, 5*time.Millisecond), receipt(1, 9*time.Millisecond), receipt(3, 7*time.Millisecond)}
	if last, err := matchBroadcast(fcm, 3, good); err != nil || !last.Equal(begin.Add(9*time.Millisecond)) {
		t.Errorf("the last one at %v, %v", last, err)
	}
	refused := receipt(3, 0)
	refused.Status = 503
	for _, c := range []struct {
		name     string
		receipts []Receipt
		want     string
	}{
		{"missing", good[:2], "of 3, 1 are missing and 0 came again; 0 were refused, 0 went elsewhere"},
		{"none", nil, "of 3, 3 are missing and 0 came again; 0 were refused, 0 went elsewhere"},
		{"repeated", append(slices.Clone(good), good[0]), "of 3, 0 are missing and 1 came again; 0 were refused, 0 went elsewhere"},
		{"refused", append(slices.Clone(good[:2]), refused), "of 3, 1 are missing and 0 came again; 1 were refused, 0 went elsewhere"},
		{"another phone", append(slices.Clone(good), receipt(4, 0)), "of 3, 0 are missing and 0 came again; 0 were refused, 1 went elsewhere"},
	} {
		_, err := matchBroadcast(fcm, 3, c.receipts)
		if want := errWrongPushes.Error() + ": " + c.want; !errors.Is(err, errWrongPushes) || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", c.name, err, want)
		}
	}
}

// TestJudge checks how the receipts of a half are judged.
func TestJudge(t *testing.T) {
	run := &broadcastRun{cmd: &broadcastCmd{Users: 2, Provider: apns}}
	sent := []time.Time{begin.Add(time.Second), begin.Add(2 * time.Second)}
	receipt := func(tag string, user int64, after time.Duration) Receipt {
		return Receipt{Tag: tag, Token: apns.token(user), Status: 200, At: begin.Add(after).UnixNano()}
	}
	urgent := []Receipt{receipt("transaction:7", 1, 1030*time.Millisecond), receipt("transaction:8", 2, 2050*time.Millisecond)}
	promotions := []Receipt{receipt("a", 2, time.Second), receipt("b", 1, 4*time.Second)}
	early := []Receipt{promotions[0], receipt("b", 1, 1999*time.Millisecond)}
	for _, c := range []struct {
		name     string
		cast     bool
		receipts []Receipt
		want     laneOutcome
		err      error
	}{
		{"alone", false, urgent, laneOutcome{p50: 30, p99: 50, urgentPerSecond: 2 / 1.05}, nil},
		{"during a broadcast", true, slices.Concat(promotions, urgent), laneOutcome{p50: 30, p99: 50, urgentPerSecond: 2 / 1.05, broadcastPerSecond: 0.5}, nil},
		{"an urgent push is missing", true, slices.Concat(promotions, urgent[:1]), laneOutcome{}, errWrongPushes},
		{"an urgent push comes twice", true, slices.Concat(promotions, urgent, urgent[:1]), laneOutcome{}, errWrongPushes},
		{"a promotion is missing", true, slices.Concat(promotions[:1], urgent), laneOutcome{}, errWrongPushes},
		{"a promotion where there is none", false, slices.Concat(promotions[:1], urgent), laneOutcome{}, errWrongPushes},
		{"too short a broadcast", true, slices.Concat(early, urgent), laneOutcome{}, errTooShort},
	} {
		var got laneOutcome
		err := run.judge(&got, begin, 7, sent, c.receipts, c.cast)
		if !errors.Is(err, c.err) || c.err == nil && got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func testBroadcastReport() *broadcastReport {
	r := &broadcastReport{
		Scenario: "broadcast",
		Machine:  machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26.8", Redis: "7.0.15"},
		Settings: broadcastSettings{
			Provider: apns, Users: 20000, BroadcastRate: 1000, Rate: 100, MeasureS: 15, Rounds: 1, LatencyMS: 20, Publishers: 64,
		},
		Goal: goalLanes,
	}
	r.add(laneOutcome{p50: 22, p99: 30, urgentPerSecond: 100, gateway: 12.5, redis: 4},
		laneOutcome{p50: 23.1, p99: 36, urgentPerSecond: 99.6, broadcastPerSecond: 1001, gateway: 40, redis: 20.25})
	return r
}

func TestBroadcastTables(t *testing.T) {
	var b strings.Builder
	if err := testBroadcastReport().tables(&b); err != nil {
		t.Fatal(err)
	}
	const want = `100 urgent events a second for 15 s, a broadcast to 20000 users at 1000 a second, APNs answers in 20 ms, medians of 1 rounds
linux/amd64, 2 CPUs, go1.26.8, Redis 7.0.15 with an append-only file, fsync every second

urgent pushes       latency     ms              pushes/s                 CPU  % of a core
                        p50    p99        goal    urgent  broadcast  gateway        Redis
alone                 22.00  30.00                   100          0     12.5          4.0
during a broadcast    23.10  36.00                   100       1001     40.0         20.2
ratio                  1.05   1.20  ≤ 1.2: met
`
	if got := b.String(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// The names in the JSON are fixed, because its consumers rely on them.
func TestBroadcastReportJSON(t *testing.T) {
	r := testBroadcastReport()
	r.add(laneOutcome{p50: 22, p99: 30}, laneOutcome{p50: 24, p99: 42})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	type figure struct {
		Median float64   `json:"median"`
		Rounds []float64 `json:"rounds"`
	}
	type row struct {
		P50       figure `json:"urgent_latency_p50_ms"`
		P99       figure `json:"urgent_latency_p99_ms"`
		Urgent    figure `json:"urgent_pushes_per_second"`
		Broadcast figure `json:"broadcast_pushes_per_second"`
		Gateway   figure `json:"gateway_cpu_percent"`
		Redis     figure `json:"redis_cpu_percent"`
	}
	var read struct {
		Scenario string  `json:"scenario"`
		Machine  machine `json:"machine"`
		Settings struct {
			Provider      string  `json:"provider"`
			Users         int     `json:"users"`
			BroadcastRate int     `json:"broadcast_users_per_second"`
			Rate          float64 `json:"urgent_events_per_second"`
			Measure       float64 `json:"measure_s"`
			Rounds        int     `json:"rounds"`
			Latency       float64 `json:"provider_latency_ms"`
			Publishers    int     `json:"publishers"`
		} `json:"settings"`
		Alone  row     `json:"alone"`
		During row     `json:"during_broadcast"`
		P50    float64 `json:"p50_during_to_alone"`
		P99    float64 `json:"p99_during_to_alone"`
		Goal   float64 `json:"goal_p99_during_to_alone"`
		Met    bool    `json:"goal_met"`
	}
	decode(t, string(text), &read)
	if read.Alone.P99.Median != 30 || read.During.P99.Median != 39 || read.P99 != 1.3 || read.Goal != 1.2 || read.Met {
		t.Errorf("%+v", read)
	}
	if read.During.Broadcast.Rounds[0] != 1001 || read.Settings.BroadcastRate != 1000 {
		t.Errorf("%+v", read)
	}
}
