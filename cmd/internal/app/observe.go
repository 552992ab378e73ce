package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/kabar-gateway/kabar/cmd/internal/signin"
	"github.com/kabar-gateway/kabar/inbox/attachments"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// observeRedis measures every round trip to Redis, except blocking reads. Call it before the
// client is used: a cluster's client tells only of the nodes that it meets later. register
// registers the metrics.
func observeRedis(rdb redis.UniversalClient) (register func(prometheus.Registerer)) {
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "kabar_redis_seconds",
		Help:    "Round trips to Redis.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
	}, []string{"kind"})
	errors := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kabar_redis_errors_total",
		Help: "Round trips to Redis that failed.",
	})
	hook := &redisHook{
		command:  latency.WithLabelValues("command"),
		pipeline: latency.WithLabelValues("pipeline"),
		errors:   errors,
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(hook) }) // the batcher sends its pipelines to the nodes' own clients
	} else {
		rdb.AddHook(hook)
	}
	return func(reg prometheus.Registerer) { reg.MustRegister(latency, errors) }
}

// A redisLog logs the Redis client's own messages, such as every failed dial, at the debug
// level: callers log the errors that they get.
type redisLog struct{ log *slog.Logger }

// Printf implements the client's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, v...))
}

// A redisHook implements redis.Hook.
type redisHook struct {
	command, pipeline prometheus.Observer
	errors            prometheus.Counter
}

// DialHook implements redis.Hook.
func (h *redisHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			h.errors.Inc()
		}
		return conn, err
	}
}

// ProcessHook implements redis.Hook.
func (h *redisHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "xreadgroup" {
			return next(ctx, cmd)
		}
		start := time.Now()
		err := next(ctx, cmd)
		h.command.Observe(time.Since(start).Seconds())
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h *redisHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmds)
		h.pipeline.Observe(time.Since(start).Seconds())
		return err
	}
}

// notRedis reports whether an error is about something else than Redis, though it may look
// like one of Redis.
func notRedis(err error) bool {
	var bucket *attachments.BucketError
	return errors.As(err, &bucket) || errors.Is(err, signin.ErrUnavailable)
}
