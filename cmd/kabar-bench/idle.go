package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// idle measures what an idle socket adds to the resident memory of a fresh gateway
// and of a fresh bare server, whose handlers stay with their sockets or return.
func (r *liveRun) idle(ctx context.Context) (*idleRow, error) {
	row := newIdleRow(r.cmd.Idle)
	for n := range r.cmd.Rounds {
		gateway, err := r.idleGateway(ctx, n == r.cmd.Rounds-1)
		if err != nil {
			return nil, err
		}
		stays, err := r.idleBare(ctx, false)
		if err != nil {
			return nil, fmt.Errorf("bare server: %w", err)
		}
		returns, err := r.idleBare(ctx, true)
		if err != nil {
			return nil, fmt.Errorf("bare server: %w", err)
		}
		row.add(gateway, stays, returns)
		r.env.progress("idle, round %d: gateway %.1f KiB a socket, bare %.1f KiB, %.1f KiB when the handler returns",
			n+1, gateway, stays, returns)
	}
	return row, nil
}

// idleGateway measures a gateway of its own, which shares the world's Redis. In the
// last round it may leave a profile of the heap.
func (r *liveRun) idleGateway(ctx context.Context, last bool) (perSocket float64, err error) {
	g, err := startGateway(ctx, r.world.options, r.env.err)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	profile := func() error { return nil }
	if last && r.cmd.Profile != "" {
		profile = func() error { return g.heap(ctx, filepath.Join(r.cmd.Profile, "live-idle-heap.pprof")) }
	}
	return r.idleMemory(ctx, newCrowd(g.client, r.cmd.Idle, true), g.pid(), g.collect, profile)
}

func (r *liveRun) idleBare(ctx context.Context, fresh bool) (perSocket float64, err error) {
	b, err := startBareSockets(ctx, BareSocketsOptions{Fresh: fresh}, r.env.err)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return r.idleMemory(ctx, newCrowd(b.client, r.cmd.Idle, false), b.pid(), b.collect, func() error { return nil })
}

// idleMemory opens the crowd's sockets, and returns how many KiB of the process'
// memory each of them takes. then is called while they are open.
func (r *liveRun) idleMemory(ctx context.Context, c *crowd, pid int, collect func(context.Context) error, then func() error) (float64, error) {
	defer c.drop()
	before, err := settledMemory(ctx, pid, r.cmd.Settle, collect)
	if err != nil {
		return 0, err
	}
	if err := c.connect(ctx, afresh); err != nil {
		return 0, err
	}
	after, err := settledMemory(ctx, pid, r.cmd.Settle, collect)
	if err != nil {
		return 0, err
	}
	select {
	case err := <-c.failed: // one less is in memory
		return 0, err
	default:
	}
	return float64(after-before) / 1024 / float64(len(c.links)), then()
}
