package live

import "github.com/prometheus/client_golang/prometheus"

// metrics are the metrics of the hub.
type metrics struct {
	frames   prometheus.Counter
	received *prometheus.CounterVec // by op
	closed   *prometheus.CounterVec // by cause
	resumes  prometheus.Counter
	resyncs  prometheus.Counter
	catchUps prometheus.Counter
	typing   prometheus.Counter     // repeats
	renewals *prometheus.CounterVec // by reason
}

// newMetrics registers the metrics. sockets returns how many sockets are open.
func newMetrics(reg prometheus.Registerer, sockets func() int64) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		reg.MustRegister(c)
		return c
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kabar_live_sockets", Help: "Open sockets.",
	}, func() float64 { return float64(sockets()) }))
	return &metrics{
		frames:   counter("kabar_live_frames_sent_total", "Frames written to sockets, pings included."),
		received: vector("kabar_live_frames_received_total", "Frames received from clients.", "op"),
		closed: vector("kabar_live_sockets_closed_total",
			"Sockets that were closed, by our close code, or client, lost, silent, stuck.", "why"),
		resumes:  counter("kabar_live_resumes_total", "Sockets that came back with since."),
		resyncs:  counter("kabar_live_resyncs_total", "Gaps that were larger than the replay log."),
		catchUps: counter("kabar_live_catch_ups_total", "Times that an open socket had to read the replay log."),
		typing:   counter("kabar_live_typing_repeats_total", "Frames that say that a user is typing, and that were not passed on since the partner had just been told."),
		renewals: vector("kabar_live_bus_renewals_total",
			"Times that a pub/sub connection was renewed: it was lost, silent (no answer to a ping), deaf (heartbeats did not come back), or its channels had moved.", "reason"),
	}
}

// registerConnections registers gauges of the pub/sub connections. count returns how
// many there are, and how many of them are silent.
func registerConnections(reg prometheus.Registerer, count func() (all, silent int)) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kabar_live_bus_connections", Help: "Pub/sub connections.",
		}, func() float64 { all, _ := count(); return float64(all) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kabar_live_bus_silent_connections", Help: "Pub/sub connections that are down, or whose last heartbeat did not come back.",
		}, func() float64 { _, silent := count(); return float64(silent) }))
}
