package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// of returns a figure with the value of one round.
func of(v float64) figure {
	var f figure
	f.add(v)
	return f
}

func testReport() *pushReport {
	r := &pushReport{
		Scenario: "push",
		Machine:  machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26.8", Redis: "7.0.15"},
		Settings: pushSettings{Users: 10000, Rounds: 1, LatencyMS: 20, Publishers: 64, BatchPublishers: 8, InFlight: 400},
	}
	single, batch := newPushRow(apns, 1), newPushRow(fcm, 100)
	single.add(outcome{pushesPerSecond: 3456.7, gateway: 150, redis: 70, p50: 31.25, p99: 80, bytes: 900, logged: 4200}, bareOutcome{9876.5, 60, 800})
	batch.add(outcome{pushesPerSecond: 3456.7, gateway: 145.1, redis: 70.1, p50: 31.25, p99: 80, bytes: 1500, logged: 4100}, bareOutcome{9876.5, 90, 1400})
	r.Pushes = []pushRow{single, batch}
	r.Redis = []redisRow{
		{Work: workStore, Batch: 1, CPU: of(40), Bare: of(20), Goal: goalStore, Logged: of(3000), BareLogged: of(900)},
		{Work: workStore, Batch: 100, CPU: of(40.5), Bare: of(16), Goal: goalStore, Logged: of(3000), BareLogged: of(900)},
	}
	r.compareRedis()
	return r
}

func TestTables(t *testing.T) {
	var b strings.Builder
	if err := testReport().tables(&b); err != nil {
		t.Fatal(err)
	}
	const want = `10000 users with one device each, providers answer in 20 ms, medians of 1 rounds
linux/amd64, 2 CPUs, go1.26.8, Redis 7.0.15 with an append-only file, fsync every second

                  pushes/s        gateway CPU  bare loop                         Redis CPU  latency    ms  bytes a push
events a request   gateway  bare    µs a push  µs a push  ratio            goal  µs a push      p50   p99       gateway  bare
APNs, 1               3457  9876        150.0       60.0   2.50      ≤ 150: met       70.0     31.2  80.0           900   800
FCM, 100              3457  9876        145.1       90.0   1.61  ≤ 145: not met       70.1     31.2  80.0          1500  1400

                              Redis CPU  bare script                        AOF bytes  bare script
events a request            µs an event           µs  ratio           goal   an event    AOF bytes
publish, 1                         40.0         20.0   2.00      ≤ 40: met       3000          900
publish, 100                       40.5         16.0   2.53  ≤ 40: not met       3000          900
publish and push, APNs, 1          70.0         20.0   3.50      ≤ 70: met       4200          900
publish and push, FCM, 100         70.1         16.0   4.38  ≤ 70: not met       4100          900
`
	if b.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", b.String(), want)
	}
}

// The names in the JSON are fixed, because its consumers rely on them.
func TestReportJSON(t *testing.T) {
	text, err := json.Marshal(testReport())
	if err != nil {
		t.Fatal(err)
	}
	type figure struct {
		Median float64   `json:"median"`
		Rounds []float64 `json:"rounds"`
	}
	var r struct {
		Scenario string `json:"scenario"`
		Machine  struct {
			OS    string `json:"os"`
			Arch  string `json:"arch"`
			CPUs  int    `json:"cpus"`
			Go    string `json:"go"`
			Redis string `json:"redis"`
		} `json:"machine"`
		Settings struct {
			Users           int     `json:"users"`
			Rounds          int     `json:"rounds"`
			Latency         float64 `json:"provider_latency_ms"`
			Publishers      int     `json:"publishers"`
			BatchPublishers int     `json:"batch_publishers"`
			InFlight        int     `json:"in_flight"`
			Rate            float64 `json:"events_per_second_at_most"`
		} `json:"settings"`
		Pushes []struct {
			Provider string  `json:"provider"`
			Batch    int     `json:"events_per_request"`
			Pushes   figure  `json:"pushes_per_second"`
			Bare     figure  `json:"bare_pushes_per_second"`
			CPU      figure  `json:"gateway_cpu_us"`
			BareCPU  figure  `json:"bare_cpu_us"`
			Ratio    float64 `json:"gateway_to_bare"`
			Goal     float64 `json:"goal_gateway_cpu_us"`
			Met      bool    `json:"goal_met"`
			RedisCPU figure  `json:"redis_cpu_us"`
			P50      figure  `json:"latency_p50_ms"`
			P99      figure  `json:"latency_p99_ms"`
			Bytes    figure  `json:"bytes_to_provider"`
			BareSent figure  `json:"bare_bytes_to_provider"`
			Logged   figure  `json:"aof_bytes"`
		} `json:"pushes"`
		Redis []struct {
			Work     string  `json:"work"`
			Provider string  `json:"provider"`
			Batch    int     `json:"events_per_request"`
			CPU      figure  `json:"redis_cpu_us"`
			Bare     figure  `json:"bare_script_cpu_us"`
			Ratio    float64 `json:"redis_to_bare"`
			Goal     float64 `json:"goal_redis_cpu_us"`
			Met      bool    `json:"goal_met"`
			Logged   figure  `json:"aof_bytes"`
			BareSize figure  `json:"bare_script_aof_bytes"`
		} `json:"redis"`
	}
	decode(t, string(text), &r)
	if len(r.Pushes) != 2 || len(r.Redis) != 4 {
		t.Fatalf("%d and %d rows", len(r.Pushes), len(r.Redis))
	}
	p := r.Pushes[0]
	if p.Provider != "apns" || p.Batch != 1 || p.CPU.Median != 150 || p.BareCPU.Median != 60 || p.Ratio != 2.5 || p.Goal != 150 || !p.Met || p.Bytes.Median != 900 || p.BareSent.Median != 800 || p.Logged.Median != 4200 {
		t.Errorf("%+v", p)
	}
	s := r.Redis[3]
	if s.Work != "publish and push" || s.Provider != "fcm" || s.Batch != 100 || s.CPU.Median != 70.1 || s.Bare.Median != 16 || s.Met || s.Logged.Median != 4100 || s.BareSize.Median != 900 {
		t.Errorf("%+v", s)
	}
}
