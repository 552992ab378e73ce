package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A byteCounter returns how many bytes were written so far, to a file or a connection.
type byteCounter func(ctx context.Context) (int64, error)

// A count holds how many bytes there were at its start.
type count struct {
	counters []byteCounter
	before   []int64
}

// startCount asks the counters what was written so far.
func startCount(ctx context.Context, counters ...byteCounter) (*count, error) {
	c := &count{counters: counters}
	for _, counter := range counters {
		n, err := counter(ctx)
		if err != nil {
			return nil, fmt.Errorf("count bytes: %w", err)
		}
		c.before = append(c.before, n)
	}
	return c, nil
}

// since returns what was written since the start by each counter, in bytes a unit of work.
func (c *count) since(ctx context.Context, units int) ([]float64, error) {
	each := make([]float64, len(c.counters))
	for i, counter := range c.counters {
		n, err := counter(ctx)
		if err != nil {
			return nil, fmt.Errorf("count bytes: %w", err)
		}
		each[i] = float64(n-c.before[i]) / float64(units)
	}
	return each, nil
}

// logSize returns the size of Redis' append-only file in bytes, which only grows: see
// openWorld.
func (w *world) logSize(ctx context.Context) (int64, error) {
	info, err := w.rdb.Info(ctx, "persistence").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if size, ok := strings.CutPrefix(line, "aof_current_size:"); ok {
			return strconv.ParseInt(strings.TrimSpace(size), 10, 64)
		}
	}
	return 0, errors.New("no aof_current_size in INFO persistence")
}
