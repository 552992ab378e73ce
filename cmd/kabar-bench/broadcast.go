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

	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
)

// broadcastCmd measures the effect of a broadcast on the urgent lane.
//
// A round publishes urgent events at a rate well below saturation, twice: while
// nothing else happens, and while a broadcast reaches every user. The broadcast
// lasts longer than the urgent events. A first round is not counted.
type broadcastCmd struct {
	Users         int           `help:"Users, with one device each; the broadcast is for all of them." default:"20000"`
	BroadcastRate int           `help:"Users whom the broadcast tells a second." default:"1000"`
	Rate          float64       `help:"Urgent events a second, one a request." default:"100"`
	Measure       time.Duration `help:"For how long urgent events are published, in each half of a round." default:"15s"`
	Rounds        int           `help:"Counted rounds; the figures are their medians." default:"3"`
	Latency       time.Duration `help:"How long the provider takes to answer." default:"20ms"`
	Publishers    int           `help:"Requests under way at a time." default:"64"`
	Provider      provider      `help:"The provider of all devices: apns or fcm." default:"apns" enum:"apns,fcm"`
	Kabar         string        `help:"The daemon to measure; built from this module when absent." type:"existingfile" placeholder:"PATH"`
	Profile       string        `help:"Write CPU profiles and stalls into this folder, alone and during a broadcast, from a further round." type:"path" placeholder:"DIR"`
	Timeout       time.Duration `help:"Give up after this time; a million users need more." default:"20m"`
}

// lead is how much longer than the urgent events a broadcast lasts at the least: it
// begins with a burst, and urgent events begin after its first push.
const lead = time.Second

// Validate checks the bounds of the flags.
func (c *broadcastCmd) Validate() error {
	if err := within([]bounded{
		{"users", c.Users, 1, 1_000_000},
		{"broadcast-rate", c.BroadcastRate, 1, broadcast.MaxRate},
		{"rounds", c.Rounds, 1, 100},
		{"publishers", c.Publishers, 1, 1000},
	}); err != nil {
		return err
	}
	switch {
	case c.Rate <= 0 || c.Rate > 10_000:
		return errors.New("--rate must be more than 0 and at most 10000")
	case c.Measure <= 0 || c.Measure > time.Hour:
		return errors.New("--measure must be more than 0s and at most 1h0m0s")
	case c.Latency < 0 || c.Latency > 10*time.Second:
		return errors.New("--latency must be between 0s and 10s")
	case c.events() < 1:
		return errors.New("--measure is too short for one event at this --rate")
	case c.events() > c.Users:
		return fmt.Errorf("--users must be at least %d, so that each gets one urgent event at most", c.events())
	}
	if least := int(math.Ceil(float64(c.BroadcastRate) * (c.Measure + lead).Seconds())); c.Users < least {
		return fmt.Errorf("--users must be at least %d, so that the broadcast lasts %v longer than --measure", least, lead)
	}
	return nil
}

// events is how many urgent events a half of a round has.
func (c *broadcastCmd) events() int { return int(c.Rate * c.Measure.Seconds()) }

// Run implements the command.
func (c *broadcastCmd) Run(e *env) error {
	ctx, cancel := context.WithTimeoutCause(e.ctx, c.Timeout, fmt.Errorf("it took longer than %v", c.Timeout))
	defer cancel()
	binary, clean, err := prepare(ctx, e, c.Kabar, c.Profile)
	if err != nil {
		return err
	}
	defer clean()
	r := &broadcastReport{Scenario: "broadcast", Settings: c.settings(), Goal: goalLanes}
	if err := c.measure(ctx, e, binary, r); err != nil {
		return err
	}
	return e.write(r)
}

// settings returns the flags that the report contains.
func (c *broadcastCmd) settings() broadcastSettings {
	return broadcastSettings{
		Provider: c.Provider, Users: c.Users, BroadcastRate: c.BroadcastRate, Rate: c.Rate, MeasureS: c.Measure.Seconds(),
		Rounds: c.Rounds, LatencyMS: float64(c.Latency.Microseconds()) / 1000, Publishers: c.Publishers,
	}
}

// measure opens a world and adds its figures to the report.
func (c *broadcastCmd) measure(ctx context.Context, e *env, binary string, r *broadcastReport) (err error) {
	w, err := openWorld(ctx, e, worldOptions{binary: binary, latency: c.Latency})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if r.Machine, err = w.machine(ctx); err != nil {
		return err
	}
	e.progress("registering %d users' devices", c.Users)
	if err := w.enrol(ctx, c.Provider, c.Users); err != nil {
		return err
	}
	run := &broadcastRun{cmd: c, world: w, next: 1}
	for n := range c.Rounds + 1 {
		alone, during, err := run.round(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		if n == 0 {
			continue // the warm-up
		}
		r.add(alone, during)
		e.progress("round %d: p99 %.1f ms alone, %.1f ms during a broadcast of %.0f pushes/s",
			n, alone.p99, during.p99, during.broadcastPerSecond)
	}
	if c.Profile == "" {
		return nil
	}
	return run.profile(ctx)
}

// A broadcastRun is a run of the scenario in one world.
type broadcastRun struct {
	cmd        *broadcastCmd
	world      *world
	next       int64 // number of the next urgent event
	broadcasts int   // so far
}

// A laneOutcome is the result of a half of a round. Latencies are those of urgent pushes,
// in ms; CPU is in per cent of a core.
type laneOutcome struct {
	p50, p99           float64
	urgentPerSecond    float64
	broadcastPerSecond float64 // 0: there was none
	gateway, redis     float64
}

// round measures the urgent lane alone, and then during a broadcast.
func (r *broadcastRun) round(ctx context.Context) (alone, during laneOutcome, err error) {
	if alone, err = r.half(ctx, false); err != nil {
		return alone, during, fmt.Errorf("alone: %w", err)
	}
	if during, err = r.half(ctx, true); err != nil {
		return alone, during, fmt.Errorf("during a broadcast: %w", err)
	}
	return alone, during, nil
}

// half publishes urgent events, once a broadcast is under way where there is to be
// one, and waits until every push of both was answered and its outcome is written.
// The error is errWrongPushes unless each phone got each of its pushes exactly once.
func (r *broadcastRun) half(ctx context.Context, cast bool) (o laneOutcome, err error) {
	w, first, n := r.world, r.next, r.cmd.events()
	r.next += int64(n)
	all, expect := requests(first, everyone(n), 1, true), n
	if cast {
		expect += r.cmd.Users
	}
	if err := w.sandbox.forget(ctx, expect); err != nil {
		return o, err
	}
	begin := time.Now()
	m, err := startMeter(ctx, w.cpu, w.redis.cpu)
	if err != nil {
		return o, err
	}
	if cast {
		if err := r.startBroadcast(ctx); err != nil {
			return o, err
		}
	}
	sent, err := w.gateway.publish(ctx, all, pace{r.cmd.Publishers, r.cmd.Rate})
	if err != nil {
		return o, err
	}
	if err := w.sandbox.wait(ctx, expect, r.timeout()); err != nil {
		return o, err
	}
	if err := w.settled(ctx); err != nil {
		return o, err
	}
	cpu, err := m.used(ctx, 1)
	if err != nil {
		return o, err
	}
	elapsed := float64(time.Since(begin).Microseconds())
	o.gateway, o.redis = 100*cpu[0]/elapsed, 100*cpu[1]/elapsed
	receipts, err := w.sandbox.receipts(ctx)
	if err != nil {
		return o, err
	}
	if err := r.judge(&o, begin, first, sent, receipts, cast); err != nil {
		return o, err
	}
	return o, w.endRound(ctx)
}

// startBroadcast starts a broadcast to everyone and waits for its first push.
func (r *broadcastRun) startBroadcast(ctx context.Context) error {
	r.broadcasts++
	if err := r.world.gateway.startBroadcast(ctx, "bench-"+strconv.Itoa(r.broadcasts), r.cmd.BroadcastRate); err != nil {
		return err
	}
	return r.world.sandbox.wait(ctx, 1, roundTimeout)
}

// timeout limits how long the pushes of half a round may take. It is generous, because a
// busy machine may be slower than the broadcast's rate.
func (r *broadcastRun) timeout() time.Duration {
	return roundTimeout + 4*time.Duration(r.cmd.Users)*time.Second/time.Duration(r.cmd.BroadcastRate)
}

var errTooShort = errors.New("the broadcast was over before the urgent events were: lower --rate, or give it more --users")

// judge derives the outcome from the receipts.
func (r *broadcastRun) judge(o *laneOutcome, begin time.Time, first int64, sent []time.Time, receipts []Receipt, cast bool) error {
	if cast {
		urgent, promotions := split(receipts)
		last, err := matchBroadcast(r.cmd.Provider, r.cmd.Users, promotions)
		if err != nil {
			return fmt.Errorf("broadcast: %w", err)
		}
		if last.Before(slices.MaxFunc(sent, time.Time.Compare)) {
			return errTooShort
		}
		o.broadcastPerSecond = float64(r.cmd.Users) / last.Sub(begin).Seconds()
		receipts = urgent
	}
	latencies, took, err := match(r.cmd.Provider, first, everyone(len(sent)), sent, receipts)
	if err != nil {
		return fmt.Errorf("urgent: %w", err)
	}
	o.urgentPerSecond = float64(len(sent)) / took.Seconds()
	o.p50, o.p99 = percentile(latencies, 50), percentile(latencies, 99)
	return nil
}

// split tells urgent pushes, which carry the number of an event, from all others.
func split(receipts []Receipt) (urgent, others []Receipt) {
	for _, r := range receipts {
		if r.number() > 0 {
			urgent = append(urgent, r)
		} else {
			others = append(others, r)
		}
	}
	return urgent, others
}

// matchBroadcast finds the push of a broadcast to each of the users among what the
// provider has received, and returns when the last one was answered.
func matchBroadcast(p provider, users int, receipts []Receipt) (last time.Time, err error) {
	owed := make(map[string]bool, users)
	for user := range int64(users) {
		owed[p.token(user+1)] = true
	}
	var refused, strays, repeated int
	var at int64
	for _, r := range receipts {
		owes, known := owed[r.Token]
		switch {
		case !known:
			strays++
		case r.Status != 200:
			refused++
		case !owes:
			repeated++
		default:
			owed[r.Token] = false
			users--
			at = max(at, r.At)
		}
	}
	if refused+strays+repeated+users > 0 {
		return last, fmt.Errorf("%w: of %d, %d are missing and %d came again; %d were refused, %d went elsewhere",
			errWrongPushes, len(owed), users, repeated, refused, strays)
	}
	return time.Unix(0, at), nil
}

// profile makes a further round, not counted because profiling costs CPU too, and
// writes a profile of each half.
func (r *broadcastRun) profile(ctx context.Context) error {
	for _, h := range []struct {
		name string
		cast bool
	}{{"alone", false}, {"broadcast", true}} {
		seconds := int(math.Ceil(r.cmd.Measure.Seconds()))
		err := r.world.profile(ctx, filepath.Join(r.cmd.Profile, h.name), seconds, func() error {
			_, err := r.half(ctx, h.cast)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s, profiled: %w", h.name, err)
		}
	}
	return nil
}
