package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		name, status string
		want         int64 // 0: an error
	}{
		{"plain", "Name:\tkabar\nVmPeak:\t  99 kB\nVmRSS:\t   1234 kB\nThreads:\t7\n", 1234 << 10},
		{"none", "Name:\tkabar\nThreads:\t7\n", 0},
		{"no number", "VmRSS:\t lots kB\n", 0},
		{"empty", "", 0},
	} {
		got, err := parseStatus([]byte(c.status))
		if got != c.want || (c.want == 0) != errors.Is(err, errMemory) {
			t.Errorf("%s: %d, %v, want %d", c.name, got, err, c.want)
		}
	}
}

func TestResidentMemory(t *testing.T) {
	held := make([]byte, 64<<20)
	for i := range held {
		held[i] = 1 // written to, so that the page is resident
	}
	got, err := residentMemory(t.Context(), os.Getpid())
	if err != nil || got < int64(len(held)) {
		t.Errorf("%d bytes, %v: this process holds %d", got, err, len(held))
	}
	runtime.KeepAlive(held)
	if _, err := residentMemory(t.Context(), 1<<30); err == nil {
		t.Error("a process that does not exist has memory")
	}
}

func TestSettledMemory(t *testing.T) {
	collected := 0
	got, err := settledMemory(t.Context(), os.Getpid(), time.Millisecond, func(context.Context) error { collected++; return nil })
	if err != nil || got <= 0 || collected < stableReadings {
		t.Errorf("%d bytes after %d collections, %v", got, collected, err)
	}
	gone := errors.New("gone")
	if _, err := settledMemory(t.Context(), os.Getpid(), time.Millisecond, func(context.Context) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

func TestWithinFiles(t *testing.T) {
	for _, c := range []struct {
		wanted int
		files  uint64
		want   int // 0: an error
	}{
		{10_000, 1 << 62, 10_000},
		{10_000, 20_000, 10_000},
		{10_000, 10_000, 10_000 - spareFiles},
		{10_000, spareFiles, 0},
		{10_000, 256, 0},
	} {
		got, err := withinFiles(c.wanted, c.files)
		if got != c.want || (c.want == 0) != (err != nil) {
			t.Errorf("%d of %d files: %d, %v", c.wanted, c.files, got, err)
		}
	}
}
