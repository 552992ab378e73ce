package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/devices/ratelimit"
)

// A Limiter limits how often a user, and an address, do something. [ratelimit.Limiter]
// implements it and documents the method and its errors.
type Limiter interface {
	Allow(ctx context.Context, user int64, address string) error
}

// Limits are the limits of what users can repeat. What is nil is not limited.
type Limits struct {
	Registrations Limiter // registering a device, or replacing its token
	Removals      Limiter // of devices; logging out is one
	Uploads       Limiter
}

// A limited counts requests against a limit, and those that it refuses.
type limited struct {
	limiter Limiter                // nil: none
	refused *prometheus.CounterVec // by whose limit
}

// allow counts a request against the limits of its user and address.
func (l limited) allow(r *http.Request, user int64) error {
	if l.limiter == nil {
		return nil
	}
	err := l.limiter.Allow(r.Context(), user, clientAddress(r).Addr().String())
	var limit *ratelimit.LimitError
	if errors.As(err, &limit) {
		l.refused.WithLabelValues(limit.By).Inc()
	}
	return err
}
