package dispatcher

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	castUsersDesc = prometheus.NewDesc("kabar_broadcast_users", "Users of a broadcast that is not over: total (as far as known), sent, skipped.",
		[]string{"service", "broadcast", "count"}, nil)
	castPushesDesc = prometheus.NewDesc("kabar_broadcast_pushes", "Pushes of a broadcast that is not over: accepted, or the reason why they failed.",
		[]string{"service", "broadcast", "outcome"}, nil)
	castRateDesc = prometheus.NewDesc("kabar_broadcast_rate", "Users told a second of late, of a broadcast that is not over.",
		[]string{"service", "broadcast"}, nil)
	castLeftDesc = prometheus.NewDesc("kabar_broadcast_left_seconds", "Time left to a broadcast at its rate of late; absent while unknown.",
		[]string{"service", "broadcast"}, nil)
	castOpenDesc = prometheus.NewDesc("kabar_broadcasts", "Broadcasts that are not over, by state.", []string{"state"}, nil)
)

// A broadcastCollector reads the progress of the broadcasts that are not over from
// Redis at each scrape, so that labels do not pile up.
type broadcastCollector struct{ d *Dispatcher }

// Describe implements prometheus.Collector.
func (*broadcastCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{castUsersDesc, castPushesDesc, castRateDesc, castLeftDesc, castOpenDesc} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. While Redis is away it collects nothing.
func (c *broadcastCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	open, err := c.d.openBroadcasts(ctx)
	if err != nil {
		return
	}
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	states := map[BroadcastState]int{BroadcastScheduled: 0, BroadcastRunning: 0, BroadcastPaused: 0}
	for _, b := range open {
		if _, open := states[b.State]; !open {
			continue // it has just ended
		}
		states[b.State]++
		service := b.Service()
		gauge(castUsersDesc, float64(b.Total), service, b.ID, "total")
		gauge(castUsersDesc, float64(b.Sent), service, b.ID, "sent")
		gauge(castUsersDesc, float64(b.Skipped), service, b.ID, "skipped")
		gauge(castPushesDesc, float64(b.Pushed), service, b.ID, "accepted")
		for reason, n := range b.Failed {
			gauge(castPushesDesc, float64(n), service, b.ID, reason)
		}
		gauge(castRateDesc, b.Pace, service, b.ID)
		if b.Left >= 0 {
			gauge(castLeftDesc, b.Left.Seconds(), service, b.ID)
		}
	}
	for state, n := range states {
		gauge(castOpenDesc, float64(n), string(state))
	}
}
