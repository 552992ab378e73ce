package delivery

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// metrics holds the metrics of the workers.
type metrics struct {
	attempts    *prometheus.CounterVec   // by route, outcome, reason
	retries     *prometheus.CounterVec   // by route, reason
	dead        *prometheus.CounterVec   // by route, lane, reason
	latency     *prometheus.HistogramVec // by lane
	circuit     *prometheus.GaugeVec     // by route
	paused      *prometheus.GaugeVec     // by route, lane
	storm       *prometheus.GaugeVec     // by route
	unreachable *prometheus.GaugeVec     // by route
	suspects    *prometheus.CounterVec   // by route, reason
	forgotten   *prometheus.CounterVec   // by route, reason
}

// routed returns the labels of a metric by route, and further ones.
func routed(further ...string) []string {
	return append([]string{"app", "platform", "environment"}, further...)
}

// of returns the values of the labels of a route, and those of further labels.
func of(r push.Route, further ...string) []string {
	return append([]string{r.App, r.Platform, r.Environment}, further...)
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		attempts: counter("kabar_pushes_total", "Attempts to push to a device, by the provider's answer.", routed("outcome", "reason")...),
		retries:  counter("kabar_push_retries_total", "Pushes put off for another attempt.", routed("reason")...),
		dead:     counter("kabar_dead_letters_total", "Pushes that became dead letters.", routed("lane", "reason")...),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kabar_push_latency_seconds",
			Help:    "Time from accepting an event to the provider's acceptance of its push.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200},
		}, []string{"lane"}),
		circuit:     gauge("kabar_circuit_open", "1 while a provider does not accept our pushes, and they wait.", routed()...),
		paused:      gauge("kabar_lane_paused", "1 while a lane pauses because the provider asked to send less.", routed("lane")...),
		storm:       gauge("kabar_dead_token_storm", "1 while a provider calls so many device tokens dead that devices are forgotten later, or not at all.", routed()...),
		unreachable: gauge("kabar_provider_unreachable", "1 while a provider does not answer this gateway.", routed()...),
		suspects:    counter("kabar_suspect_devices_total", "Devices whose token a provider called dead for the first time.", routed("reason")...),
		forgotten:   counter("kabar_forgotten_devices_total", "Devices that were forgotten because their token is dead.", routed("reason")...),
	}
	reg.MustRegister(m.latency)
	return m
}
