package main

import (
	"fmt"
	"io"
)

// goalLanes is the maximum of the urgent lane's p99 during a broadcast, relative to its p99
// alone.
const goalLanes = 1.2

// A broadcastReport is the result of the scenario broadcast.
type broadcastReport struct {
	Scenario string            `json:"scenario"`
	Machine  machine           `json:"machine"`
	Settings broadcastSettings `json:"settings"`
	Alone    laneRow           `json:"alone"`
	During   laneRow           `json:"during_broadcast"`
	P50Ratio float64           `json:"p50_during_to_alone"` // of the medians, as the next
	P99Ratio float64           `json:"p99_during_to_alone"`
	Goal     float64           `json:"goal_p99_during_to_alone"`
	Met      bool              `json:"goal_met"`
}

// broadcastSettings are the flags that influence the figures.
type broadcastSettings struct {
	Provider      provider `json:"provider"`
	Users         int      `json:"users"`
	BroadcastRate int      `json:"broadcast_users_per_second"`
	Rate          float64  `json:"urgent_events_per_second"`
	MeasureS      float64  `json:"measure_s"`
	Rounds        int      `json:"rounds"`
	LatencyMS     float64  `json:"provider_latency_ms"`
	Publishers    int      `json:"publishers"`
}

// A laneRow has the figures of the urgent lane. Latencies are in ms, CPU is user and system
// time of the process in per cent of a core.
type laneRow struct {
	P50                figure `json:"urgent_latency_p50_ms"`
	P99                figure `json:"urgent_latency_p99_ms"`
	UrgentPerSecond    figure `json:"urgent_pushes_per_second"`
	BroadcastPerSecond figure `json:"broadcast_pushes_per_second"` // 0 where there is none
	GatewayCPU         figure `json:"gateway_cpu_percent"`
	RedisCPU           figure `json:"redis_cpu_percent"`
}

func (r *laneRow) add(o laneOutcome) {
	r.P50.add(o.p50)
	r.P99.add(o.p99)
	r.UrgentPerSecond.add(o.urgentPerSecond)
	r.BroadcastPerSecond.add(o.broadcastPerSecond)
	r.GatewayCPU.add(o.gateway)
	r.RedisCPU.add(o.redis)
}

// add notes both halves of a round.
func (r *broadcastReport) add(alone, during laneOutcome) {
	r.Alone.add(alone)
	r.During.add(during)
	r.P50Ratio = ratio(r.During.P50.Median, r.Alone.P50.Median)
	r.P99Ratio = ratio(r.During.P99.Median, r.Alone.P99.Median)
	r.Met = r.P99Ratio <= r.Goal
}

// tables implements report.
func (r *broadcastReport) tables(w io.Writer) error {
	m, s := r.Machine, r.Settings
	_, err := fmt.Fprintf(w, "%g urgent events a second for %g s, a broadcast to %d users at %d a second, %s answers in %g ms, medians of %d rounds\n"+
		"%s/%s, %d CPUs, %s, Redis %s with an append-only file, fsync every second\n\n%s",
		s.Rate, s.MeasureS, s.Users, s.BroadcastRate, s.Provider.title(), s.LatencyMS, s.Rounds,
		m.OS, m.Arch, m.CPUs, m.Go, m.Redis, align(r.table()))
	return err
}

func (r *broadcastReport) table() [][]string {
	row := func(name string, l laneRow) []string {
		return []string{
			name, hundredths(l.P50), hundredths(l.P99), "",
			fmt.Sprintf("%.0f", l.UrgentPerSecond.Median), fmt.Sprintf("%.0f", l.BroadcastPerSecond.Median),
			tenths(l.GatewayCPU), tenths(l.RedisCPU),
		}
	}
	return [][]string{
		{"urgent pushes", "latency", "ms", "", "pushes/s", "", "CPU", "% of a core"},
		{"", "p50", "p99", "goal", "urgent", "broadcast", "gateway", "Redis"},
		row("alone", r.Alone),
		row("during a broadcast", r.During),
		{"ratio", fmt.Sprintf("%.2f", r.P50Ratio), fmt.Sprintf("%.2f", r.P99Ratio), goal(r.Goal, r.Met), "", "", "", ""},
	}
}
