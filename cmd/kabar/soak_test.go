package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// soakVariable sets how long TestSoak runs, such as 8h.
const soakVariable = "TEST_SOAK"

// A soak is the load of the fault suite without faults. It prints a line a minute that
// shows growth and latency. At the end the checker's account must be exact.
func TestSoak(t *testing.T) {
	text := os.Getenv(soakVariable)
	if text == "" {
		t.Skip("only in make soak: " + soakVariable + " is not set")
	}
	long, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", soakVariable, err)
	}
	tr := newTrial(t, "--appendfsync", "everysec")
	client := redis.NewClient(&redis.Options{Addr: tr.redis.Addr()})
	t.Cleanup(func() { client.Close() })
	tr.rdb = client
	tr.begin(func() { tr.soak(long) })
}

// soak prints a line a minute until the time is over.
func (tr *trial) soak(long time.Duration) {
	every := min(time.Minute, long)
	tr.t.Log("   time  events/s  messages/s  pushes/s  frames/s  p50 ms  p99 ms  memory MiB  goroutines  descriptors  Redis MiB    keys")
	before := tr.checker.counts()
	for tick := time.NewTicker(every); time.Since(tr.begun) < long; {
		<-tick.C
		now, seconds := tr.checker.counts(), every.Seconds()
		p50, p99 := tr.load.latency.take()
		memory, goroutines, descriptors := tr.sizes()
		keys, err := tr.rdb.DBSize(tr.t.Context()).Result()
		if err != nil {
			tr.t.Fatal(err)
		}
		rate := func(n int) float64 { return float64(n) / seconds }
		tr.t.Logf("%7s  %8.1f  %10.1f  %8.1f  %8.1f  %6.1f  %6.1f  %10d  %10d  %11d  %9d  %6d",
			time.Since(tr.begun).Round(time.Second), rate(now.events-before.events), rate(now.messages-before.messages),
			rate(now.pushes-before.pushes), rate(now.frames-before.frames), ms(p50), ms(p99),
			memory>>20, goroutines, descriptors, tr.redisInfo("used_memory")>>20, keys)
		before = now
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// take returns the median and the 99th percentile since the last call.
func (l *latencies) take() (p50, p99 time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0, 0
	}
	slices.Sort(l.took)
	p50, p99 = l.took[len(l.took)/2], l.took[len(l.took)*99/100]
	l.took = l.took[:0]
	return p50, p99
}

// sizes sums up the gateways' resident memory in bytes, goroutines and file descriptors.
func (tr *trial) sizes() (memory, goroutines, descriptors int) {
	tr.t.Helper()
	for i := range tr.fleet.len() {
		metrics := tr.fleet.at(i).metrics()
		memory += int(metrics["process_resident_memory_bytes"])
		goroutines += int(metrics["go_goroutines"])
		descriptors += int(metrics["process_open_fds"])
	}
	return memory, goroutines, descriptors
}

// metrics returns the values of a gateway's metrics by name and labels.
func (p *process) metrics() map[string]float64 {
	p.t.Helper()
	values, err := p.tryMetrics()
	if err != nil {
		p.t.Fatal(err)
	}
	return values
}

// metric returns the sum of the samples of a metric that have the labels, given as name and
// value. It fails the test when the metric has no such label.
func (p *process) metric(name string, labels ...string) (sum float64) {
	p.t.Helper()
	for sample, value := range p.metrics() {
		if !strings.HasPrefix(sample, name+"{") {
			continue
		}
		wanted := true
		for i := 0; i < len(labels); i += 2 {
			if !strings.Contains(sample, labels[i]+"=") {
				p.t.Fatalf("%s has no label %s", name, labels[i])
			}
			wanted = wanted && strings.Contains(sample, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
		}
		if wanted {
			sum += value
		}
	}
	return sum
}

func (p *process) tryMetrics() (map[string]float64, error) {
	resp, err := http.Get(p.admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	values := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			values[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return values, nil
}
