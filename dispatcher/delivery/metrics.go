package delivery

import "github.com/prometheus/client_golang/prometheus"

// metrics holds the metrics of the workers.
type metrics struct {
	attempts *prometheus.CounterVec   // by platform, outcome, reason
	retries  *prometheus.CounterVec   // by platform, reason
	dead     *prometheus.CounterVec   // by lane, reason
	latency  *prometheus.HistogramVec // by lane
	circuit  *prometheus.GaugeVec     // by platform
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		attempts: counter("kabar_pushes_total", "Attempts to push to a device, by the provider's answer.", "platform", "outcome", "reason"),
		retries:  counter("kabar_push_retries_total", "Pushes put off for another attempt.", "platform", "reason"),
		dead:     counter("kabar_dead_letters_total", "Pushes buried.", "lane", "reason"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kabar_push_latency_seconds",
			Help:    "Time from accepting an event to the provider's acceptance of its push.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200},
		}, []string{"lane"}),
		circuit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kabar_circuit_open",
			Help: "1 while a provider refuses our credentials or configuration and pushes wait.",
		}, []string{"platform"}),
	}
	reg.MustRegister(m.latency, m.circuit)
	return m
}
