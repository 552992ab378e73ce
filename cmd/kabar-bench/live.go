package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"
)

// liveCmd measures the live sockets of one gateway, and in turn the same on a bare server,
// within the same run.
//
// The clients are in this process and as light as can be. A first round of each kind is not
// counted, save for the memory, which is that of a fresh process each time. With a
// baseline, each round is a run of its own, with a warm-up of its own.
type liveCmd struct {
	baselineFlags
	elsewhereFlags

	Idle            int           `help:"Idle sockets, one a user, whose memory is measured." default:"10000"`
	Sockets         int           `help:"Open sockets, one a user; a round publishes one event to each of them." default:"5000"`
	Missed          int           `help:"Events that each user misses before all come back at once." default:"10"`
	Rounds          int           `help:"Counted rounds; the figures are their medians." default:"3"`
	Publishers      int           `help:"Requests under way at a time with one event each." default:"64"`
	BatchPublishers int           `help:"Requests under way at a time with 20 events each." default:"8"`
	Rate            float64       `help:"Events a second of the paced rounds." default:"1000"`
	Settle          time.Duration `help:"Between two collections of garbage, while memory settles." default:"500ms"`
	Measure         []string      `help:"What to measure: idle, events, storm." default:"idle,events,storm" enum:"idle,events,storm"`
	Kabar           string        `help:"The daemon to measure; built from this module when absent." type:"existingfile" placeholder:"PATH"`
	Profile         string        `help:"Write profiles of the gateway into this folder, of each case, from a further round: CPU, stalls, and the heap of idle sockets." type:"path" placeholder:"DIR"`
	Timeout         time.Duration `help:"Give up after this time." default:"20m"`
}

// What can be measured.
const (
	measureIdle   = "idle"
	measureEvents = "events"
	measureStorm  = "storm"
)

// liveBatches are how many events a request has.
var liveBatches = []int{1, 20}

// Validate checks the bounds of the flags.
func (c *liveCmd) Validate() error {
	if err := within([]bounded{
		{"idle", c.Idle, 1, 25_000}, // as many ports as a client has to one address
		{"sockets", c.Sockets, 1, 10_000},
		{"missed", c.Missed, 1, 100}, // the log keeps more
		{"rounds", c.Rounds, 1, 100},
		{"publishers", c.Publishers, 1, 1000},
		{"batch-publishers", c.BatchPublishers, 1, 1000},
	}); err != nil {
		return err
	}
	if c.Rate <= 0 || c.Rate > 1e6 {
		return errors.New("--rate must be more than 0 and at most 1000000")
	}
	if c.Settle <= 0 || c.Settle > time.Minute {
		return errors.New("--settle must be more than 0s and at most 1m0s")
	}
	if err := c.elsewhereFlags.check(c.Kabar, c.Profile, c.Baseline); err != nil {
		return err
	}
	if c.URL != "" && !slices.ContainsFunc(c.Measure, func(m string) bool { return m != measureIdle }) {
		return errors.New("--measure=idle needs a gateway of our own: the memory of another one is not seen")
	}
	return c.baselineFlags.check(c.Profile)
}

// Run implements the command.
func (c *liveCmd) Run(e *env) error {
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
	if err := c.fit(e); err != nil {
		return err
	}
	if c.Baseline != "" {
		r, err := c.compare(ctx, e, binary)
		if err != nil {
			return err
		}
		return e.write(r)
	}
	r := &liveReport{Scenario: "live", Settings: c.settings()}
	if err := c.measure(ctx, e, binary, r); err != nil {
		return err
	}
	return e.write(r)
}

// compare measures this build and the baseline in turn.
func (c *liveCmd) compare(ctx context.Context, e *env, binary string) (*liveReport, error) {
	once := *c
	once.Rounds = 1
	r, with, err := compare(ctx, e, c.baselineFlags, binary, c.Rounds, once.args(), func() *liveReport {
		return &liveReport{Settings: once.settings()}
	})
	if err != nil {
		return nil, err
	}
	r.Settings, r.Baseline = c.settings(), with
	return r, nil
}

// args are the command line of the scenario with these flags, without the daemon.
func (c *liveCmd) args() []string {
	args := []string{
		"live", "--json", flag("idle", c.Idle), flag("sockets", c.Sockets), flag("missed", c.Missed), flag("rounds", c.Rounds),
		flag("publishers", c.Publishers), flag("batch-publishers", c.BatchPublishers), flag("rate", c.Rate),
		flag("settle", c.Settle), flag("timeout", c.Timeout),
	}
	for _, m := range c.Measure {
		args = append(args, flag("measure", m))
	}
	return args
}

// fit lowers the numbers of sockets to what this machine allows, and says so.
func (c *liveCmd) fit(e *env) error {
	for _, f := range []struct {
		flag string
		n    *int
		each int // files that this process has open for each
	}{
		{"idle", &c.Idle, 1},
		{"sockets", &c.Sockets, 2}, // the gateway's and the bare server's
	} {
		n, err := affordable(*f.n * f.each)
		if err != nil {
			return err
		}
		if n /= f.each; n < *f.n {
			e.progress("the limit of open files allows %d of %d --%s: raise it (ulimit -n) for all of them", n, *f.n, f.flag)
			*f.n = n
		}
	}
	return nil
}

// settings returns the flags that the report contains.
func (c *liveCmd) settings() liveSettings {
	return liveSettings{
		Idle: c.Idle, Sockets: c.Sockets, Missed: c.Missed, Rounds: c.Rounds,
		Publishers: c.Publishers, BatchPublishers: c.BatchPublishers, Rate: c.Rate,
	}
}

// measure opens a world and measures all that was asked for.
func (c *liveCmd) measure(ctx context.Context, e *env, binary string, r *liveReport) (err error) {
	w, err := openWorld(ctx, e, worldOptions{binary: binary, inFlight: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if r.Machine, err = w.machine(ctx); err != nil {
		return err
	}
	open := slices.Contains(c.Measure, measureEvents) || slices.Contains(c.Measure, measureStorm)
	users := 0
	if open {
		users = c.Sockets
	}
	if slices.Contains(c.Measure, measureIdle) {
		users = max(users, c.Idle)
	}
	e.progress("setting %d users", users)
	if err := eachUser(ctx, users, w.gateway.setUser); err != nil {
		return err
	}
	run := &liveRun{cmd: c, env: e, world: w, next: 1}
	if slices.Contains(c.Measure, measureIdle) {
		if r.Idle, err = run.idle(ctx); err != nil {
			return fmt.Errorf("idle sockets: %w", err)
		}
	}
	if !open {
		return nil
	}
	return run.open(ctx, func() error {
		if slices.Contains(c.Measure, measureEvents) {
			if r.Events, err = run.events(ctx); err != nil {
				return err
			}
		}
		if slices.Contains(c.Measure, measureStorm) {
			if r.Storm, err = run.storms(ctx); err != nil {
				return fmt.Errorf("storm: %w", err)
			}
		}
		return nil
	})
}

// A liveRun is a run of the scenario in its world.
type liveRun struct {
	cmd   *liveCmd
	env   *env
	world *world
	next  int64 // number of the next event

	// While open:
	gateway, bare *side
	server        *bareServer
}

// A side is one of the two that are compared, and the sockets that it holds.
type side struct {
	client  *client
	crowd   *crowd
	cpu     []counter // of the server, and of Redis where it has one; none of a gateway elsewhere
	numbers bool      // an event is followed by the user's numbers
}

// numbers returns the first of so many numbers of events.
func (r *liveRun) numbers(n int) int64 {
	first := r.next
	r.next += int64(n)
	return first
}

// open opens everybody's socket on the gateway and on a bare server, and has f use
// them.
func (r *liveRun) open(ctx context.Context, f func() error) (err error) {
	w, n := r.world, r.cmd.Sockets
	r.gateway = &side{
		client: w.gateway.client, crowd: newCrowd(w.gateway.client, n, true),
		cpu: []counter{w.cpu, w.redis.cpu}, numbers: true,
	}
	defer r.gateway.crowd.drop()
	r.env.progress("opening %d sockets", n)
	if err := r.gateway.crowd.connect(ctx, afresh); err != nil {
		return err
	}
	// The bare server writes the frame that the gateway does.
	if _, err := r.gateway.deliver(ctx, r.numbers(n), pace{publishers: r.cmd.Publishers}, 1); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	r.server, err = startBareSockets(ctx, BareSocketsOptions{Frame: r.gateway.crowd.sample}, r.env.err)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.server.close()) }()
	r.bare = &side{client: r.server.client, crowd: newCrowd(r.server.client, n, false), cpu: []counter{cpuOf(r.server.pid())}}
	defer r.bare.crowd.drop()
	if err := r.bare.crowd.connect(ctx, afresh); err != nil {
		return fmt.Errorf("bare server: %w", err)
	}
	if err := r.server.holds(ctx, n); err != nil {
		return err
	}
	return f()
}

// profile runs f, which takes about as many seconds, and profiles it.
func (r *liveRun) profile(ctx context.Context, name string, seconds float64, f func() error) error {
	name = filepath.Join(r.cmd.Profile, name)
	if err := r.world.profile(ctx, name, int(math.Ceil(1.2*seconds)), f); err != nil {
		return err
	}
	r.env.progress("profiled: %s", name)
	return nil
}
