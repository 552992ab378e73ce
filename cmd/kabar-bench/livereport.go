package main

import (
	"fmt"
	"io"
)

// The goals. They were set on a quiet machine with two cores.
const (
	goalIdle  = 20  // KiB of resident memory a socket
	goalP50   = 0.4 // ms, at 1,000 events a second
	goalP99   = 1.2
	goalStorm = 1 // s until 5,000 have caught up
	goalRate  = 1000
)

// goalsLive are µs of the gateway's CPU an event, by events a request.
var goalsLive = map[int]float64{1: 73, 20: 47}

// A liveReport is the result of the scenario live. CPU is user and system time of the
// process; figures that were not measured are absent.
type liveReport struct {
	Scenario string       `json:"scenario"`
	Machine  machine      `json:"machine"`
	Settings liveSettings `json:"settings"`
	Idle     *idleRow     `json:"idle,omitempty"`
	Events   []eventsRow  `json:"events,omitempty"`
	Storm    *stormRow    `json:"storm,omitempty"`

	Baseline *baselineReport `json:"baseline,omitempty"`
}

// rows implements childReport.
func (r *liveReport) rows() []row {
	var all []row
	for i := range r.Events {
		all = append(all, &r.Events[i])
	}
	if r.Storm != nil {
		all = append(all, r.Storm)
	}
	if r.Idle != nil {
		all = append(all, r.Idle)
	}
	return all
}

// options implements childReport.
func (r *liveReport) options() any { return r.Settings }

// liveSettings are the flags that influence the figures. Idle and sockets are as many as
// this machine allowed.
type liveSettings struct {
	Idle            int     `json:"idle"`
	Sockets         int     `json:"sockets"`
	Missed          int     `json:"missed"`
	Rounds          int     `json:"rounds"`
	Publishers      int     `json:"publishers"`
	BatchPublishers int     `json:"batch_publishers"`
	Rate            float64 `json:"paced_events_per_second"`
}

// An idleRow is the resident memory of idle sockets, in KiB each.
type idleRow struct {
	Sockets     int     `json:"sockets"`
	Gateway     figure  `json:"gateway_kib"`
	BareStays   figure  `json:"bare_kib"`                  // the handler reads
	BareReturns figure  `json:"bare_handler_returned_kib"` // a goroutine of its own reads
	Ratio       float64 `json:"gateway_to_bare"`           // of the medians, to the former
	Goal        float64 `json:"goal_gateway_kib"`
	Met         bool    `json:"goal_met"`
}

func newIdleRow(sockets int) *idleRow { return &idleRow{Sockets: sockets, Goal: goalIdle} }

func (r *idleRow) add(gateway, stays, returns float64) {
	r.Gateway.add(gateway)
	r.BareStays.add(stays)
	r.BareReturns.add(returns)
	r.judge()
}

func (r *idleRow) judge() {
	r.Ratio = ratio(r.Gateway.Median, r.BareStays.Median)
	r.Met = r.Gateway.Median <= r.Goal
}

func (r *idleRow) name() string { return fmt.Sprintf("%d idle sockets", r.Sockets) }

func (r *idleRow) measured() []measured {
	return []measured{
		{"gateway memory, KiB a socket", &r.Gateway},
		{"bare server memory, KiB a socket", &r.BareStays},
		{"bare server memory, handler returned, KiB a socket", &r.BareReturns},
	}
}

// An eventsRow compares the gateway with the bare server in one case. There is a
// goal for the CPU of saturated rounds, and for the latency of those at 1,000
// events a second; where there is none it is absent, and not met.
type eventsRow struct {
	Rate          float64 `json:"paced_events_per_second"` // 0: as fast as they are taken
	Batch         int     `json:"events_per_request"`
	PerSecond     figure  `json:"events_per_second"`
	BarePerSecond figure  `json:"bare_events_per_second"`
	GatewayCPU    figure  `json:"gateway_cpu_us"`
	BareCPU       figure  `json:"bare_cpu_us"`
	Ratio         float64 `json:"gateway_to_bare"` // of the CPU medians
	Goal          float64 `json:"goal_gateway_cpu_us,omitzero"`
	Met           bool    `json:"goal_met"`
	RedisCPU      figure  `json:"redis_cpu_us"`
	P50           figure  `json:"latency_p50_ms"`
	P99           figure  `json:"latency_p99_ms"`
	BareP50       figure  `json:"bare_latency_p50_ms"`
	BareP99       figure  `json:"bare_latency_p99_ms"`
	GoalP50       float64 `json:"goal_latency_p50_ms,omitzero"`
	GoalP99       float64 `json:"goal_latency_p99_ms,omitzero"`
	MetP50        bool    `json:"goal_latency_p50_met"`
	MetP99        bool    `json:"goal_latency_p99_met"`
}

func newEventsRow(rate float64, batch int) eventsRow {
	r := eventsRow{Rate: rate, Batch: batch}
	switch rate {
	case 0:
		r.Goal = goalsLive[batch]
	case goalRate:
		r.GoalP50, r.GoalP99 = goalP50, goalP99
	}
	return r
}

// add notes a round of the gateway and one of the bare server.
func (r *eventsRow) add(gateway, bare delivery) {
	r.PerSecond.add(gateway.perSecond)
	r.GatewayCPU.add(gateway.server)
	r.RedisCPU.add(gateway.redis)
	r.P50.add(gateway.p50)
	r.P99.add(gateway.p99)
	r.BarePerSecond.add(bare.perSecond)
	r.BareCPU.add(bare.server)
	r.BareP50.add(bare.p50)
	r.BareP99.add(bare.p99)
	r.judge()
}

func (r *eventsRow) judge() {
	r.Ratio = ratio(r.GatewayCPU.Median, r.BareCPU.Median)
	r.Met = r.GatewayCPU.Median <= r.Goal
	r.MetP50 = r.P50.Median <= r.GoalP50
	r.MetP99 = r.P99.Median <= r.GoalP99
}

func (r *eventsRow) name() string { return fmt.Sprintf("%s, %d", pacing(r.Rate), r.Batch) }

func (r *eventsRow) measured() []measured {
	return []measured{
		{"gateway CPU, µs an event", &r.GatewayCPU},
		{"Redis CPU, µs an event", &r.RedisCPU},
		{"events/s", &r.PerSecond},
		{"latency p50, ms", &r.P50},
		{"latency p99, ms", &r.P99},
		{"bare server CPU, µs an event", &r.BareCPU},
		{"bare server, events/s", &r.BarePerSecond},
		{"bare server latency p50, ms", &r.BareP50},
		{"bare server latency p99, ms", &r.BareP99},
	}
}

// A stormRow has the figures of a storm: sockets that reconnect at once.
type stormRow struct {
	Sockets     int     `json:"sockets"`
	Missed      int     `json:"missed_events"`
	Seconds     figure  `json:"seconds"`
	BareSeconds figure  `json:"bare_seconds"`
	Goal        float64 `json:"goal_seconds"`
	Met         bool    `json:"goal_met"`
	GatewayCPU  figure  `json:"gateway_cpu_us"` // a client, as the others
	BareCPU     figure  `json:"bare_cpu_us"`
	Ratio       float64 `json:"gateway_to_bare"` // of the CPU medians
	RedisCPU    figure  `json:"redis_cpu_us"`
}

func newStormRow(sockets, missed int) *stormRow {
	return &stormRow{Sockets: sockets, Missed: missed, Goal: goalStorm}
}

func (r *stormRow) add(gateway, bare comeback) {
	r.Seconds.add(gateway.seconds)
	r.GatewayCPU.add(gateway.server)
	r.RedisCPU.add(gateway.redis)
	r.BareSeconds.add(bare.seconds)
	r.BareCPU.add(bare.server)
	r.judge()
}

func (r *stormRow) judge() {
	r.Ratio = ratio(r.GatewayCPU.Median, r.BareCPU.Median)
	r.Met = r.Seconds.Median <= r.Goal
}

func (r *stormRow) name() string {
	return fmt.Sprintf("%d sockets, %d events each", r.Sockets, r.Missed)
}

func (r *stormRow) measured() []measured {
	return []measured{
		{"gateway CPU, µs a client", &r.GatewayCPU},
		{"Redis CPU, µs a client", &r.RedisCPU},
		{"caught up, s", &r.Seconds},
		{"bare server CPU, µs a client", &r.BareCPU},
		{"bare server caught up, s", &r.BareSeconds},
	}
}

// tables implements report.
func (r *liveReport) tables(w io.Writer) error {
	m := r.Machine
	text := fmt.Sprintf("medians of %d rounds\n%s/%s, %d CPUs, %s, Redis %s with an append-only file, fsync every second\n",
		r.Settings.Rounds, m.OS, m.Arch, m.CPUs, m.Go, m.Redis)
	if r.Idle != nil {
		text += "\n" + align(r.Idle.table())
	}
	if len(r.Events) > 0 {
		text += fmt.Sprintf("\n%d sockets, one event to each of them a round\n", r.Settings.Sockets) +
			align(r.cpuTable()) + "\n" + align(r.latencyTable())
	}
	if r.Storm != nil {
		text += "\n" + align(r.Storm.table())
	}
	if r.Baseline != nil {
		text += r.Baseline.text()
	}
	_, err := io.WriteString(w, text)
	return err
}

func (r *idleRow) table() [][]string {
	return [][]string{
		{"resident memory", "gateway", "bare server", "", "bare, handler returned", ""},
		{"", "KiB a socket", "KiB", "ratio", "KiB", "goal"},
		{r.name(), tenths(r.Gateway), tenths(r.BareStays),
			fmt.Sprintf("%.2f", r.Ratio), tenths(r.BareReturns), goal(r.Goal, r.Met)},
	}
}

func (r *liveReport) cpuTable() [][]string {
	rows := [][]string{
		{"", "events/s", "", "gateway CPU", "bare server", "", "", "Redis CPU"},
		{"events a request", "gateway", "bare", "µs an event", "µs", "ratio", "goal", "µs an event"},
	}
	for _, e := range r.Events {
		rows = append(rows, []string{
			e.name(), fmt.Sprintf("%.0f", e.PerSecond.Median), fmt.Sprintf("%.0f", e.BarePerSecond.Median),
			tenths(e.GatewayCPU), tenths(e.BareCPU), fmt.Sprintf("%.2f", e.Ratio), anyGoal(e.Goal, e.Met), tenths(e.RedisCPU),
		})
	}
	return rows
}

func (r *liveReport) latencyTable() [][]string {
	rows := [][]string{
		{"latency, ms", "p50", "", "", "p99", "", ""},
		{"events a request", "gateway", "bare", "goal", "gateway", "bare", "goal"},
	}
	for _, e := range r.Events {
		rows = append(rows, []string{
			e.name(), hundredths(e.P50), hundredths(e.BareP50), anyGoal(e.GoalP50, e.MetP50),
			hundredths(e.P99), hundredths(e.BareP99), anyGoal(e.GoalP99, e.MetP99),
		})
	}
	return rows
}

func (r *stormRow) table() [][]string {
	return [][]string{
		{"all come back at once", "caught up", "bare", "", "gateway CPU", "bare server", "", "Redis CPU"},
		{"", "s", "s", "goal", "µs a client", "µs", "ratio", "µs a client"},
		{r.name(), hundredths(r.Seconds), hundredths(r.BareSeconds),
			goal(r.Goal, r.Met), tenths(r.GatewayCPU), tenths(r.BareCPU), fmt.Sprintf("%.2f", r.Ratio), tenths(r.RedisCPU)},
	}
}

func hundredths(f figure) string { return fmt.Sprintf("%.2f", f.Median) }

// anyGoal returns the text of a goal, or "" when there is none.
func anyGoal(limit float64, met bool) string {
	if limit == 0 {
		return ""
	}
	return goal(limit, met)
}
