package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime returns the CPU time, user and system together, that a process has used since it
// started. It comes from /proc/PID/stat on Linux and from ps elsewhere, as on macOS; both
// are exact to 10 ms.
func cpuTime(ctx context.Context, pid int) (time.Duration, error) {
	stat, column, err := processInfo(ctx, pid, "stat", "time=")
	switch {
	case err != nil:
		return 0, fmt.Errorf("CPU time: %w", err)
	case stat != nil:
		return parseStat(stat)
	}
	return parsePS(column)
}

var errCPUTime = errors.New("CPU time cannot be read")

// parseStat reads utime and stime, the 14th and 15th field of /proc/PID/stat. The
// second one is the program's name in brackets, which may hold anything.
func parseStat(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%w: /proc/PID/stat has %d fields", errCPUTime, len(fields))
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(string(f), 10, 63)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errCPUTime, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// parsePS reads [[days-]hours:]minutes:seconds[.fraction].
func parsePS(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	days, clock, dashed := strings.Cut(text, "-")
	if !dashed {
		days, clock = "0", text
	}
	total, err := strconv.ParseFloat(days, 64)
	parts := strings.Split(clock, ":")
	if err != nil || len(parts) < 2 || len(parts) > 3 {
		return 0, fmt.Errorf("%w: ps says %q", errCPUTime, text)
	}
	if len(parts) == 2 {
		parts = append([]string{"0"}, parts...)
	}
	for i, unit := range []float64{24, 60, 60} {
		n, err := strconv.ParseFloat(parts[i], 64)
		if err != nil {
			return 0, fmt.Errorf("%w: ps says %q", errCPUTime, text)
		}
		total = total*unit + n
	}
	return time.Duration(total * float64(time.Second)), nil
}

// cpuOf counts the CPU time of a process, in µs.
func cpuOf(pid int) counter {
	return func(ctx context.Context) (float64, error) {
		used, err := cpuTime(ctx, pid)
		return float64(used.Microseconds()), err
	}
}
