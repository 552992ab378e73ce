package main

import (
	"context"
	"fmt"
	"slices"
)

// runElsewhere measures the sockets of a gateway that runs already: what its clients see.
func (c *liveCmd) runElsewhere(ctx context.Context, e *env) error {
	if err := c.fit(e); err != nil {
		return err
	}
	client, err := c.client(nil)
	if err != nil {
		return err
	}
	defer client.close()
	r := &elsewhereReport{
		Scenario: "live", URL: c.URL, Machine: localMachine(), Rounds: c.Rounds, Users: c.Sockets,
		Publishers: c.Publishers, BatchPublishers: c.BatchPublishers, what: "latency from the request to the socket",
	}
	err = c.visit(ctx, e, client, c.Sockets, func() error { return c.measureElsewhere(ctx, e, client, r) })
	if err != nil {
		return err
	}
	return e.write(r)
}

// measureElsewhere opens the sockets, and measures all that was asked for and can be seen.
func (c *liveCmd) measureElsewhere(ctx context.Context, e *env, client *client, r *elsewhereReport) error {
	s := &side{client: client, crowd: newCrowd(client, c.Sockets, true), numbers: true}
	s.crowd.base = c.base()
	defer s.crowd.drop()
	e.progress("opening %d sockets", c.Sockets)
	if err := s.crowd.connect(ctx, afresh); err != nil {
		return err
	}
	run := &liveRun{cmd: c, env: e, next: firstNumber(), gateway: s}
	if slices.Contains(c.Measure, measureEvents) {
		if err := run.eventsElsewhere(ctx, r); err != nil {
			return err
		}
	}
	if slices.Contains(c.Measure, measureStorm) {
		if err := run.stormsElsewhere(ctx, r); err != nil {
			return fmt.Errorf("storm: %w", err)
		}
	}
	return nil
}

// eventsElsewhere measures the cases that events measures.
func (r *liveRun) eventsElsewhere(ctx context.Context, into *elsewhereReport) error {
	for _, rate := range []float64{0, r.cmd.Rate} {
		for _, batch := range liveBatches {
			at := pace{r.cmd.Publishers, rate}
			if batch > 1 {
				at.publishers = r.cmd.BatchPublishers
			}
			row := elsewhereRow{Rate: rate, Batch: batch}
			for n := range r.cmd.Rounds + 1 {
				d, err := r.gateway.deliver(ctx, r.numbers(r.cmd.Sockets), at, batch)
				if err != nil {
					return fmt.Errorf("%s, %s a request: %w", pacing(rate), events(batch), err)
				}
				if n > 0 { // the first one is the warm-up
					row.add(d.perSecond, d.p50, d.p99)
					r.env.progress("%s, %s a request, round %d: %.0f events/s, p50 %.2f ms, p99 %.2f ms",
						pacing(rate), events(batch), n, d.perSecond, d.p50, d.p99)
				}
			}
			into.Events = append(into.Events, row)
		}
	}
	return nil
}

// stormsElsewhere measures how long it takes until all who come back at once have caught up.
func (r *liveRun) stormsElsewhere(ctx context.Context, into *elsewhereReport) error {
	into.Storm = &elsewhereStorm{Sockets: r.cmd.Sockets, Missed: r.cmd.Missed}
	for n := range r.cmd.Rounds + 1 {
		c, err := r.storm(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			into.Storm.Seconds.add(c.seconds)
			r.env.progress("storm, round %d: %.2f s", n, c.seconds)
		}
	}
	return nil
}
