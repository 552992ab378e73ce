// Package scrape collects gauges whose values are in Redis, for Prometheus.
package scrape

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// timeout bounds the wait of one scrape for Redis.
const timeout = 5 * time.Second

// A Collector reads gauges at each scrape. While Redis does not answer, it collects the last
// values that it has read, so that the gauges do not vanish and alerts on them go on. The
// gauge kabar_gauges_age_seconds says how old the values are. Scrapes at the same time share
// one read. Its methods are safe for concurrent use.
type Collector struct {
	read  func(context.Context) ([]prometheus.Metric, error)
	now   func() time.Time
	descs []*prometheus.Desc
	age   *prometheus.Desc

	lock chan struct{} // holds an element while one goroutine uses what follows
	last []prometheus.Metric
	good time.Time // when last was read; before the first time, when the collector was made
	done time.Time // when a read ended, by the monotonic clock
}

// New returns a collector of the gauges that descs describe. of is the value of the label of
// kabar_gauges_age_seconds. read returns all gauges or an error; its ctx ends after 5 s, and
// then it must return.
func New(of string, now func() time.Time, read func(context.Context) ([]prometheus.Metric, error), descs ...*prometheus.Desc) *Collector {
	return &Collector{
		read: read, now: now, descs: descs, good: now(), lock: make(chan struct{}, 1),
		age: prometheus.NewDesc("kabar_gauges_age_seconds",
			"Age of the values that the gauges read from Redis show: how long Redis has not answered.", nil, prometheus.Labels{"of": of}),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		ch <- desc
	}
	ch <- c.age
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	arrived := time.Now()
	c.lock <- struct{}{} // while another scrape reads, which ends after timeout
	if !c.done.After(arrived) {
		c.refresh()
	}
	metrics, age := c.last, c.now().Sub(c.good)
	<-c.lock
	for _, m := range metrics {
		ch <- m
	}
	ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, max(0, age.Seconds()))
}

// refresh reads the gauges. The caller holds the lock.
func (c *Collector) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if metrics, err := c.read(ctx); err == nil {
		c.last, c.good = metrics, c.now()
	}
	c.done = time.Now()
}
