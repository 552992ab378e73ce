package main

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		name, stat string
		want       time.Duration // 0: an error
	}{
		{"plain", "7 (redis-server) S 1 7 7 0 -1 4194560 830 0 5 0 123 45 6 7 20 0 5 0 100 7 8", 1680 * time.Millisecond},
		{"a name with everything", "7 (a) b (c d) R 1 7 7 0 -1 4194560 830 0 5 0 1 2 6 7 20 0", 30 * time.Millisecond},
		{"cut short", "7 (redis-server) S 1 7 7 0", 0},
		{"no numbers", "7 (x) S 1 7 7 0 -1 4194560 830 0 5 0 a b 6 7", 0},
		{"empty", "", 0},
	} {
		got, err := parseStat([]byte(c.stat))
		if got != c.want || (c.want == 0) != errors.Is(err, errCPUTime) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestParsePS(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration // 0: an error
	}{
		{"  0:01.23\n", 1230 * time.Millisecond}, // macOS
		{"12:00.50", 12*time.Minute + 500*time.Millisecond},
		{"01:02:03", time.Hour + 2*time.Minute + 3*time.Second}, // Linux
		{"2-01:00:00", 49 * time.Hour},
		{"", 0},
		{"12", 0},
		{"a:b", 0},
		{"1:2:3:4", 0},
		{"x-01:00:00", 0},
	} {
		got, err := parsePS(c.text)
		if got != c.want || (c.want == 0) != errors.Is(err, errCPUTime) {
			t.Errorf("%q: %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

func TestMeter(t *testing.T) {
	m, err := startMeter(t.Context(), cpuOf(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ { // work until the CPU clock, which ticks every 10 ms, has moved
		used, err := m.used(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if used[0] > 0 {
			if used[0] < 5000 {
				t.Errorf("%v µs for each of two units, which is less than a tick", used[0])
			}
			return
		}
	}
}

func TestMeterOfNobody(t *testing.T) {
	if _, err := startMeter(t.Context(), cpuOf(1<<30)); err == nil {
		t.Error("a process that does not exist has used CPU time")
	}
}
