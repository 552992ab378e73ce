package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// scaleCmd measures what an event costs with more users, more shards of Redis and more
// gateways.
//
// Each case is a world of its own, and all of them are open at the same time and take turns:
// so a machine that becomes busier meanwhile makes none of them look dearer than another. A
// round of a case publishes the same number of events, without a push and with one, spread
// over all its users. A first round is not counted.
//
// Each gateway has one request under way at a time, with as many events as make equal
// pipelines at every shard: that pipelines are shorter when the same load is spread over
// more shards is no property of the number of shards.
type scaleCmd struct {
	Users    []int         `help:"Numbers of users, with one device each; each is a case. The first one is also that of the cases with more shards and gateways." default:"1000,10000,50000"`
	Shards   []int         `help:"Masters of a Redis Cluster; each is a case beside a single Redis. The first one is what the others are compared with: a cluster itself costs an event something. 0: no such case." default:"1,3"`
	Gateways []int         `help:"Gateways on one Redis; each is a case beside a single gateway. 1: no such case." default:"4"`
	Events   int           `help:"Events that each half of a round publishes." default:"5000"`
	Batch    int           `help:"Events a request, for each shard." default:"40"`
	Rounds   int           `help:"Counted rounds; the figures are their medians." default:"3"`
	Idle     time.Duration `help:"For how long each case is watched without load." default:"3s"`
	Latency  time.Duration `help:"How long the provider takes to answer." default:"20ms"`
	Provider provider      `help:"The provider of all devices: apns or fcm." default:"apns" enum:"apns,fcm"`
	Kabar    string        `help:"The daemon to measure; built from this module when absent." type:"existingfile" placeholder:"PATH"`
	Timeout  time.Duration `help:"Give up after this time; a million users need more." default:"20m"`
}

// Bounds of the flags.
const (
	maxScaleShards   = 16 // as many as partitions by default
	maxScaleGateways = 16
	maxScaleRequest  = 1000 // events that a gateway takes in a request
)

// Validate checks the bounds of the flags.
func (c *scaleCmd) Validate() error {
	flags := []bounded{
		{"events", c.Events, 1, 1_000_000},
		{"batch", c.Batch, 1, maxScaleRequest},
		{"rounds", c.Rounds, 1, 100},
	}
	for _, n := range c.Users {
		flags = append(flags, bounded{"users", n, 1, 1_000_000})
	}
	for _, n := range c.Shards {
		flags = append(flags, bounded{"shards", n, 0, maxScaleShards})
	}
	for _, n := range c.Gateways {
		flags = append(flags, bounded{"gateways", n, 1, maxScaleGateways})
	}
	if err := within(flags); err != nil {
		return err
	}
	switch {
	case len(c.Users) == 0:
		return errors.New("--users must have a number")
	case len(c.Shards) > 0 && c.Batch*slices.Max(c.Shards) > maxScaleRequest:
		return fmt.Errorf("--batch times --shards must be at most %d", maxScaleRequest)
	case c.Idle <= 0 || c.Idle > time.Minute:
		return errors.New("--idle must be more than 0s and at most 1m0s")
	case c.Latency < 0 || c.Latency > 10*time.Second:
		return errors.New("--latency must be between 0s and 10s")
	}
	return nil
}

// cases returns what is measured.
func (c *scaleCmd) cases() []scaleCase {
	var all []scaleCase
	for _, n := range c.Users {
		all = append(all, scaleCase{Users: n, Shards: 1, Gateways: 1})
	}
	for _, n := range c.Shards {
		if n > 0 {
			all = append(all, scaleCase{Users: c.Users[0], Cluster: true, Shards: n, Gateways: 1})
		}
	}
	for _, n := range c.Gateways {
		if n > 1 {
			all = append(all, scaleCase{Users: c.Users[0], Shards: 1, Gateways: n})
		}
	}
	return all
}

// Run implements the command.
func (c *scaleCmd) Run(e *env) error {
	ctx, cancel := context.WithTimeoutCause(e.ctx, c.Timeout, fmt.Errorf("it took longer than %v", c.Timeout))
	defer cancel()
	binary, clean, err := prepare(ctx, e, c.Kabar, "")
	if err != nil {
		return err
	}
	defer clean()
	r, err := c.measure(ctx, e, binary)
	if err != nil {
		return err
	}
	return e.write(r)
}

// settings returns the flags that the report contains.
func (c *scaleCmd) settings() scaleSettings {
	return scaleSettings{
		Provider: c.Provider, Events: c.Events, Batch: c.Batch, Rounds: c.Rounds,
		LatencyMS: float64(c.Latency.Microseconds()) / 1000,
	}
}

// measure opens the worlds of all cases, and has them take turns.
func (c *scaleCmd) measure(ctx context.Context, e *env, binary string) (_ *scaleReport, err error) {
	r := &scaleReport{Scenario: "scale", Settings: c.settings(), Goal: goalScale}
	var runs []*scaleRun
	defer func() {
		for _, run := range runs {
			err = errors.Join(err, run.world.close())
		}
	}()
	for _, of := range c.cases() {
		run, err := c.open(ctx, e, binary, of)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", of, err)
		}
		runs = append(runs, run)
	}
	if r.Machine, err = runs[0].world.machine(ctx); err != nil {
		return nil, err
	}
	for _, run := range runs {
		if err := run.idle(ctx); err != nil {
			return nil, err
		}
	}
	for n := range c.Rounds + 1 { // the first one is the warm-up
		for _, run := range runs {
			if err := run.round(ctx, n > 0); err != nil {
				return nil, fmt.Errorf("%s: round %d: %w", run.row.scaleCase, n, err)
			}
			if n > 0 {
				e.progress("round %d, %s", n, &run.row)
			}
		}
		bare, err := runs[0].bare(ctx)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			r.Bare.add(bare)
		}
	}
	for _, run := range runs {
		if err := run.counted(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", run.row.scaleCase, err)
		}
		r.Rows = append(r.Rows, run.row)
	}
	r.judge()
	return r, nil
}

// A scaleRun measures one case, in processes of its own.
type scaleRun struct {
	cmd   *scaleCmd
	world *world
	to    receivers // of each half of a round
	next  int64     // number of the next event
	row   scaleRow
}

// open opens a world, and fills it with users.
func (c *scaleCmd) open(ctx context.Context, e *env, binary string, of scaleCase) (_ *scaleRun, err error) {
	e.progress("%s: registering the users' devices", of)
	w, err := openWorld(ctx, e, worldOptions{binary: binary, latency: c.Latency, cluster: of.Cluster, shards: of.Shards, gateways: of.Gateways})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	before, err := w.redis.memory(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.enrol(ctx, c.Provider, of.Users); err != nil {
		return nil, err
	}
	after, err := w.redis.memory(ctx)
	if err != nil {
		return nil, err
	}
	run := &scaleRun{cmd: c, world: w, to: spread(c.Events, of.Users), next: 1, row: scaleRow{scaleCase: of}}
	run.row.User.add((after - before) / float64(of.Users))
	return run, nil
}

// idle measures the CPU of a case that has nothing to do.
func (r *scaleRun) idle(ctx context.Context) error {
	begin := time.Now()
	m, err := startMeter(ctx, r.world.cpu, r.world.redis.cpu)
	if err != nil {
		return err
	}
	select {
	case <-time.After(r.cmd.Idle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	used, err := m.used(ctx, 1)
	if err != nil {
		return err
	}
	elapsed := float64(time.Since(begin).Microseconds())
	r.row.IdleGateway.add(100 * used[0] / elapsed)
	r.row.IdleRedis.add(100 * used[1] / elapsed)
	return nil
}

// round publishes events without a push and with one.
func (r *scaleRun) round(ctx context.Context, counts bool) error {
	batch, at := r.cmd.Batch*r.row.Shards, pace{publishers: r.row.Gateways}
	before, err := r.world.redis.memory(ctx)
	if err != nil {
		return err
	}
	stored, err := r.world.store(ctx, r.numbers(), r.to, batch, at)
	if err != nil {
		return fmt.Errorf("%s: %w", workStore, err)
	}
	pushed, err := r.world.round(ctx, r.cmd.Provider, r.numbers(), r.to, batch, at)
	if err != nil {
		return fmt.Errorf("%s: %w", workPush, err)
	}
	after, err := r.world.redis.memory(ctx)
	if err != nil {
		return err
	}
	if counts {
		r.row.add(stored, pushed, (after-before)/float64(2*r.to.n))
	}
	return nil
}

// bare runs the bare script as often as an event is stored, and returns its CPU. It says how
// fast this machine's Redis is.
func (r *scaleRun) bare(ctx context.Context) (float64, error) {
	s, err := r.world.measureStore(ctx, r.to.n, func() error {
		return r.world.runBareScript(ctx, r.next, requests(r.next, everyone(r.to.n), 1, false))
	})
	return s.cpu, err
}

// numbers returns the first number of the next events.
func (r *scaleRun) numbers() int64 {
	first := r.next
	r.next += int64(r.to.n)
	return first
}

var errWrongNumbers = errors.New("not every inbox has counted its events exactly once")

// counted checks that the unread counter of each receiver is the number of events that the
// receiver was sent.
func (r *scaleRun) counted(ctx context.Context) error {
	owed := make(map[int64]int)
	for place := range int64(r.to.n) {
		owed[r.to.user(place)] += int(r.next-1) / r.to.n
	}
	var wrong atomic.Int64
	to := slices.Sorted(maps.Keys(owed))
	err := eachUser(ctx, len(to), func(ctx context.Context, place int64) error {
		user := to[place-1]
		n, err := r.world.gateway.unread(ctx, user)
		if err == nil && n != owed[user] {
			wrong.Add(1)
		}
		return err
	})
	if n := wrong.Load(); err == nil && n > 0 {
		return fmt.Errorf("%w: of %d, %d have another number", errWrongNumbers, len(owed), n)
	}
	return err
}
