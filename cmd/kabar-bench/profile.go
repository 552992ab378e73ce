package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// profile runs f and writes what happens meanwhile: the CPU profile of so many seconds of
// the first gateway to name.pprof, and what held the gateway and Redis up to name.stalls.txt.
func (w *world) profile(ctx context.Context, name string, seconds int, f func() error) error {
	if err := w.redis.watchStalls(ctx); err != nil {
		return err
	}
	begin := w.coreTimes()
	done := make(chan error, 1)
	go func() { done <- w.gateway.profile(ctx, seconds, name+".pprof") }()
	err := f()
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	var text strings.Builder
	for i, end := range w.coreTimes() {
		fmt.Fprintf(&text, "%s: %v on a core, %v waiting for one\n", end.of,
			(end.ran - begin[i].ran).Round(time.Millisecond), (end.waited - begin[i].waited).Round(time.Millisecond))
	}
	if err := w.redis.describeStalls(ctx, &text); err != nil {
		return err
	}
	if err := os.WriteFile(name+".stalls.txt", []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("stalls: %w", err)
	}
	return nil
}

// A coreTime is how long a process, with all threads that it has now, was on a core and in
// the run queue for one. Both are 0 where the system does not say, as on macOS.
type coreTime struct {
	of          string
	ran, waited time.Duration
}

// coreTimes returns those of the gateways, the servers of Redis, the provider, and this
// process, in this order.
func (w *world) coreTimes() (all []coreTime) {
	add := func(of string, pid int) {
		p := coreTime{of: of}
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is valid
		for _, file := range files {
			text, err := os.ReadFile(file)
			if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 { // the thread may have ended
				ran, _ := strconv.ParseInt(fields[0], 10, 64)
				waited, _ := strconv.ParseInt(fields[1], 10, 64)
				p.ran, p.waited = p.ran+time.Duration(ran), p.waited+time.Duration(waited)
			}
		}
		all = append(all, p)
	}
	for _, g := range w.gateways {
		add("gateway", g.pid())
	}
	for _, s := range w.redis.servers {
		add("Redis", s.PID())
	}
	add("provider", w.sandbox.pid())
	add("load generator", os.Getpid())
	return all
}

// stall is how long a command, or a task of Redis' own, takes to count as a stall.
const stall = 5 * time.Millisecond

// watchStalls has Redis note from now on what takes longer than a stall.
func (s *store) watchStalls(ctx context.Context) error {
	for _, c := range s.clients {
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.ConfigSet(ctx, "latency-monitor-threshold", fmt.Sprint(stall.Milliseconds()))
			p.ConfigSet(ctx, "slowlog-log-slower-than", fmt.Sprint(stall.Microseconds()))
			p.Do(ctx, "latency", "reset")
			p.Do(ctx, "slowlog", "reset")
			return nil
		})
		if err != nil {
			return fmt.Errorf("watch Redis for stalls: %w", err)
		}
	}
	return nil
}

// slowest is how many slow commands of each server are described.
const slowest = 20

// describeStalls writes what Redis has noted: its events with the longest time of each, the
// names and first keys of the latest slow commands, the last fork, and how often a write
// waited for the append-only file's fsync.
func (s *store) describeStalls(ctx context.Context, text *strings.Builder) error {
	for i, c := range s.clients {
		fmt.Fprintf(text, "Redis %s\n", s.servers[i].Addr())
		events, err := c.Do(ctx, "latency", "latest").Slice()
		if err != nil {
			return fmt.Errorf("ask Redis for stalls: %w", err)
		}
		for _, event := range events {
			if e, ok := event.([]any); ok && len(e) >= 4 {
				fmt.Fprintf(text, "  event %v: %v ms at most\n", e[0], e[3])
			}
		}
		commands, err := c.SlowLogGet(ctx, slowest).Result()
		if err != nil {
			return fmt.Errorf("ask Redis for slow commands: %w", err)
		}
		for _, l := range commands {
			fmt.Fprintf(text, "  command %v: %q\n", l.Duration, l.Args[:min(len(l.Args), 4)])
		}
		for _, f := range []struct{ section, field string }{{"stats", "latest_fork_usec"}, {"persistence", "aof_delayed_fsync"}} {
			n, err := info(ctx, c, f.section, f.field)
			if err != nil {
				return err
			}
			fmt.Fprintf(text, "  %s: %s\n", f.field, n)
		}
	}
	return nil
}
