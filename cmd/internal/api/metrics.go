package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

// metrics holds the metrics of the handler.
type metrics struct {
	requests       *prometheus.CounterVec   // by route, method, status
	seconds        *prometheus.HistogramVec // by route, method
	refused        *prometheus.CounterVec   // registrations and removals, by whose limit
	uploadsRefused *prometheus.CounterVec   // by whose limit
	unknown        *prometheus.CounterVec   // by service, result
	signInsRefused *prometheus.CounterVec   // by limit
	origins        *prometheus.CounterVec   // of refused pages, by kind of request
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kabar_http_requests_total",
			Help: "HTTP requests answered.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kabar_http_request_seconds",
			Help:    "Time from a request's header to the last byte of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "method"}),
	}
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kabar_registrations_refused_total",
		Help: "Registrations and removals of devices refused because of a limit.",
	}, []string{"by"})
	for _, by := range []string{"user", "address"} {
		m.refused.WithLabelValues(by)
	}
	m.uploadsRefused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kabar_uploads_refused_total",
		Help: "Uploads refused because of a limit: the rate of a user or an address, or the quota of a user.",
	}, []string{"by"})
	for _, by := range []string{"user", "address", byQuota} {
		m.uploadsRefused.WithLabelValues(by)
	}
	m.unknown = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kabar_events_with_unknown_members_total",
		Help: "Events with members that Kabar does not know, such as misspelt ones.",
	}, []string{"service", "result"})
	m.signInsRefused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kabar_sign_ins_refused_total",
		Help: "Sign-ins refused because too many from their address have failed: as one user, as too many users (address), or because the upstream was asked too often (upstream).",
	}, []string{"limit"})
	for _, limit := range []credentials.Limit{credentials.LimitFailures, credentials.LimitUsers, credentials.LimitCalls} {
		m.signInsRefused.WithLabelValues(string(limit))
	}
	m.origins = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kabar_origins_refused_total",
		Help: "Requests of pages refused because their origin is not allowed: preflight requests, and sockets.",
	}, []string{"kind"})
	for _, kind := range []string{aPreflight, aSocket} {
		m.origins.WithLabelValues(kind)
	}
	reg.MustRegister(m.requests, m.seconds, m.refused, m.uploadsRefused, m.unknown, m.signInsRefused, m.origins)
	return m
}

// observer counts the requests of one route. The counter of the usual status is looked up
// in advance.
type observer struct {
	requests *prometheus.CounterVec // by status
	seconds  prometheus.Observer
	usual    prometheus.Counter
	status   int // the usual one
}

func (m *metrics) route(pattern, method string, usual int) *observer {
	requests := m.requests.MustCurryWith(prometheus.Labels{"route": pattern, "method": method})
	return &observer{
		requests: requests,
		seconds:  m.seconds.WithLabelValues(pattern, method),
		usual:    requests.WithLabelValues(strconv.Itoa(usual)),
		status:   usual,
	}
}

func (o *observer) observe(status int, took time.Duration) {
	if status == o.status {
		o.usual.Inc()
	} else {
		o.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	}
	o.seconds.Observe(took.Seconds())
}
