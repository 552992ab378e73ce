package report

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/scrape"
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
	reg.MustRegister(scrape.New("reports", r.now, r.gauges, queuedDesc))
	return &metrics{
		sent:    counter("kabar_reports_sent_total", "Reports that services' webhooks took.", "service"),
		retried: counter("kabar_report_retries_total", "Reports put off for another attempt.", "service", "reason"),
		dropped: counter("kabar_reports_dropped_total", "Reports that their service will never get.", "service", "reason"),
	}
}

var queuedDesc = prometheus.NewDesc("kabar_reports", "Reports waiting for their service's webhook.", []string{"service"}, nil)

// gauges counts the reports that wait in Redis.
func (r *Reports) gauges(ctx context.Context) ([]prometheus.Metric, error) {
	if len(r.senders) == 0 {
		return nil, nil
	}
	pipe := r.redis.Pipeline()
	queued := make(map[string][]*redis.IntCmd)
	for service := range r.senders {
		for p := range r.partitions.Len() {
			queued[service] = append(queued[service], pipe.XLen(ctx, r.streamKey(p, service)))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("count reports: %w", err)
	}
	var all []prometheus.Metric
	for service, replies := range queued {
		var n int64
		for _, reply := range replies {
			n += reply.Val()
		}
		all = append(all, prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(n), service))
	}
	return all, nil
}
