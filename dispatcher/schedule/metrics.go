package schedule

import (
	"context"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/scrape"
)

var eventsDesc = prometheus.NewDesc("kabar_scheduled_events",
	"Scheduled events, a repeat with other content counted for itself: waiting for their time, or due and not published yet.", []string{"state"}, nil)

// gauges returns a collector of the numbers of scheduled events, which are in Redis.
func (s *Schedule) gauges() prometheus.Collector {
	return scrape.New("schedule", s.now, s.count, eventsDesc)
}

// count counts the parts of scheduled events, by the clock of this process.
func (s *Schedule) count(ctx context.Context) ([]prometheus.Metric, error) {
	now := strconv.FormatInt(s.now().UnixMilli(), 10)
	var waiting, due []*redis.IntCmd
	pipe := s.redis.Pipeline()
	for p := range s.partitions.Len() {
		waiting = append(waiting, pipe.ZCount(ctx, s.waitingKey(p), "("+now, "+inf"))
		due = append(due, pipe.ZCount(ctx, s.waitingKey(p), "-inf", now), pipe.ZCard(ctx, s.takenKey(p)))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("count scheduled events: %w", err)
	}
	return []prometheus.Metric{gauge("waiting", waiting), gauge("due", due)}, nil
}

// gauge returns the sum of counts as the number of events in a state.
func gauge(state string, counts []*redis.IntCmd) prometheus.Metric {
	var n int64
	for _, c := range counts {
		n += c.Val()
	}
	return prometheus.MustNewConstMetric(eventsDesc, prometheus.GaugeValue, float64(n), state)
}
