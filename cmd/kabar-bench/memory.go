package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"
)

// residentMemory returns the bytes of a process that are in memory: VmRSS of
// /proc/PID/status on Linux, and elsewhere what ps says.
func residentMemory(ctx context.Context, pid int) (int64, error) {
	status, column, err := processInfo(ctx, pid, "status", "rss=")
	switch {
	case err != nil:
		return 0, fmt.Errorf("resident memory: %w", err)
	case status != nil:
		return parseStatus(status)
	}
	return kibibytes([]byte(column))
}

var errMemory = errors.New("resident memory cannot be read")

// parseStatus reads the line VmRSS of /proc/PID/status.
func parseStatus(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			return kibibytes(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))
		}
	}
	return 0, fmt.Errorf("%w: /proc/PID/status has no VmRSS", errMemory)
}

func kibibytes(text []byte) (int64, error) {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 53)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errMemory, err)
	}
	return n << 10, nil
}

const (
	stableReadings = 4  // without a new minimum, until memory has settled
	maxReadings    = 60 // in any case
)

// settledMemory has a process collect garbage until that frees no more memory, and returns
// what the process then holds. One collection is not enough: it halves stacks at most, and
// Go returns memory to the system gradually.
func settledMemory(ctx context.Context, pid int, every time.Duration, collect func(context.Context) error) (int64, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var least int64
	for reading, calm := 0, 0; calm < stableReadings && reading < maxReadings; reading++ {
		if err := collect(ctx); err != nil {
			return 0, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		now, err := residentMemory(ctx, pid)
		if err != nil {
			return 0, err
		}
		if calm++; least == 0 || now < least-least/200 {
			least, calm = now, 0
		}
	}
	return least, nil
}

// spareFiles is how many files a process needs in addition to its sockets: connections of
// publishers and to Redis, logs, and sockets that are being accepted.
const spareFiles = 1500

// affordable returns how many of the wanted sockets this process, and any child,
// may have open. Go has raised the limit as far as that is allowed, and so does
// each child.
func affordable(wanted int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	return withinFiles(wanted, uint64(limit.Cur))
}

func withinFiles(wanted int, files uint64) (int, error) {
	if files <= spareFiles {
		return 0, fmt.Errorf("a process may have %d files open, which is not enough for %d sockets: raise it (ulimit -n)", files, wanted)
	}
	return int(min(uint64(wanted), files-spareFiles)), nil
}
