package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func testLiveReport() *liveReport {
	r := &liveReport{
		Scenario: "live",
		Machine:  machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26.8", Redis: "7.0.15"},
		Settings: liveSettings{Idle: 10000, Sockets: 5000, Missed: 10, Rounds: 1, Publishers: 64, BatchPublishers: 8, Rate: 1000},
		Idle:     newIdleRow(10000),
		Storm:    newStormRow(5000, 10),
	}
	r.Idle.add(20, 25, 17.5)
	r.Storm.add(comeback{1.01, 240, 120}, comeback{0.5, 120, 0})
	saturated, paced, other := newEventsRow(0, 20), newEventsRow(1000, 1), newEventsRow(2000, 1)
	gateway := delivery{perSecond: 9876.5, server: 47.1, redis: 90, p50: 0.4, p99: 1.21}
	bare := delivery{perSecond: 23456.7, server: 23.55, p50: 0.2, p99: 0.6}
	saturated.add(gateway, bare)
	paced.add(gateway, bare)
	other.add(gateway, bare)
	r.Events = []eventsRow{saturated, paced, other}
	return r
}

func TestLiveTables(t *testing.T) {
	var b strings.Builder
	if err := testLiveReport().tables(&b); err != nil {
		t.Fatal(err)
	}
	const want = `medians of 1 rounds
linux/amd64, 2 CPUs, go1.26.8, Redis 7.0.15 with an append-only file, fsync every second

resident memory          gateway  bare server         bare, handler returned
                    KiB a socket          KiB  ratio                     KiB       goal
10000 idle sockets          20.0         25.0   0.80                    17.5  ≤ 20: met

5000 sockets, one event to each of them a round
                  events/s         gateway CPU  bare server                          Redis CPU
events a request   gateway   bare  µs an event           µs  ratio           goal  µs an event
saturated, 20         9876  23457         47.1         23.6   2.00  ≤ 47: not met         90.0
1000 a second, 1      9876  23457         47.1         23.6   2.00                        90.0
2000 a second, 1      9876  23457         47.1         23.6   2.00                        90.0

latency, ms           p50                        p99
events a request  gateway  bare        goal  gateway  bare            goal
saturated, 20        0.40  0.20                 1.21  0.60
1000 a second, 1     0.40  0.20  ≤ 0.4: met     1.21  0.60  ≤ 1.2: not met
2000 a second, 1     0.40  0.20                 1.21  0.60

all come back at once         caught up  bare                gateway CPU  bare server           Redis CPU
                                      s     s          goal  µs a client           µs  ratio  µs a client
5000 sockets, 10 events each       1.01  0.50  ≤ 1: not met        240.0        120.0   2.00        120.0
`
	if got := b.String(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func TestLiveTablesOfPart(t *testing.T) {
	r := testLiveReport()
	r.Idle, r.Events = nil, nil
	var b strings.Builder
	if err := r.tables(&b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "come back") || strings.Contains(got, "idle") || strings.Contains(got, "latency") {
		t.Errorf("printed\n%s", got)
	}
}

// The names in the JSON are fixed, because its consumers rely on them.
func TestLiveReportJSON(t *testing.T) {
	text, err := json.Marshal(testLiveReport())
	if err != nil {
		t.Fatal(err)
	}
	type figure struct {
		Median float64   `json:"median"`
		Rounds []float64 `json:"rounds"`
	}
	var r struct {
		Scenario string  `json:"scenario"`
		Machine  machine `json:"machine"`
		Settings struct {
			Idle            int     `json:"idle"`
			Sockets         int     `json:"sockets"`
			Missed          int     `json:"missed"`
			Rounds          int     `json:"rounds"`
			Publishers      int     `json:"publishers"`
			BatchPublishers int     `json:"batch_publishers"`
			Rate            float64 `json:"paced_events_per_second"`
		} `json:"settings"`
		Idle struct {
			Sockets  int     `json:"sockets"`
			Gateway  figure  `json:"gateway_kib"`
			Bare     figure  `json:"bare_kib"`
			Returned figure  `json:"bare_handler_returned_kib"`
			Ratio    float64 `json:"gateway_to_bare"`
			Goal     float64 `json:"goal_gateway_kib"`
			Met      bool    `json:"goal_met"`
		} `json:"idle"`
		Events []struct {
			Rate          float64 `json:"paced_events_per_second"`
			Batch         int     `json:"events_per_request"`
			PerSecond     figure  `json:"events_per_second"`
			BarePerSecond figure  `json:"bare_events_per_second"`
			CPU           figure  `json:"gateway_cpu_us"`
			BareCPU       figure  `json:"bare_cpu_us"`
			Ratio         float64 `json:"gateway_to_bare"`
			Goal          float64 `json:"goal_gateway_cpu_us"`
			Met           bool    `json:"goal_met"`
			RedisCPU      figure  `json:"redis_cpu_us"`
			P50           figure  `json:"latency_p50_ms"`
			P99           figure  `json:"latency_p99_ms"`
			BareP50       figure  `json:"bare_latency_p50_ms"`
			BareP99       figure  `json:"bare_latency_p99_ms"`
			GoalP50       float64 `json:"goal_latency_p50_ms"`
			GoalP99       float64 `json:"goal_latency_p99_ms"`
			MetP50        bool    `json:"goal_latency_p50_met"`
			MetP99        bool    `json:"goal_latency_p99_met"`
		} `json:"events"`
		Storm struct {
			Sockets     int     `json:"sockets"`
			Missed      int     `json:"missed_events"`
			Seconds     figure  `json:"seconds"`
			BareSeconds figure  `json:"bare_seconds"`
			Goal        float64 `json:"goal_seconds"`
			Met         bool    `json:"goal_met"`
			CPU         figure  `json:"gateway_cpu_us"`
			BareCPU     figure  `json:"bare_cpu_us"`
			Ratio       float64 `json:"gateway_to_bare"`
			RedisCPU    figure  `json:"redis_cpu_us"`
		} `json:"storm"`
	}
	decode(t, string(text), &r)
	if i := r.Idle; i.Gateway.Median != 20 || i.Bare.Median != 25 || i.Ratio != 0.8 || i.Goal != 20 || !i.Met {
		t.Errorf("%+v", i)
	}
	if s := r.Storm; s.Seconds.Median != 1.01 || s.Ratio != 2 || s.Goal != 1 || s.Met {
		t.Errorf("%+v", s)
	}
	if len(r.Events) != 3 {
		t.Fatalf("%d rows", len(r.Events))
	}
	if e := r.Events[0]; e.CPU.Median != 47.1 || e.Ratio != 2 || e.Goal != 47 || e.Met || e.GoalP50 != 0 {
		t.Errorf("%+v", e)
	}
	if e := r.Events[1]; e.P50.Median != 0.4 || e.GoalP50 != 0.4 || !e.MetP50 || e.GoalP99 != 1.2 || e.MetP99 || e.Goal != 0 {
		t.Errorf("%+v", e)
	}
	if e := r.Events[2]; e.Goal != 0 || e.GoalP50 != 0 || e.GoalP99 != 0 {
		t.Errorf("there are goals for 2,000 a second: %+v", e)
	}
}
