package report

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// metrics are the counters of reports. Their labels are the service and, where noted, the
// reason.
type metrics struct {
	sent    *prometheus.CounterVec
	retried *prometheus.CounterVec // with the reason
	dropped *prometheus.CounterVec // with the reason
}

func newMetrics(reg prometheus.Registerer, r *Reports) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	reg.MustRegister(collector{r})
	return &metrics{
		sent:    counter("kabar_reports_sent_total", "Reports that services' webhooks took.", "service"),
		retried: counter("kabar_report_retries_total", "Reports put off for another attempt.", "service", "reason"),
		dropped: counter("kabar_reports_dropped_total", "Reports that their service will never get.", "service", "reason"),
	}
}

// scrapeTimeout bounds the calls to Redis of one scrape.
const scrapeTimeout = 2 * time.Second

var queuedDesc = prometheus.NewDesc("kabar_reports", "Reports waiting for their service's webhook.", []string{"service"}, nil)

// A collector counts the reports that wait in Redis at each scrape.
type collector struct{ r *Reports }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) { ch <- queuedDesc }

// Collect implements prometheus.Collector. It collects nothing while Redis does not answer.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	if len(c.r.senders) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	pipe := c.r.redis.Pipeline()
	queued := make(map[string][]*redis.IntCmd)
	for service := range c.r.senders {
		for p := range c.r.partitions.Len() {
			queued[service] = append(queued[service], pipe.XLen(ctx, c.r.streamKey(p, service)))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return
	}
	for service, replies := range queued {
		var n int64
		for _, reply := range replies {
			n += reply.Val()
		}
		ch <- prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(n), service)
	}
}
