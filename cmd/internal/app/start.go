package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/cmd/internal/redischeck"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// startPause is the time between two attempts to start on a Redis that is not ready.
const startPause = time.Second

// awaitCore opens the core. It retries while this is the first start on Redis and Redis is
// not ready for it. Later starts do not wait.
func awaitCore(ctx context.Context, cfg *config.Config, senders map[push.Route]push.Sender, log *slog.Logger, reg prometheus.Registerer) (*Core, error) {
	for said := false; ; said = true {
		core, err := OpenCore(ctx, cfg, senders, log, reg)
		if !errors.Is(err, redischeck.ErrNotYet) {
			return core, err
		}
		if !said {
			log.Warn("Redis is not ready for the first start: kabar waits for it", "error", err)
		}
		if !rdb.Sleep(ctx, startPause) {
			return nil, err
		}
	}
}
