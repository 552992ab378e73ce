package redischeck

import "github.com/prometheus/client_golang/prometheus"

var (
	writable = prometheus.NewDesc("kabar_redis_writable",
		"Whether a shard of Redis stores: 1, or 0 while it is away, full, or refuses writes.", []string{"shard"}, nil)
	offset = prometheus.NewDesc("kabar_clock_offset_seconds",
		"By how much the clock of a shard of Redis is ahead of this machine's, as far as that is certain.", []string{"shard"}, nil)
)

// Describe implements prometheus.Collector.
func (m *Monitor) Describe(descs chan<- *prometheus.Desc) {
	descs <- writable
	descs <- offset
}

// Collect implements prometheus.Collector.
func (m *Monitor) Collect(metrics chan<- prometheus.Metric) {
	for _, s := range m.Shards() {
		value := 0.0
		if s.Err == nil {
			value = 1
		}
		metrics <- prometheus.MustNewConstMetric(writable, prometheus.GaugeValue, value, s.Name)
		if s.clocked {
			metrics <- prometheus.MustNewConstMetric(offset, prometheus.GaugeValue, s.Offset.Seconds(), s.Name)
		}
	}
}
