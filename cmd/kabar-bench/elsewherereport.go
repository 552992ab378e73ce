package main

import (
	"fmt"
	"io"
)

// An elsewhereReport is the result of a scenario that measured a gateway elsewhere. It has
// what can be seen from here: no CPU, no memory, no bytes, no bare limit.
type elsewhereReport struct {
	Scenario        string          `json:"scenario"`
	URL             string          `json:"url"`
	Machine         machine         `json:"load_generator"`
	Rounds          int             `json:"rounds"`
	Users           int             `json:"users"`
	Publishers      int             `json:"publishers"`
	BatchPublishers int             `json:"batch_publishers"`
	Events          []elsewhereRow  `json:"events,omitempty"`
	Storm           *elsewhereStorm `json:"storm,omitempty"`

	what string // what the latencies of the events are
}

// An elsewhereRow holds the figures of one case. Latencies are in ms: of live those from the
// request to the socket, of push those of the request itself, by the clock here. Those of a
// push run from storing the event to the provider's answer, by the gateway's clock.
type elsewhereRow struct {
	Rate      float64 `json:"paced_events_per_second"` // 0: as fast as they are taken
	Batch     int     `json:"events_per_request"`
	PerSecond figure  `json:"events_per_second"`
	P50       figure  `json:"latency_p50_ms"`
	P99       figure  `json:"latency_p99_ms"`
	PushP50   figure  `json:"push_latency_p50_ms,omitzero"` // with devices alone
	PushP99   figure  `json:"push_latency_p99_ms,omitzero"`
}

func (r *elsewhereRow) add(perSecond, p50, p99 float64) {
	r.PerSecond.add(perSecond)
	r.P50.add(p50)
	r.P99.add(p99)
}

// An elsewhereStorm says how long clients that come back at once take to catch up.
type elsewhereStorm struct {
	Sockets int    `json:"sockets"`
	Missed  int    `json:"missed_events"`
	Seconds figure `json:"seconds"`
}

// tables implements report.
func (r *elsewhereReport) tables(w io.Writer) error {
	m := r.Machine
	text := fmt.Sprintf("%s of %s, %d users, medians of %d rounds, seen from %s/%s, %d CPUs, %s\n"+
		"(CPU, memory and bytes of a gateway elsewhere cannot be measured)\n",
		r.Scenario, r.URL, r.Users, r.Rounds, m.OS, m.Arch, m.CPUs, m.Go)
	if len(r.Events) > 0 {
		text += "\n" + align(r.eventTable())
	}
	if s := r.Storm; s != nil {
		text += fmt.Sprintf("\nall come back at once: %d sockets caught up on %d events each in %.2f s\n", s.Sockets, s.Missed, s.Seconds.Median)
	}
	_, err := io.WriteString(w, text)
	return err
}

func (r *elsewhereReport) eventTable() [][]string {
	pushes := len(r.Events[0].PushP50.Rounds) > 0
	rows := [][]string{{r.what + ", ms", "events/s", "p50", "p99"}}
	if pushes {
		rows[0] = append(rows[0], "stored to answered, p50", "p99")
	}
	for _, e := range r.Events {
		cells := []string{
			fmt.Sprintf("%s, %d a request", pacing(e.Rate), e.Batch), fmt.Sprintf("%.0f", e.PerSecond.Median), hundredths(e.P50), hundredths(e.P99),
		}
		if pushes {
			cells = append(cells, tenths(e.PushP50), tenths(e.PushP99))
		}
		rows = append(rows, cells)
	}
	return rows
}
