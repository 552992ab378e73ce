package main

import (
	"context"
	"fmt"
	"math"
)

// A delivery is the result of one round of events to open sockets. CPU is in µs an event,
// latencies are in ms.
type delivery struct {
	perSecond     float64
	server, redis float64
	p50, p99      float64
}

// deliver publishes one event to each of the sockets and waits until each has received its
// event, and the unread counters that follow. The error is errWrongFrames unless every
// event came once.
//
// The latency runs from the start of the request to the end of the frame's reading, both on
// this process' clock.
func (s *side) deliver(ctx context.Context, first int64, at pace, batch int) (delivery, error) {
	n := len(s.crowd.links)
	all := requests(first, s.crowd.receivers(), batch, false)
	t := s.crowd.expect(first, 1, s.numbers)
	m, err := startMeter(ctx, s.cpu...)
	if err != nil {
		return delivery{}, err
	}
	sent, err := s.client.publish(ctx, all, at)
	if err != nil {
		return delivery{}, err
	}
	if err := t.wait(ctx, s.crowd.failed); err != nil {
		return delivery{}, err
	}
	cpu, err := m.used(ctx, n)
	if err != nil {
		return delivery{}, err
	}
	latencies, took := t.latencies(sent)
	d := delivery{
		perSecond: float64(n) / took.Seconds(),
		p50:       percentile(latencies, 50),
		p99:       percentile(latencies, 99),
	}
	d.server, d.redis = serverAndRedis(cpu)
	return d, nil
}

// serverAndRedis tells the CPU of a side's server from that of its Redis. What the side does
// not have is 0.
func serverAndRedis(cpu []float64) (server, redis float64) {
	if len(cpu) > 0 {
		server = cpu[0]
	}
	if len(cpu) > 1 {
		redis = cpu[1]
	}
	return server, redis
}

// How long the CPU of each case is profiled, about, and for how many rounds at
// most.
const (
	profileSeconds = 5
	profileRounds  = 10
)

// events measures all cases: as fast as events are taken, and paced; one a request,
// and several.
func (r *liveRun) events(ctx context.Context) ([]eventsRow, error) {
	var rows []eventsRow
	for _, rate := range []float64{0, r.cmd.Rate} {
		for _, batch := range liveBatches {
			row, err := r.eventsCase(ctx, rate, batch)
			if err != nil {
				return nil, fmt.Errorf("%s, %s a request: %w", pacing(rate), events(batch), err)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// eventsCase measures the gateway and the bare server in turn.
func (r *liveRun) eventsCase(ctx context.Context, rate float64, batch int) (eventsRow, error) {
	at := pace{r.cmd.Publishers, rate}
	if batch > 1 {
		at.publishers = r.cmd.BatchPublishers
	}
	row := newEventsRow(rate, batch)
	both := func() (gateway, bare delivery, err error) {
		first := r.numbers(r.cmd.Sockets)
		if gateway, err = r.gateway.deliver(ctx, first, at, batch); err != nil {
			return gateway, bare, err
		}
		if err = r.world.endRound(ctx); err != nil {
			return gateway, bare, err
		}
		if bare, err = r.bare.deliver(ctx, first, at, batch); err != nil {
			err = fmt.Errorf("bare server: %w", err)
		}
		return gateway, bare, err
	}
	for n := range r.cmd.Rounds + 1 {
		gateway, bare, err := both()
		if err != nil {
			return row, err
		}
		if n == 0 {
			continue // the warm-up
		}
		row.add(gateway, bare)
		r.env.progress("%s, %s a request, round %d: gateway %.1f µs an event, p50 %.2f ms, p99 %.2f ms; bare %.1f µs, %.2f ms, %.2f ms; Redis %.1f µs",
			pacing(rate), events(batch), n, gateway.server, gateway.p50, gateway.p99, bare.server, bare.p50, bare.p99, gateway.redis)
	}
	if r.cmd.Profile == "" {
		return row, nil
	}
	// A profile has a sample every 10 ms: several short rounds, or a long one.
	takes := float64(r.cmd.Sockets) / row.PerSecond.Median
	rounds := min(int(math.Ceil(profileSeconds/takes)), profileRounds)
	return row, r.profile(ctx, fmt.Sprintf("live-%g-%d", rate, batch), takes*float64(rounds), func() error {
		for range rounds {
			if _, err := r.gateway.deliver(ctx, r.numbers(r.cmd.Sockets), at, batch); err != nil {
				return err
			}
		}
		return nil
	})
}

// pacing is a rate in words; 0 is as fast as events are taken.
func pacing(rate float64) string {
	if rate == 0 {
		return "saturated"
	}
	return fmt.Sprintf("%g a second", rate)
}
