package dispatcher

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// metrics are what the dispatcher counts.
type metrics struct {
	accepted *prometheus.CounterVec   // by type
	stored   *prometheus.CounterVec   // by type
	pushed   *prometheus.CounterVec   // by platform, outcome, reason
	latency  *prometheus.HistogramVec // by lane
	retries  *prometheus.CounterVec   // by platform, reason
	dead     *prometheus.CounterVec   // by lane, reason
	circuit  *prometheus.GaugeVec     // by platform
	walked   *prometheus.CounterVec   // by whether the user was told

	reportsSent    *prometheus.CounterVec // by service
	reportsRetried *prometheus.CounterVec // by service, reason
	reportsDropped *prometheus.CounterVec // by service, reason
}

func newMetrics(reg prometheus.Registerer, d *Dispatcher) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		accepted: counter("kabar_events_accepted_total", "Events answered with success, repeats included.", "type"),
		stored:   counter("kabar_events_stored_total", "Events stored, one for each receiver.", "type"),
		pushed:   counter("kabar_pushes_total", "Attempts to push to a device, by the provider's answer.", "platform", "outcome", "reason"),
		retries:  counter("kabar_push_retries_total", "Pushes put off for another attempt.", "platform", "reason"),
		walked:   counter("kabar_broadcast_walked_total", "Users reached by broadcasts in this process, by what came of it: sent or skipped.", "outcome"),
		dead:     counter("kabar_dead_letters_total", "Pushes buried.", "lane", "reason"),

		reportsSent:    counter("kabar_reports_sent_total", "Reports that services' webhooks took.", "service"),
		reportsRetried: counter("kabar_report_retries_total", "Reports put off for another attempt.", "service", "reason"),
		reportsDropped: counter("kabar_reports_dropped_total", "Reports that their service will never get.", "service", "reason"),

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
	reg.MustRegister(m.latency, m.circuit, &queueCollector{d: d}, &broadcastCollector{d: d})
	return m
}

// scrapeTimeout bounds what a scrape asks of Redis.
const scrapeTimeout = 2 * time.Second

var (
	depthDesc   = prometheus.NewDesc("kabar_outbox_entries", "Entries in the outbox, those being sent included.", []string{"lane"}, nil)
	delayedDesc = prometheus.NewDesc("kabar_delayed_entries", "Entries waiting for another attempt.", []string{"lane"}, nil)
	ageDesc     = prometheus.NewDesc("kabar_outbox_oldest_seconds", "Age of the oldest entry in the outbox.", []string{"lane"}, nil)
	lettersDesc = prometheus.NewDesc("kabar_dead_letters", "Dead letters that are kept.", nil, nil)
	reportsDesc = prometheus.NewDesc("kabar_reports", "Reports waiting for their service's webhook.", []string{"service"}, nil)
)

// A queueCollector reads the depth of the outbox from Redis at each scrape.
type queueCollector struct{ d *Dispatcher }

// Describe implements prometheus.Collector.
func (*queueCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{depthDesc, delayedDesc, ageDesc, lettersDesc, reportsDesc} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. While Redis is away it collects nothing.
func (c *queueCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	d := c.d
	n := d.Partitions.Len()
	pipe := d.Redis.Pipeline()
	var depth, delayed [len(push.Lanes)][]*redis.IntCmd
	var first [len(push.Lanes)][]*redis.XMessageSliceCmd
	var letters []*redis.IntCmd
	reports := make(map[string][]*redis.IntCmd)
	for p := range n {
		for _, l := range push.Lanes {
			depth[l] = append(depth[l], pipe.XLen(ctx, d.outKey(p, l)))
			delayed[l] = append(delayed[l], pipe.ZCard(ctx, d.delayedKey(p, l)))
			first[l] = append(first[l], pipe.XRangeN(ctx, d.outKey(p, l), "-", "+", 1))
		}
		letters = append(letters, pipe.XLen(ctx, d.deadKey(p)))
		for service := range d.hooks {
			reports[service] = append(reports[service], pipe.XLen(ctx, d.reportsKey(p, service)))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return
	}
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	for _, l := range push.Lanes {
		gauge(depthDesc, sum(depth[l]), l.String())
		gauge(delayedDesc, sum(delayed[l]), l.String())
		gauge(ageDesc, oldest(first[l], d.Now()).Seconds(), l.String())
	}
	gauge(lettersDesc, sum(letters))
	for service, counts := range reports {
		gauge(reportsDesc, sum(counts), service)
	}
}

func sum(replies []*redis.IntCmd) float64 {
	var n int64
	for _, r := range replies {
		n += r.Val()
	}
	return float64(n)
}

// oldest returns the age of the oldest first entry: stream ids begin with the time.
func oldest(replies []*redis.XMessageSliceCmd, now time.Time) time.Duration {
	var age time.Duration
	for _, r := range replies {
		for _, m := range r.Val() {
			text, _, _ := strings.Cut(m.ID, "-")
			if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
				age = max(age, now.Sub(milli(ms)))
			}
		}
	}
	return age
}
