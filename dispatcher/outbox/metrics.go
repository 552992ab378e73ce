package outbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/scrape"
)

var (
	entriesDesc = prometheus.NewDesc("kabar_outbox_entries", "Entries in the outbox, those being sent included.", []string{"lane"}, nil)
	delayedDesc = prometheus.NewDesc("kabar_delayed_entries", "Entries waiting for another attempt, those waiting for a circuit included.", []string{"lane"}, nil)
	oldestDesc  = prometheus.NewDesc("kabar_outbox_oldest_seconds", "Age of the oldest entry in the outbox.", []string{"lane"}, nil)
	unsentDesc  = prometheus.NewDesc("kabar_unsent_oldest_seconds", "Age, since its event was accepted, of the oldest push that is neither sent nor given up, delayed ones included.", []string{"lane"}, nil)
	deadDesc    = prometheus.NewDesc("kabar_dead_letters", "Dead letters that are kept.", nil, nil)
)

// NewCollector returns a collector of the depth and age of an outbox.
func NewCollector(o *Outbox) prometheus.Collector {
	return scrape.New("outbox", o.now, o.gauges, entriesDesc, delayedDesc, oldestDesc, unsentDesc, deadDesc)
}

// gauges reads the depth and age of the outbox from Redis.
func (o *Outbox) gauges(ctx context.Context) ([]prometheus.Metric, error) {
	pipe := o.redis.Pipeline()
	var depth, delayed [len(push.Lanes)][]*redis.IntCmd
	var first [len(push.Lanes)][]*redis.XMessageSliceCmd
	var index [len(push.Lanes)][]*redis.ZSliceCmd
	var letters []*redis.IntCmd
	for p := range o.partitions.Len() {
		for _, l := range push.Lanes {
			depth[l] = append(depth[l], pipe.XLen(ctx, o.StreamKey(p, l)))
			for _, key := range o.delayedKeys(p, l, o.routes.all()) {
				delayed[l] = append(delayed[l], pipe.ZCard(ctx, key))
			}
			first[l] = append(first[l], pipe.XRangeN(ctx, o.StreamKey(p, l), "-", "+", 1))
			index[l] = append(index[l], pipe.ZRangeWithScores(ctx, o.unsentKey(p, l), 0, 0))
		}
		letters = append(letters, pipe.XLen(ctx, o.deadKey(p)))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("measure the outbox: %w", err)
	}
	var all []prometheus.Metric
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...))
	}
	for _, l := range push.Lanes {
		gauge(entriesDesc, float64(sum(depth[l])), l.String())
		gauge(delayedDesc, float64(sum(delayed[l])), l.String())
		gauge(oldestDesc, oldest(first[l], o.now()).Seconds(), l.String())
		gauge(unsentDesc, unsentAge(index[l], first[l], o.now()).Seconds(), l.String())
	}
	gauge(deadDesc, float64(sum(letters)))
	return all, nil
}

func sum(replies []*redis.IntCmd) int64 {
	var n int64
	for _, r := range replies {
		n += r.Val()
	}
	return n
}

// oldest returns the age of the oldest first entry.
func oldest(replies []*redis.XMessageSliceCmd, now time.Time) time.Duration {
	var age time.Duration
	for _, r := range replies {
		for _, m := range r.Val() {
			age = max(age, now.Sub(idTime(m.ID)))
		}
	}
	return age
}

// idTime returns the time with which the id of a stream's entry begins.
func idTime(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	ms, _ := strconv.ParseInt(text, 10, 64) // an id of Redis
	return time.UnixMilli(ms)
}
