package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestScale makes a small run of everything, with real gateways, on a Redis and on a
// cluster. The run succeeds only if every push arrives exactly once, and every inbox counts
// each of its events once.
func TestScale(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	got := runWith(t.Context(), nil, "scale", "--users=20,60", "--gateways=2", "--events=40", "--batch=10", "--rounds=2", "--latency=1ms", "--idle=10ms",
		"--kabar="+daemon(t), "--output="+file)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r scaleReport
	decode(t, string(text), &r)
	want := []scaleCase{{20, false, 1, 1}, {60, false, 1, 1}, {20, true, 1, 1}, {20, true, 3, 1}, {20, false, 1, 2}}
	if len(r.Rows) != len(want) {
		t.Fatalf("%d rows in %s", len(r.Rows), text)
	}
	for i, row := range r.Rows {
		if row.scaleCase != want[i] {
			t.Errorf("row %d is %s", i, row.scaleCase)
		}
		for _, c := range []scaleCost{row.Publish, row.Push} {
			if len(c.GatewayCPU.Rounds) != 2 || len(c.RedisCPU.Rounds) != 2 {
				t.Errorf("%s lacks rounds: %+v", row.scaleCase, c)
			}
		}
		if len(row.User.Rounds) != 1 || len(row.IdleGateway.Rounds) != 1 || len(row.IdleRedis.Rounds) != 1 || len(row.Event.Rounds) != 2 || row.User.Median == 0 { // so few may seem to free memory
			t.Errorf("%s: memory %+v, %+v", row.scaleCase, row.User, row.Event)
		}
	}
	if r.Machine.Redis == "" || r.Settings.Events != 40 || r.Goal != 1.1 || len(r.Bare.Rounds) != 2 {
		t.Errorf("%+v", r)
	}
	for _, line := range []string{"40 events a round, 10 a request for each shard, APNs answers in 1 ms, medians of 2 rounds", "20 users, cluster of 3 shards, 1 gateway"} {
		if !strings.Contains(got.out, line) {
			t.Errorf("no %q in\n%s", line, got.out)
		}
	}
}

// An inbox that has counted another number of events than were published ends the run.
func TestScaleNoticesWrongNumbers(t *testing.T) {
	var said listener
	e := &env{ctx: t.Context(), err: &said}
	c := &scaleCmd{Events: 4, Batch: 2, Provider: fcm}
	run, err := c.open(t.Context(), e, daemon(t), scaleCase{Users: 2, Shards: 1, Gateways: 2})
	if err != nil {
		t.Fatalf("%v: %s", err, said.text.String())
	}
	defer run.world.close()
	if err := run.round(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := run.counted(t.Context()); err != nil {
		t.Errorf("all is well: %v", err)
	}
	if _, err := run.world.publish(t.Context(), requests(run.next, everyone(1), 1, false), pace{publishers: 1}); err != nil {
		t.Fatal(err)
	}
	if err := run.counted(t.Context()); !errors.Is(err, errWrongNumbers) || !strings.Contains(err.Error(), "of 2, 1 have another number") {
		t.Errorf("one event too many: %v", err)
	}
}

func TestReceivers(t *testing.T) {
	for _, c := range []struct {
		to   receivers
		want []int64
	}{
		{everyone(3), []int64{1, 2, 3}},
		{spread(3, 3), []int64{1, 2, 3}},
		{spread(3, 11), []int64{1, 4, 7}},
		{spread(5, 2), []int64{1, 2, 1, 2, 1}},
		{spread(3, 5), []int64{1, 2, 3}},
	} {
		var got []int64
		for place := range int64(c.to.n) {
			got = append(got, c.to.user(place))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.to, got, c.want)
		}
	}
}

// Each publisher asks the gateway of its turn.
func TestPublishToSeveral(t *testing.T) {
	var asked [2]atomic.Int64
	to := make([]*client, len(asked))
	var both sync.WaitGroup // until both are asked
	for i := range to {
		both.Add(1)
		to[i] = newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked[i].Add(1) == 1 {
				both.Done()
			}
			both.Wait()
			_, _ = io.WriteString(w, `{"status":"OK"}`)
		})
	}
	sent, err := publish(t.Context(), to, requests(1, everyone(6), 1, false), pace{publishers: 2})
	if err != nil || len(sent) != 6 {
		t.Fatalf("%d sent, %v", len(sent), err)
	}
	if a, b := asked[0].Load(), asked[1].Load(); a == 0 || b == 0 || a+b != 6 {
		t.Errorf("asked %d and %d times", a, b)
	}
}

func testScaleReport() *scaleReport {
	r := &scaleReport{
		Scenario: "scale",
		Machine:  machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26.8", Redis: "7.0.15"},
		Settings: scaleSettings{Provider: apns, Events: 10000, Batch: 40, Rounds: 1, LatencyMS: 20},
		Goal:     goalScale,
	}
	one, three := scaleRow{scaleCase: scaleCase{1000, true, 1, 1}}, scaleRow{scaleCase: scaleCase{1000, true, 3, 1}}
	single := scaleRow{scaleCase: scaleCase{1000, false, 1, 1}}
	single.add(stored{gateway: 40, cpu: 32}, outcome{gateway: 160, redis: 80}, 2400)
	one.add(stored{gateway: 50, cpu: 40}, outcome{gateway: 200, redis: 100}, 2500)
	three.add(stored{gateway: 55, cpu: 44}, outcome{gateway: 210, redis: 115}, 2600)
	one.User.add(2000)
	one.IdleGateway.add(0.5)
	one.IdleRedis.add(1.5)
	three.User.add(2100)
	r.Rows = []scaleRow{single, one, three}
	r.Bare.add(25)
	r.judge()
	return r
}

func TestScaleTables(t *testing.T) {
	var b strings.Builder
	if err := testScaleReport().tables(&b); err != nil {
		t.Fatal(err)
	}
	const want = `10000 events a round, 40 a request for each shard, APNs answers in 20 ms, medians of 1 rounds
linux/amd64, 2 CPUs, go1.26.8, Redis 7.0.15 with an append-only file, fsync every second
clusters are compared with the first cluster, the others with the first case
the bare script costs Redis 25.0 µs

publish                                     gateway CPU                  Redis CPU
                                            µs an event  to the first  µs an event  to the first        goal
1000 users, 1 Redis, 1 gateway                     40.0          1.00         32.0          1.00  ≤ 1.1: met
1000 users, cluster of 1 shard, 1 gateway          50.0          1.00         40.0          1.00  ≤ 1.1: met
1000 users, cluster of 3 shards, 1 gateway         55.0          1.10         44.0          1.10  ≤ 1.1: met

publish and push                            gateway CPU                  Redis CPU
                                            µs an event  to the first  µs an event  to the first            goal
1000 users, 1 Redis, 1 gateway                    160.0          1.00         80.0          1.00      ≤ 1.1: met
1000 users, cluster of 1 shard, 1 gateway         200.0          1.00        100.0          1.00      ≤ 1.1: met
1000 users, cluster of 3 shards, 1 gateway        210.0          1.05        115.0          1.15  ≤ 1.1: not met

                                            memory of Redis     bytes  CPU without load  % of a core
                                                     a user  an event          gateways        Redis
1000 users, 1 Redis, 1 gateway                            0      2400               0.0          0.0
1000 users, cluster of 1 shard, 1 gateway              2000      2500               0.5          1.5
1000 users, cluster of 3 shards, 1 gateway             2100      2600               0.0          0.0
`
	if got := b.String(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// The names in the JSON are fixed, because its consumers rely on them.
func TestScaleReportJSON(t *testing.T) {
	text, err := json.Marshal(testScaleReport())
	if err != nil {
		t.Fatal(err)
	}
	type figure struct {
		Median float64   `json:"median"`
		Rounds []float64 `json:"rounds"`
	}
	type cost struct {
		GatewayCPU   figure  `json:"gateway_cpu_us"`
		RedisCPU     figure  `json:"redis_cpu_us"`
		GatewayRatio float64 `json:"gateway_to_first"`
		RedisRatio   float64 `json:"redis_to_first"`
		Met          bool    `json:"goal_met"`
	}
	var read struct {
		Scenario string  `json:"scenario"`
		Machine  machine `json:"machine"`
		Settings struct {
			Provider string  `json:"provider"`
			Events   int     `json:"events"`
			Batch    int     `json:"events_per_request_and_shard"`
			Rounds   int     `json:"rounds"`
			Latency  float64 `json:"provider_latency_ms"`
		} `json:"settings"`
		Cases []struct {
			Users       int    `json:"users"`
			Cluster     bool   `json:"cluster"`
			Shards      int    `json:"shards"`
			Gateways    int    `json:"gateways"`
			Publish     cost   `json:"publish"`
			Push        cost   `json:"publish_and_push"`
			IdleGateway figure `json:"idle_gateway_cpu_percent"`
			IdleRedis   figure `json:"idle_redis_cpu_percent"`
			User        figure `json:"redis_bytes_user"`
			Event       figure `json:"redis_bytes_event"`
		} `json:"cases"`
		Bare figure  `json:"bare_script_cpu_us"`
		Goal float64 `json:"goal_redis_cpu_to_first"`
	}
	decode(t, string(text), &read)
	if len(read.Cases) != 3 || read.Goal != 1.1 || read.Bare.Median != 25 {
		t.Fatalf("%+v", read)
	}
	c := read.Cases[2]
	if !c.Cluster || c.Shards != 3 || c.Publish.RedisRatio != 1.1 || !c.Publish.Met || c.Push.RedisRatio != 1.15 || c.Push.Met ||
		c.Publish.GatewayRatio != 1.1 || c.Push.GatewayRatio != 1.05 || c.User.Median != 2100 || c.Event.Rounds[0] != 2600 {
		t.Errorf("%+v", c)
	}
}
