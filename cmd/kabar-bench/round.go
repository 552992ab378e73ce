package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// roundTimeout bounds how long a round waits for its pushes.
	roundTimeout = 2 * time.Minute
	// settleTimeout bounds how long the gateway may take to write outcomes after
	// the last push was answered.
	settleTimeout = time.Minute
)

// An outcome is the result of one round. CPU is in µs a push, latencies are in ms.
type outcome struct {
	pushesPerSecond float64
	gateway, redis  float64
	p50, p99        float64
	bytes           float64 // that the provider received, a push
	logged          float64 // bytes of the append-only file, a push
}

// A bareOutcome is the result of one round of the bare loop. CPU is in µs a push.
type bareOutcome struct {
	pushesPerSecond float64
	cpu             float64
	bytes           float64 // that the provider received, a push
}

// round publishes one event to each of the receivers and waits until every push was
// answered and its outcome is written. The error is errWrongPushes unless each
// phone got its push exactly once.
//
// A push's latency runs from the start of the request that published its event,
// on this process' clock, to the moment at which the provider begins to answer, on
// the sandbox's: both are this machine's. Where the gateway is fed as fast as it
// takes events, that includes waiting for its turn.
func (w *world) round(ctx context.Context, p provider, first int64, to receivers, batch int, at pace) (outcome, error) {
	all, n := requests(first, to, batch, true), to.n
	if err := w.sandbox.forget(ctx, n); err != nil {
		return outcome{}, err
	}
	m, err := startMeter(ctx, w.cpu, w.redis.cpu, w.sandbox.bytes, w.redis.logged)
	if err != nil {
		return outcome{}, err
	}
	sent, err := w.publish(ctx, all, at)
	if err != nil {
		return outcome{}, err
	}
	if err := w.sandbox.wait(ctx, n, roundTimeout); err != nil {
		return outcome{}, err
	}
	if err := w.settled(ctx); err != nil {
		return outcome{}, err
	}
	used, err := m.used(ctx, n)
	if err != nil {
		return outcome{}, err
	}
	receipts, err := w.sandbox.receipts(ctx)
	if err != nil {
		return outcome{}, err
	}
	latencies, took, err := match(p, first, to, sent, receipts)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		pushesPerSecond: float64(n) / took.Seconds(),
		gateway:         used[0],
		redis:           used[1],
		p50:             percentile(latencies, 50),
		p99:             percentile(latencies, 99),
		bytes:           used[2],
		logged:          used[3],
	}, w.endRound(ctx)
}

// settled waits until the gateway has written all outcomes. A timeout is no error: the
// receipts show what is missing.
func (w *world) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err := w.gateway.settled(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

var errWrongPushes = errors.New("not every phone got its push exactly once")

// match finds the push of each event among what the provider has received. It
// returns their latencies in ms, sorted, and the time from the first request to
// the last answer.
func match(p provider, first int64, to receivers, sent []time.Time, receipts []Receipt) (latencies []float64, took time.Duration, err error) {
	count := make([]int, len(sent))
	var refused, strays, missing, repeated int
	var last int64
	for _, r := range receipts {
		place := r.number() - first
		switch {
		case place < 0 || place >= int64(len(sent)) || r.Token != p.token(to.user(place)):
			strays++
			continue
		case r.Status != 200:
			refused++
			continue
		}
		count[place]++
		latencies = append(latencies, float64(r.At-sent[place].UnixNano())/1e6)
		last = max(last, r.At)
	}
	for _, n := range count {
		if n == 0 {
			missing++
		}
		repeated += max(0, n-1)
	}
	if refused+strays+missing+repeated > 0 {
		return nil, 0, fmt.Errorf("%w: of %d, %d are missing and %d came again; %d were refused, %d went elsewhere",
			errWrongPushes, len(sent), missing, repeated, refused, strays)
	}
	slices.Sort(latencies)
	begin := slices.MinFunc(sent, time.Time.Compare)
	return latencies, time.Duration(last - begin.UnixNano()), nil
}

// bareRound sends one push to each of n users through the bare loop.
func (w *world) bareRound(ctx context.Context, loop *bareLoop, n int) (o bareOutcome, err error) {
	if err := w.sandbox.forget(ctx, n); err != nil {
		return o, err
	}
	m, err := startMeter(ctx, cpuOf(loop.pid()), w.sandbox.bytes)
	if err != nil {
		return o, err
	}
	took, err := loop.push(ctx)
	if err != nil {
		return o, err
	}
	used, err := m.used(ctx, n)
	if err != nil {
		return o, err
	}
	return bareOutcome{float64(n) / took.Seconds(), used[0], used[1]}, nil
}

// A stored is what storing an event takes: CPU of Redis and of the gateway in µs, and the
// bytes of Redis' append-only file.
type stored struct{ cpu, gateway, logged float64 }

// storeRound publishes one event to each of n users that is pushed to nobody. It returns
// what Redis does for the gateway, and for the bare script with the same events.
func (w *world) storeRound(ctx context.Context, first int64, n, batch int, at pace) (gateway, bare stored, err error) {
	gateway, err = w.store(ctx, first, everyone(n), batch, at)
	if err != nil {
		return gateway, bare, err
	}
	bare, err = w.measureStore(ctx, n, func() error { return w.runBareScript(ctx, first, requests(first, everyone(n), 1, false)) })
	return gateway, bare, err
}

// store publishes one event to each of the receivers that is pushed to nobody.
func (w *world) store(ctx context.Context, first int64, to receivers, batch int, at pace) (stored, error) {
	s, err := w.measureStore(ctx, to.n, func() error {
		_, err := w.publish(ctx, requests(first, to, batch, false), at)
		return err
	})
	if err != nil {
		return s, err
	}
	return s, w.endRound(ctx)
}

// measureStore returns what each of n events takes that store stores.
func (w *world) measureStore(ctx context.Context, n int, store func() error) (s stored, err error) {
	m, err := startMeter(ctx, w.redis.cpu, w.cpu, w.redis.logged)
	if err != nil {
		return s, err
	}
	if err := store(); err != nil {
		return s, err
	}
	used, err := m.used(ctx, n)
	if err != nil {
		return s, err
	}
	return stored{used[0], used[1], used[2]}, nil
}
