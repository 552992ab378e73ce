package main

import (
	"fmt"
	"io"
	"slices"
)

// goalScale is how much more an event may cost Redis than in the case that it is compared
// with.
const goalScale = 1.1

// A scaleReport is the result of the scenario scale. CPU is user and system time in µs an
// event, of all gateways and of all shards together.
type scaleReport struct {
	Scenario string        `json:"scenario"`
	Machine  machine       `json:"machine"`
	Settings scaleSettings `json:"settings"`
	Rows     []scaleRow    `json:"cases"`
	Bare     figure        `json:"bare_script_cpu_us"` // of Redis, in the first case
	Goal     float64       `json:"goal_redis_cpu_to_first"`
}

// scaleSettings are the flags that influence the figures.
type scaleSettings struct {
	Provider  provider `json:"provider"`
	Events    int      `json:"events"`
	Batch     int      `json:"events_per_request_and_shard"`
	Rounds    int      `json:"rounds"`
	LatencyMS float64  `json:"provider_latency_ms"`
}

// A scaleCase is what is compared.
type scaleCase struct {
	Users    int  `json:"users"`
	Cluster  bool `json:"cluster"` // whether Redis is a cluster, if only of one master
	Shards   int  `json:"shards"`
	Gateways int  `json:"gateways"`
}

// String is the case in words.
func (c scaleCase) String() string {
	redis := "1 Redis"
	if c.Cluster {
		redis = "cluster of " + counted(c.Shards, "shard")
	}
	return fmt.Sprintf("%s, %s, %s", counted(c.Users, "user"), redis, counted(c.Gateways, "gateway"))
}

// counted is a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// A scaleRow holds the figures of a case.
type scaleRow struct {
	scaleCase
	Publish scaleCost `json:"publish"`
	Push    scaleCost `json:"publish_and_push"`

	IdleGateway figure `json:"idle_gateway_cpu_percent"` // of a core, all gateways; measured once
	IdleRedis   figure `json:"idle_redis_cpu_percent"`

	User  figure `json:"redis_bytes_user"`  // with a device, before any event; measured once
	Event figure `json:"redis_bytes_event"` // once its push is settled
}

// A scaleCost is the CPU of an event, and its ratios to the first case, or to the first cluster.
type scaleCost struct {
	GatewayCPU   figure  `json:"gateway_cpu_us"`
	RedisCPU     figure  `json:"redis_cpu_us"`
	GatewayRatio float64 `json:"gateway_to_first"` // of the medians
	RedisRatio   float64 `json:"redis_to_first"`
	Met          bool    `json:"goal_met"`
}

// add notes a round.
func (r *scaleRow) add(alone stored, pushed outcome, bytes float64) {
	r.Publish.GatewayCPU.add(alone.gateway)
	r.Publish.RedisCPU.add(alone.cpu)
	r.Push.GatewayCPU.add(pushed.gateway)
	r.Push.RedisCPU.add(pushed.redis)
	r.Event.add(bytes)
}

// String is the last round in words. There must have been one.
func (r *scaleRow) String() string {
	last := func(f figure) float64 { return f.Rounds[len(f.Rounds)-1] }
	return fmt.Sprintf("%s: publish %.1f µs, Redis %.1f µs; publish and push %.1f µs, Redis %.1f µs", r.scaleCase,
		last(r.Publish.GatewayCPU), last(r.Publish.RedisCPU), last(r.Push.GatewayCPU), last(r.Push.RedisCPU))
}

// judge compares each cluster with the first one, and the other cases with the first case.
func (r *scaleReport) judge() {
	for i := range r.Rows {
		row, first := &r.Rows[i], &r.Rows[0]
		if row.Cluster {
			first = &r.Rows[slices.IndexFunc(r.Rows, func(other scaleRow) bool { return other.Cluster })]
		}
		row.Publish.judge(&first.Publish, r.Goal)
		row.Push.judge(&first.Push, r.Goal)
	}
}

func (c *scaleCost) judge(first *scaleCost, goal float64) {
	c.GatewayRatio = ratio(c.GatewayCPU.Median, first.GatewayCPU.Median)
	c.RedisRatio = ratio(c.RedisCPU.Median, first.RedisCPU.Median)
	c.Met = c.RedisRatio <= goal
}

// tables implements report.
func (r *scaleReport) tables(w io.Writer) error {
	m, s := r.Machine, r.Settings
	_, err := fmt.Fprintf(w, "%d events a round, %d a request for each shard, %s answers in %g ms, medians of %d rounds\n"+
		"%s/%s, %d CPUs, %s, Redis %s with an append-only file, fsync every second\n"+
		"clusters are compared with the first cluster, the others with the first case\n"+
		"the bare script costs Redis %s µs\n\n%s\n%s\n%s",
		s.Events, s.Batch, s.Provider.title(), s.LatencyMS, s.Rounds, m.OS, m.Arch, m.CPUs, m.Go, m.Redis, tenths(r.Bare),
		align(r.costTable(workStore, func(row *scaleRow) *scaleCost { return &row.Publish })),
		align(r.costTable(workPush, func(row *scaleRow) *scaleCost { return &row.Push })),
		align(r.standingTable()))
	return err
}

func (r *scaleReport) costTable(work string, of func(*scaleRow) *scaleCost) [][]string {
	rows := [][]string{
		{work, "gateway CPU", "", "Redis CPU", "", ""},
		{"", "µs an event", "to the first", "µs an event", "to the first", "goal"},
	}
	for i := range r.Rows {
		row, c := &r.Rows[i], of(&r.Rows[i])
		rows = append(rows, []string{
			row.scaleCase.String(), tenths(c.GatewayCPU), fmt.Sprintf("%.2f", c.GatewayRatio),
			tenths(c.RedisCPU), fmt.Sprintf("%.2f", c.RedisRatio), goal(r.Goal, c.Met),
		})
	}
	return rows
}

func (r *scaleReport) standingTable() [][]string {
	rows := [][]string{
		{"", "memory of Redis", "bytes", "CPU without load", "% of a core"},
		{"", "a user", "an event", "gateways", "Redis"},
	}
	for _, row := range r.Rows {
		rows = append(rows, []string{
			row.scaleCase.String(), whole(row.User), whole(row.Event), tenths(row.IdleGateway), tenths(row.IdleRedis),
		})
	}
	return rows
}
