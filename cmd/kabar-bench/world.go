package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A world is a gateway, or several, with all that they need: Redis with an append-only file
// that is fsynced every second, the provider sandbox, and a folder for their files. Each is
// a process of its own. Closing it audits what the gateways leave in Redis.
type world struct {
	redis    *store
	sandbox  *sandboxProcess
	gateway  *gateway
	gateways []*gateway     // all of them; the first one is gateway
	options  gatewayOptions // of the gateways, and of further ones

	auditRounds bool
	onClose     []func() error // run backwards
}

// worldOptions configure a world.
type worldOptions struct {
	binary   string        // the daemon
	latency  time.Duration // of the providers
	inFlight int           // of the urgent lane, to each provider; 0: as by default
	cluster  bool          // whether Redis is a cluster
	shards   int           // of the cluster
	gateways int           // one unless above 1
}

// openWorld starts everything. When it fails, nothing is left running. ctx must last until the
// world is closed; once it has ended, there is no audit.
func openWorld(ctx context.Context, e *env, o worldOptions) (_ *world, err error) {
	w := &world{auditRounds: e.auditRounds}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	dir, err := os.MkdirTemp("", "kabar-bench-")
	if err != nil {
		return nil, err
	}
	w.closing(func() error { return os.RemoveAll(dir) })

	if w.redis, err = startStore(ctx, o.cluster, o.shards); err != nil {
		return nil, err
	}
	w.closing(w.redis.close)

	if w.sandbox, err = startSandbox(ctx, e, o.latency, dir); err != nil {
		return nil, err
	}
	w.closing(w.sandbox.close)
	w.options = gatewayOptions{
		binary:   o.binary,
		redisURL: w.redis.url(),
		provider: w.sandbox.Addresses,
		inFlight: o.inFlight,
	}
	w.closing(func() error { // once the gateways have ended
		if w.gateway == nil || ctx.Err() != nil {
			return nil
		}
		return audit(ctx, w.options)
	})
	for range max(o.gateways, 1) {
		g, err := startGateway(ctx, w.options, e.err)
		if err != nil {
			return nil, err
		}
		w.closing(g.close)
		w.gateways = append(w.gateways, g)
	}
	w.gateway = w.gateways[0]
	return w, nil
}

// endRound audits what the gateways have in Redis, if each round is to be audited. The round's
// work must be settled. A nil world, that of a gateway elsewhere, is not audited.
func (w *world) endRound(ctx context.Context) error {
	if w == nil || !w.auditRounds {
		return nil
	}
	return audit(ctx, w.options)
}

// closing registers a clean-up.
func (w *world) closing(f func() error) { w.onClose = append(w.onClose, f) }

// close ends everything, in the reverse order of its start.
func (w *world) close() error {
	var err error
	for _, f := range slices.Backward(w.onClose) {
		err = errors.Join(err, f())
	}
	w.onClose = nil
	return err
}

// The timeout for registering all users, with the pushes that this causes, is enrolTimeout,
// or enrolEach for each user where that is longer.
const (
	enrolTimeout = 5 * time.Minute
	enrolEach    = 15 * time.Millisecond
)

// enrol gives each of the users 1 to n one device, and waits for the reminders
// that the devices get.
func (w *world) enrol(ctx context.Context, p provider, n int) error {
	within := max(enrolTimeout, time.Duration(n)*enrolEach)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := w.gateway.enrol(ctx, p, n); err != nil {
		return err
	}
	if err := w.sandbox.wait(ctx, n, within); err != nil {
		return err
	}
	return w.gateway.settled(ctx)
}

var (
	//go:embed bare.lua
	bareSource string
	bareScript = redis.NewScript(bareSource)
)

// barePipeline is how many scripts the bare loop sends to Redis at a time.
const barePipeline = 100

// cpu counts the CPU time of all gateways, in µs.
func (w *world) cpu(ctx context.Context) (float64, error) {
	var all float64
	for _, g := range w.gateways {
		used, err := cpuOf(g.pid())(ctx)
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

// publish makes the requests to all gateways alike. at is the pace of all together.
func (w *world) publish(ctx context.Context, all []request, at pace) ([]time.Time, error) {
	to := make([]*client, len(w.gateways))
	for i, g := range w.gateways {
		to[i] = g.client
	}
	return publish(ctx, to, all, at)
}

// runBareScript runs bare.lua once for each event of the requests, pipelined. The first of
// them has the number first; a number is used once, so that each run stores something new.
func (w *world) runBareScript(ctx context.Context, first int64, all []request) error {
	rdb := w.redis.clients[0]
	if err := bareScript.Load(ctx, rdb).Err(); err != nil {
		return fmt.Errorf("bare script: %w", err)
	}
	pipe := rdb.Pipeline()
	for i, r := range all {
		user := strconv.Itoa(i + 1)
		bareScript.EvalSha(ctx, pipe, []string{"bare:{" + user + "}:texts", "bare:{" + user + "}:list"},
			first+int64(i), r.body, 1000, (24 * time.Hour).Milliseconds(), "bare:"+user)
		if pipe.Len() < barePipeline && i < len(all)-1 {
			continue
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("bare script: %w", err)
		}
	}
	return nil
}

// A machine describes the computer on which the figures were measured.
type machine struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPUs  int    `json:"cpus"`
	Go    string `json:"go"`
	Redis string `json:"redis,omitempty"` // absent where the gateway is elsewhere
}

// machine describes this computer, and its Redis.
func (w *world) machine(ctx context.Context) (machine, error) {
	m := localMachine()
	var err error
	m.Redis, err = w.redis.version(ctx)
	return m, err
}
