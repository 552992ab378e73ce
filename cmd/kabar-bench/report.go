package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// What Redis' CPU is spent on.
const (
	workStore = "publish"
	workPush  = "publish and push"
)

// The goals, in µs of CPU: of Redis for an event, of the gateway for a push.
const (
	goalStore     = 40
	goalStorePush = 70
)

var goals = map[provider]map[int]float64{ // by events a request
	apns: {1: 150, 100: 110},
	fcm:  {1: 190, 100: 145},
}

// A pushReport is the result of the scenario push. CPU is user and system time of the
// process, in µs a push or an event; latencies are in ms.
type pushReport struct {
	Scenario string       `json:"scenario"`
	Machine  machine      `json:"machine"`
	Settings pushSettings `json:"settings"`
	Pushes   []pushRow    `json:"pushes"`
	Redis    []redisRow   `json:"redis"`

	Baseline *baselineReport `json:"baseline,omitempty"`
}

// pushSettings are the flags that influence the figures.
type pushSettings struct {
	Users           int     `json:"users"`
	Rounds          int     `json:"rounds"`
	LatencyMS       float64 `json:"provider_latency_ms"`
	Publishers      int     `json:"publishers"`
	BatchPublishers int     `json:"batch_publishers"`
	InFlight        int     `json:"in_flight"`
	Rate            float64 `json:"events_per_second_at_most"` // 0: as fast as they are taken
}

// A pushRow compares the gateway with the bare loop, in one case.
type pushRow struct {
	Provider            provider `json:"provider"`
	Batch               int      `json:"events_per_request"`
	PushesPerSecond     figure   `json:"pushes_per_second"`
	BarePushesPerSecond figure   `json:"bare_pushes_per_second"`
	GatewayCPU          figure   `json:"gateway_cpu_us"`
	BareCPU             figure   `json:"bare_cpu_us"`
	Ratio               float64  `json:"gateway_to_bare"` // of the CPU medians
	Goal                float64  `json:"goal_gateway_cpu_us"`
	Met                 bool     `json:"goal_met"`
	RedisCPU            figure   `json:"redis_cpu_us"`
	LatencyP50          figure   `json:"latency_p50_ms"`
	LatencyP99          figure   `json:"latency_p99_ms"`
	Bytes               figure   `json:"bytes_to_provider"` // a push, with TLS and HTTP/2
	BareBytes           figure   `json:"bare_bytes_to_provider"`
	Logged              figure   `json:"aof_bytes"` // a push
}

func newPushRow(p provider, batch int) pushRow {
	return pushRow{Provider: p, Batch: batch, Goal: goals[p][batch]}
}

// add notes a round of the gateway and one of the bare loop.
func (r *pushRow) add(o outcome, bare bareOutcome) {
	r.PushesPerSecond.add(o.pushesPerSecond)
	r.GatewayCPU.add(o.gateway)
	r.RedisCPU.add(o.redis)
	r.LatencyP50.add(o.p50)
	r.LatencyP99.add(o.p99)
	r.Bytes.add(o.bytes)
	r.Logged.add(o.logged)
	r.BarePushesPerSecond.add(bare.pushesPerSecond)
	r.BareCPU.add(bare.cpu)
	r.BareBytes.add(bare.bytes)
	r.judge()
}

func (r *pushRow) judge() {
	r.Ratio = ratio(r.GatewayCPU.Median, r.BareCPU.Median)
	r.Met = r.GatewayCPU.Median <= r.Goal
}

func (r *pushRow) name() string { return fmt.Sprintf("%s, %d", r.Provider.title(), r.Batch) }

func (r *pushRow) measured() []measured {
	return []measured{
		{"gateway CPU, µs a push", &r.GatewayCPU},
		{"Redis CPU, µs a push", &r.RedisCPU},
		{"pushes/s", &r.PushesPerSecond},
		{"latency p50, ms", &r.LatencyP50},
		{"latency p99, ms", &r.LatencyP99},
		{"bare loop CPU, µs a push", &r.BareCPU},
		{"bare loop, pushes/s", &r.BarePushesPerSecond},
		{"bytes a push", &r.Bytes},
		{"AOF bytes a push", &r.Logged},
		{"bare loop, bytes a push", &r.BareBytes},
	}
}

// A redisRow compares Redis' work for an event with that for one small script.
type redisRow struct {
	Work       string   `json:"work"`
	Provider   provider `json:"provider,omitempty"`
	Batch      int      `json:"events_per_request"`
	CPU        figure   `json:"redis_cpu_us"`
	Bare       figure   `json:"bare_script_cpu_us"`
	Ratio      float64  `json:"redis_to_bare"` // of the CPU medians
	Goal       float64  `json:"goal_redis_cpu_us"`
	Met        bool     `json:"goal_met"`
	Logged     figure   `json:"aof_bytes"` // an event
	BareLogged figure   `json:"bare_script_aof_bytes"`
}

func (r *redisRow) judge() {
	r.Ratio = ratio(r.CPU.Median, r.Bare.Median)
	r.Met = r.CPU.Median <= r.Goal
}

func (r *redisRow) name() string {
	name := r.Work
	if r.Provider != "" {
		name += ", " + r.Provider.title()
	}
	return fmt.Sprintf("%s, %d", name, r.Batch)
}

func (r *redisRow) measured() []measured {
	return []measured{
		{"Redis CPU, µs an event", &r.CPU}, {"bare script CPU, µs", &r.Bare},
		{"AOF bytes an event", &r.Logged}, {"bare script, AOF bytes", &r.BareLogged},
	}
}

// rows implements childReport. Redis' work for the pushes is in their own rows.
func (r *pushReport) rows() []row {
	var all []row
	for i := range r.Pushes {
		all = append(all, &r.Pushes[i])
	}
	for i := range r.Redis {
		if r.Redis[i].Work == workStore {
			all = append(all, &r.Redis[i])
		}
	}
	return all
}

// options implements childReport.
func (r *pushReport) options() any { return r.Settings }

// compareRedis compares the rows of Redis' work with the bare script, after it has added
// rows for the pushes, or replaced the ones of an earlier call.
func (r *pushReport) compareRedis() {
	r.Redis = slices.DeleteFunc(r.Redis, func(row redisRow) bool { return row.Work == workPush })
	bare := make(map[int]redisRow)
	for _, row := range r.Redis {
		bare[row.Batch] = row
	}
	for _, row := range r.Pushes {
		r.Redis = append(r.Redis, redisRow{
			Work: workPush, Provider: row.Provider, Batch: row.Batch,
			CPU: row.RedisCPU, Bare: bare[row.Batch].Bare, Goal: goalStorePush,
			Logged: row.Logged, BareLogged: bare[row.Batch].BareLogged,
		})
	}
	for i := range r.Redis {
		r.Redis[i].judge()
	}
}

// tables implements report.
func (r *pushReport) tables(w io.Writer) error {
	m, s := r.Machine, r.Settings
	_, err := fmt.Fprintf(w, "%d users with one device each, providers answer in %g ms, medians of %d rounds\n"+
		"%s/%s, %d CPUs, %s, Redis %s with an append-only file, fsync every second\n\n%s\n%s",
		s.Users, s.LatencyMS, s.Rounds, m.OS, m.Arch, m.CPUs, m.Go, m.Redis, align(r.pushTable()), align(r.redisTable()))
	if err == nil && r.Baseline != nil {
		_, err = io.WriteString(w, r.Baseline.text())
	}
	return err
}

func (r *pushReport) pushTable() [][]string {
	rows := [][]string{
		{"", "pushes/s", "", "gateway CPU", "bare loop", "", "", "Redis CPU", "latency", "ms", "bytes a push", ""},
		{"events a request", "gateway", "bare", "µs a push", "µs a push", "ratio", "goal", "µs a push", "p50", "p99", "gateway", "bare"},
	}
	for _, p := range r.Pushes {
		rows = append(rows, []string{
			p.name(),
			fmt.Sprintf("%.0f", p.PushesPerSecond.Median), fmt.Sprintf("%.0f", p.BarePushesPerSecond.Median),
			tenths(p.GatewayCPU), tenths(p.BareCPU), fmt.Sprintf("%.2f", p.Ratio), goal(p.Goal, p.Met),
			tenths(p.RedisCPU), tenths(p.LatencyP50), tenths(p.LatencyP99), whole(p.Bytes), whole(p.BareBytes),
		})
	}
	return rows
}

func (r *pushReport) redisTable() [][]string {
	rows := [][]string{
		{"", "Redis CPU", "bare script", "", "", "AOF bytes", "bare script"},
		{"events a request", "µs an event", "µs", "ratio", "goal", "an event", "AOF bytes"},
	}
	for _, p := range r.Redis {
		rows = append(rows, []string{
			p.name(), tenths(p.CPU), tenths(p.Bare), fmt.Sprintf("%.2f", p.Ratio), goal(p.Goal, p.Met),
			whole(p.Logged), whole(p.BareLogged),
		})
	}
	return rows
}

func tenths(f figure) string { return fmt.Sprintf("%.1f", f.Median) }

func whole(f figure) string { return fmt.Sprintf("%.0f", f.Median) }

func goal(limit float64, met bool) string {
	if met {
		return fmt.Sprintf("≤ %g: met", limit)
	}
	return fmt.Sprintf("≤ %g: not met", limit)
}

// align lays out rows of as many cells each: the first column to the left, the
// others to the right.
func align(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, cells := range rows {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, cells := range rows {
		line := fmt.Sprintf("%-*s", widths[0], cells[0])
		for i, cell := range cells[1:] {
			line += fmt.Sprintf("  %*s", widths[i+1], cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
