package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// pushCmd measures the way from an event that a service publishes to the
// provider's answer.
//
// For each provider it opens a world of its own: Redis, the sandbox, the gateway,
// and users with one device each. A round publishes one event to every user, and
// is over when every push was answered and its outcome written; then the bare
// loop, a process that only calls the SDK, sends as many of the same pushes to the
// same sandbox. A first round of each kind is not counted.
//
// With a baseline, each round is a run of its own, with a warm-up of its own.
type pushCmd struct {
	baselineFlags
	elsewhereFlags

	Devices         bool          `help:"With --url: register an invented device, of the first --provider, for each user, and ask what became of its pushes. Only where the gateway's provider is a sandbox."`
	Users           int           `help:"Users, with one device each; a round publishes one event to each of them." default:"10000"`
	Rounds          int           `help:"Counted rounds; the figures are their medians." default:"3"`
	Latency         time.Duration `help:"How long the providers take to answer." default:"20ms"`
	Publishers      int           `help:"Requests under way at a time with one event each." default:"64"`
	BatchPublishers int           `help:"Requests under way at a time with 100 events each." default:"8"`
	Rate            float64       `help:"Events a second at most, to see the latency below saturation; 0: as fast as the gateway takes them." default:"0"`
	InFlight        int           `help:"Pushes under way to a provider at a time, of the gateway and of the bare loop." default:"400"`
	Provider        []provider    `help:"Providers to measure: apns, fcm." default:"apns,fcm" enum:"apns,fcm"`
	Kabar           string        `help:"The daemon to measure; built from this module when absent." type:"existingfile" placeholder:"PATH"`
	Profile         string        `help:"Write CPU profiles and stalls into this folder, of each case, from a further round." type:"path" placeholder:"DIR"`
	Timeout         time.Duration `help:"Give up after this time." default:"20m"`
}

// batches are how many events a request has.
var batches = []int{1, 100}

// Validate checks the bounds of the flags.
func (c *pushCmd) Validate() error {
	if err := within([]bounded{
		{"users", c.Users, 1, 1_000_000},
		{"rounds", c.Rounds, 1, 100},
		{"publishers", c.Publishers, 1, 1000},
		{"batch-publishers", c.BatchPublishers, 1, 1000},
		{"in-flight", c.InFlight, 1, 10_000},
	}); err != nil {
		return err
	}
	if c.Latency < 0 || c.Latency > 10*time.Second {
		return errors.New("--latency must be between 0s and 10s")
	}
	if c.Rate < 0 {
		return errors.New("--rate must not be negative")
	}
	if c.Devices && c.URL == "" {
		return errors.New("--devices needs --url")
	}
	if err := c.elsewhereFlags.check(c.Kabar, c.Profile, c.Baseline); err != nil {
		return err
	}
	return c.baselineFlags.check(c.Profile)
}

// Run implements the command.
func (c *pushCmd) Run(e *env) error {
	ctx, cancel := context.WithTimeoutCause(e.ctx, c.Timeout, fmt.Errorf("it took longer than %v", c.Timeout))
	defer cancel()
	if c.URL != "" {
		return c.runElsewhere(ctx, e)
	}
	binary, clean, err := prepare(ctx, e, c.Kabar, c.Profile)
	if err != nil {
		return err
	}
	defer clean()
	if c.Baseline != "" {
		r, err := c.compare(ctx, e, binary)
		if err != nil {
			return err
		}
		return e.write(r)
	}
	r := &pushReport{Scenario: "push", Settings: c.settings()}
	for _, p := range slices.Compact(slices.Sorted(slices.Values(c.Provider))) {
		if err := c.measure(ctx, e, binary, p, r); err != nil {
			return fmt.Errorf("%s: %w", p.title(), err)
		}
	}
	r.compareRedis()
	return e.write(r)
}

// compare measures this build and the baseline in turn.
func (c *pushCmd) compare(ctx context.Context, e *env, binary string) (*pushReport, error) {
	once := *c
	once.Rounds = 1
	r, with, err := compare(ctx, e, c.baselineFlags, binary, c.Rounds, once.args(), func() *pushReport {
		return &pushReport{Settings: once.settings()}
	})
	if err != nil {
		return nil, err
	}
	r.Settings, r.Baseline = c.settings(), with
	r.compareRedis()
	return r, nil
}

// args are the command line of the scenario with these flags, without the daemon.
func (c *pushCmd) args() []string {
	args := []string{
		"push", "--json", flag("users", c.Users), flag("rounds", c.Rounds), flag("latency", c.Latency),
		flag("publishers", c.Publishers), flag("batch-publishers", c.BatchPublishers), flag("rate", c.Rate),
		flag("in-flight", c.InFlight), flag("timeout", c.Timeout),
	}
	for _, p := range c.Provider {
		args = append(args, flag("provider", string(p)))
	}
	return args
}

// settings returns the flags that the report contains.
func (c *pushCmd) settings() pushSettings {
	return pushSettings{
		Users: c.Users, Rounds: c.Rounds, LatencyMS: float64(c.Latency.Microseconds()) / 1000,
		Publishers: c.Publishers, BatchPublishers: c.BatchPublishers, InFlight: c.InFlight, Rate: c.Rate,
	}
}

// measure opens a world for one provider and adds its figures to the report.
func (c *pushCmd) measure(ctx context.Context, e *env, binary string, p provider, r *pushReport) (err error) {
	w, err := openWorld(ctx, e, worldOptions{binary: binary, latency: c.Latency, inFlight: c.InFlight})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if r.Machine, err = w.machine(ctx); err != nil {
		return err
	}
	e.progress("%s: registering %d users' devices", p.title(), c.Users)
	if err := w.enrol(ctx, p, c.Users); err != nil {
		return err
	}
	run := &pushRun{cmd: c, env: e, world: w, provider: p, next: 1}
	for _, batch := range batches {
		row, err := run.pushes(ctx, batch)
		if err != nil {
			return fmt.Errorf("%s a request: %w", events(batch), err)
		}
		r.Pushes = append(r.Pushes, row)
	}
	if len(r.Redis) > 0 {
		return nil // the store has no providers: once is enough
	}
	for _, batch := range batches {
		row, err := run.stores(ctx, batch)
		if err != nil {
			return fmt.Errorf("publish alone, %s a request: %w", events(batch), err)
		}
		r.Redis = append(r.Redis, row)
	}
	return nil
}

// events is a number of events in words.
func events(n int) string {
	if n == 1 {
		return "1 event"
	}
	return strconv.Itoa(n) + " events"
}

// A pushRun is a run of the scenario in the world of one provider.
type pushRun struct {
	cmd      *pushCmd
	env      *env
	world    *world
	provider provider
	next     int64 // number of the next event
}

// numbers returns the first number of the next round's events.
func (r *pushRun) numbers() int64 {
	first := r.next
	r.next += int64(r.cmd.Users)
	return first
}

func (r *pushRun) pace(batch int) pace {
	if batch == 1 {
		return pace{r.cmd.Publishers, r.cmd.Rate}
	}
	return pace{r.cmd.BatchPublishers, r.cmd.Rate}
}

// round makes one round of the gateway.
func (r *pushRun) round(ctx context.Context, batch int) (outcome, error) {
	return r.world.round(ctx, r.provider, r.numbers(), everyone(r.cmd.Users), batch, r.pace(batch))
}

// pushes measures the gateway and the bare loop in turn.
func (r *pushRun) pushes(ctx context.Context, batch int) (row pushRow, err error) {
	warmUp, err := r.round(ctx, batch)
	if err != nil {
		return row, fmt.Errorf("warm-up: %w", err)
	}
	loop, err := r.startBare(ctx)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, loop.close()) }()
	if _, err := r.world.bareRound(ctx, loop, r.cmd.Users); err != nil {
		return row, fmt.Errorf("warm-up of the bare loop: %w", err)
	}
	row = newPushRow(r.provider, batch)
	for n := range r.cmd.Rounds {
		o, err := r.round(ctx, batch)
		if err != nil {
			return row, fmt.Errorf("round %d: %w", n+1, err)
		}
		bare, err := r.world.bareRound(ctx, loop, r.cmd.Users)
		if err != nil {
			return row, fmt.Errorf("round %d of the bare loop: %w", n+1, err)
		}
		row.add(o, bare)
		r.env.progress("%s, %s a request, round %d: %.0f pushes/s, gateway %.1f µs a push, bare %.1f µs, Redis %.1f µs",
			r.provider.title(), events(batch), n+1, o.pushesPerSecond, o.gateway, bare.cpu, o.redis)
	}
	if r.cmd.Profile != "" {
		takes := float64(r.cmd.Users) / warmUp.pushesPerSecond
		err = r.profile(ctx, batch, int(math.Ceil(1.5*takes)))
	}
	return row, err
}

// startBare starts a bare loop that repeats a push of the round before.
func (r *pushRun) startBare(ctx context.Context) (*bareLoop, error) {
	sample, err := r.world.sandbox.sample(ctx)
	if err != nil {
		return nil, err
	}
	return startBare(ctx, BareOptions{
		Provider:  string(r.provider),
		Addresses: r.world.sandbox.Addresses,
		Sample:    sample,
		Users:     r.cmd.Users,
		InFlight:  r.cmd.InFlight,
	}, r.env.err)
}

// profile makes a further round, not counted because profiling costs CPU too, and
// writes a profile of so many seconds from its start.
func (r *pushRun) profile(ctx context.Context, batch, seconds int) error {
	name := filepath.Join(r.cmd.Profile, fmt.Sprintf("%s-%d", r.provider, batch))
	var o outcome
	err := r.world.profile(ctx, name, seconds, func() (err error) {
		o, err = r.round(ctx, batch)
		return err
	})
	if err != nil {
		return err
	}
	r.env.progress("%s, %s a request, profiled: gateway %.1f µs a push; %s", r.provider.title(), events(batch), o.gateway, name)
	return nil
}

// stores measures what Redis does for publishing alone.
func (r *pushRun) stores(ctx context.Context, batch int) (redisRow, error) {
	row := redisRow{Work: workStore, Batch: batch, Goal: goalStore}
	for n := range r.cmd.Rounds + 1 {
		gateway, bare, err := r.world.storeRound(ctx, r.numbers(), r.cmd.Users, batch, r.pace(batch))
		if err != nil {
			return row, err
		}
		if n > 0 { // the first one is the warm-up
			row.CPU.add(gateway.cpu)
			row.Bare.add(bare.cpu)
			row.Logged.add(gateway.logged)
			row.BareLogged.add(bare.logged)
		}
	}
	return row, nil
}
