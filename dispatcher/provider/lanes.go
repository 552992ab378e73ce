package provider

import (
	"context"
	"errors"
	"net/http"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Lanes are the pools of one provider, a lane each: they share nothing.
type Lanes [len(push.Lanes)]*Pool

// NewLanes returns pools that have no connection yet. inFlight takes the place
// of o.InFlight; lanes that it leaves out get [DefaultInFlight].
func NewLanes(o Options, inFlight map[push.Lane]int) Lanes {
	var l Lanes
	for _, lane := range push.Lanes {
		o.InFlight = inFlight[lane]
		l[lane] = NewPool(o)
	}
	return l
}

// Warm warms all pools up at once.
func (l *Lanes) Warm(ctx context.Context) error {
	errs := make(chan error, len(l))
	for _, p := range l {
		go func() { errs <- p.Warm(ctx) }()
	}
	var err error
	for range l {
		err = errors.Join(err, <-errs)
	}
	return err
}

// Close closes all pools.
func (l *Lanes) Close() {
	for _, p := range l {
		p.Close()
	}
}

// Client returns a client for an SDK that follows no redirects: an attempt is
// one request, and neither provider redirects.
func Client(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
