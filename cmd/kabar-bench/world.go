package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// A world is a gateway with all that it needs: Redis with an append-only file that
// is fsynced every second, the provider sandbox, and a folder for their files.
// Each is a process of its own. Close it.
type world struct {
	redis   *localredis.Server
	rdb     *redis.Client
	sandbox *sandboxProcess
	gateway *gateway
	options gatewayOptions // of the gateway, and of further ones

	onClose []func() error // run backwards
}

// worldOptions configure a world.
type worldOptions struct {
	binary   string        // the daemon
	latency  time.Duration // of the providers
	inFlight int           // of the urgent lane, to each provider; 0: as by default
}

// openWorld starts everything. When it fails, nothing is left running.
func openWorld(ctx context.Context, e *env, o worldOptions) (_ *world, err error) {
	w := &world{}
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

	// Rewriting the append-only file in the middle of a round would be noise.
	w.redis, err = localredis.Start(ctx, localredis.Options{Group: true, Args: []string{"--auto-aof-rewrite-percentage", "0"}})
	if err != nil {
		return nil, err
	}
	w.closing(w.redis.Close)
	w.rdb = redis.NewClient(&redis.Options{Addr: w.redis.Addr()})
	w.closing(w.rdb.Close)

	if w.sandbox, err = startSandbox(ctx, e, o.latency, dir); err != nil {
		return nil, err
	}
	w.closing(w.sandbox.close)
	w.options = gatewayOptions{
		binary:   o.binary,
		redisURL: w.redis.URL(),
		provider: w.sandbox.Addresses,
		inFlight: o.inFlight,
	}
	w.gateway, err = startGateway(ctx, w.options, e.err)
	if err != nil {
		return nil, err
	}
	w.closing(w.gateway.close)
	return w, nil
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

// runBareScript runs bare.lua once for each event of the requests, pipelined. The first of
// them has the number first; a number is used once, so that each run stores something new.
func (w *world) runBareScript(ctx context.Context, first int64, all []request) error {
	if err := bareScript.Load(ctx, w.rdb).Err(); err != nil {
		return fmt.Errorf("bare script: %w", err)
	}
	pipe := w.rdb.Pipeline()
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
	Redis string `json:"redis"`
}

// machine describes this computer.
func (w *world) machine(ctx context.Context) (machine, error) {
	m := machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
	var err error
	m.Redis, err = w.info(ctx, "server", "redis_version")
	return m, err
}

// logSize counts the bytes of Redis' append-only file, which is never rewritten: see
// openWorld.
func (w *world) logSize(ctx context.Context) (float64, error) {
	size, err := w.info(ctx, "persistence", "aof_current_size")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(size, 64)
}

// info returns a field of what Redis says about itself.
func (w *world) info(ctx context.Context, section, field string) (string, error) {
	text, err := w.rdb.Info(ctx, section).Result()
	if err != nil {
		return "", fmt.Errorf("ask Redis for %s: %w", field, err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("INFO %s has no %s", section, field)
}
