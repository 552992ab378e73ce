package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// missedBatch is the size of the batches that are published while no socket is open. This is
// not measured.
const missedBatch = 100

// A comeback is the result of one storm: the seconds until all clients have caught up, and
// CPU in µs a client.
type comeback struct {
	seconds       float64
	server, redis float64
}

// comeBack opens the sockets of all users at once, and waits until each has received what
// it missed, from the event with the number first on.
func (s *side) comeBack(ctx context.Context, first int64, missed int, query func(user int64) string) (comeback, error) {
	n := len(s.crowd.links)
	t := s.crowd.expect(first, missed, false)
	m, err := startMeter(ctx, s.cpu...)
	if err != nil {
		return comeback{}, err
	}
	start := time.Now()
	if err := s.crowd.connect(ctx, query); err != nil {
		return comeback{}, err
	}
	if err := t.wait(ctx, s.crowd.failed); err != nil {
		return comeback{}, err
	}
	took := time.Since(start)
	cpu, err := m.used(ctx, n)
	if err != nil {
		return comeback{}, err
	}
	c := comeback{seconds: took.Seconds()}
	c.server, c.redis = serverAndRedis(cpu)
	return c, nil
}

// miss drops the gateway's sockets and publishes what their users miss. It returns
// the number of the first event.
func (r *liveRun) miss(ctx context.Context) (first int64, err error) {
	users, missed := r.cmd.Sockets, r.cmd.Missed
	first = r.numbers(users * missed)
	r.gateway.crowd.drop()
	if err := r.gateway.client.empty(ctx); err != nil {
		return 0, err
	}
	for k := range missed {
		all := requests(first+int64(k*users), r.gateway.crowd.receivers(), missedBatch, false)
		if _, err := r.gateway.client.publish(ctx, all, pace{publishers: r.cmd.BatchPublishers}); err != nil {
			return 0, err
		}
	}
	return first, nil
}

// storm reconnects all users to the gateway.
func (r *liveRun) storm(ctx context.Context) (comeback, error) {
	first, err := r.miss(ctx)
	if err != nil {
		return comeback{}, err
	}
	c, err := r.gateway.comeBack(ctx, first, r.cmd.Missed, r.gateway.crowd.resume)
	if err != nil {
		return c, err
	}
	return c, r.world.endRound(ctx)
}

// bareStorm reconnects all users to the bare server, which sends each as many frames.
func (r *liveRun) bareStorm(ctx context.Context) (comeback, error) {
	users, missed := r.cmd.Sockets, r.cmd.Missed
	first := r.numbers(users * missed)
	r.bare.crowd.drop()
	if err := r.server.holds(ctx, 0); err != nil {
		return comeback{}, err
	}
	return r.bare.comeBack(ctx, first, missed, func(user int64) string {
		return url.Values{
			"missed": {strconv.Itoa(missed)},
			"first":  {strconv.FormatInt(first+user-1, 10)},
			"step":   {strconv.Itoa(users)},
		}.Encode()
	})
}

// storms measures the gateway and the bare server in turn.
func (r *liveRun) storms(ctx context.Context) (*stormRow, error) {
	row := newStormRow(r.cmd.Sockets, r.cmd.Missed)
	for n := range r.cmd.Rounds + 1 {
		gateway, err := r.storm(ctx)
		if err != nil {
			return nil, err
		}
		bare, err := r.bareStorm(ctx)
		if err != nil {
			return nil, fmt.Errorf("bare server: %w", err)
		}
		if n == 0 {
			continue // the warm-up
		}
		row.add(gateway, bare)
		r.env.progress("storm, round %d: gateway %.2f s, %.1f µs a client; bare %.2f s, %.1f µs; Redis %.1f µs",
			n, gateway.seconds, gateway.server, bare.seconds, bare.server, gateway.redis)
	}
	if r.cmd.Profile == "" {
		return row, nil
	}
	first, err := r.miss(ctx)
	if err != nil {
		return nil, err
	}
	return row, r.profile(ctx, "live-storm", row.Seconds.Median, func() error {
		_, err := r.gateway.comeBack(ctx, first, r.cmd.Missed, r.gateway.crowd.resume)
		return err
	})
}
