package broadcast

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/dispatcher/scrape"
)

// newMetrics registers the metrics of broadcasts and returns the counter of the users that
// this process walks.
func newMetrics(reg prometheus.Registerer, b *Broadcasts) (walked *prometheus.CounterVec) {
	walked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kabar_broadcast_walked_total",
		Help: "Users reached by broadcasts in this process, by what came of it: sent or skipped.",
	}, []string{"outcome"})
	reg.MustRegister(walked, scrape.New("broadcasts", b.now, b.gauges, usersDesc, pushesDesc, rateDesc, leftDesc, openDesc))
	return walked
}

var (
	usersDesc = prometheus.NewDesc("kabar_broadcast_users", "Users of a broadcast that is not over: total (as far as known), sent, skipped.",
		[]string{"service", "broadcast", "count"}, nil)
	pushesDesc = prometheus.NewDesc("kabar_broadcast_pushes", "Pushes of a broadcast that is not over: accepted, or the reason why they failed.",
		[]string{"service", "broadcast", "outcome"}, nil)
	rateDesc = prometheus.NewDesc("kabar_broadcast_rate", "Users told a second of late, of a broadcast that is not over.",
		[]string{"service", "broadcast"}, nil)
	leftDesc = prometheus.NewDesc("kabar_broadcast_left_seconds", "Time left to a broadcast at its rate of late; absent while unknown.",
		[]string{"service", "broadcast"}, nil)
	openDesc = prometheus.NewDesc("kabar_broadcasts", "Broadcasts that are not over, by state.", []string{"state"}, nil)
)

// gauges returns the progress of the broadcasts that are not over, read from Redis, so that
// no labels of ended broadcasts accumulate.
func (b *Broadcasts) gauges(ctx context.Context) ([]prometheus.Metric, error) {
	open, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	var all []prometheus.Metric
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...))
	}
	states := map[State]int{Scheduled: 0, Running: 0, Paused: 0}
	for _, s := range open {
		if _, shown := states[s.State]; !shown {
			continue // it has just ended
		}
		states[s.State]++
		service := s.Service()
		gauge(usersDesc, float64(s.Total), service, s.ID, "total")
		gauge(usersDesc, float64(s.Sent), service, s.ID, "sent")
		gauge(usersDesc, float64(s.Skipped), service, s.ID, "skipped")
		gauge(pushesDesc, float64(s.Pushed), service, s.ID, "accepted")
		for reason, n := range s.Failed {
			gauge(pushesDesc, float64(n), service, s.ID, reason)
		}
		gauge(rateDesc, s.Pace, service, s.ID)
		if s.Left >= 0 {
			gauge(leftDesc, s.Left.Seconds(), service, s.ID)
		}
	}
	for state, n := range states {
		gauge(openDesc, float64(n), string(state))
	}
	return all, nil
}
