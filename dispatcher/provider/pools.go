package provider

import (
	"context"
	"errors"
	"net/http"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Pools are the connections to one provider: a [Pool] for each lane, indexed by lane.
// They share nothing.
type Pools [len(push.Lanes)]*Pool

// NewPools returns pools that have no connection yet. The lane's entry of inFlight, or
// else [DefaultInFlight], replaces o.InFlight.
func NewPools(o Options, inFlight map[push.Lane]int) Pools {
	var pools Pools
	for _, lane := range push.Lanes {
		o.InFlight = inFlight[lane]
		pools[lane] = NewPool(o)
	}
	return pools
}

// Warm opens the connections of all pools concurrently; see [Pool.Warm]. Its error joins
// those of the connections that could not be opened.
func (p *Pools) Warm(ctx context.Context) error {
	errs := make(chan error, len(p))
	for _, pool := range p {
		go func() { errs <- pool.Warm(ctx) }()
	}
	var err error
	for range p {
		err = errors.Join(err, <-errs)
	}
	return err
}

// Close closes all pools; see [Pool.Close].
func (p *Pools) Close() {
	for _, pool := range p {
		pool.Close()
	}
}

// Client returns an HTTP client for a provider's SDK. It follows no redirects: an attempt
// is one request, and no provider redirects.
func Client(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
