package report

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// maxWait is the longest that a test waits for a condition.
const maxWait = time.Minute

// A recorder is a Client that records its reports and answers as the test says.
type recorder struct {
	mu     sync.Mutex
	got    []Report
	answer func(n int) push.Result // answer to attempt n, counted from 1; nil accepts all
}

func (c *recorder) Deliver(_ context.Context, r *Report) push.Result {
	c.mu.Lock()
	c.got = append(c.got, *r)
	n := len(c.got)
	c.mu.Unlock()
	if c.answer == nil {
		return push.Result{Outcome: push.Accepted}
	}
	return c.answer(n)
}

func (c *recorder) reports() []Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// hooks returns the hook of the service "test", with a short backoff.
func hooks(c Client) map[string]Hook {
	return map[string]Hook{"test": {Client: c, Backoff: 10 * time.Millisecond}}
}

// A process has the Reports of one process.
type process struct {
	*Reports
	t        *testing.T
	client   redis.UniversalClient
	batcher  *rdb.Batcher
	registry *prometheus.Registry
}

// tests numbers the key prefixes, so that -count can repeat a test.
var tests atomic.Int64

// newProcess returns a process with keys of its own, unless the test passes the partitions
// of another process.
func newProcess(t *testing.T, hooks map[string]Hook, change ...func(*Options)) *process {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(localredistest.Options(server.Addr()))
	batcher := rdb.NewBatcher(client, 0)
	t.Cleanup(func() { batcher.Close(); client.Close() })
	registry := prometheus.NewRegistry()
	o := Options{
		Redis: client, Partitions: rdb.NewPartitions(fmt.Sprint(t.Name(), ".", tests.Add(1)), 4),
		Hooks: hooks, Timeout: time.Minute, Location: time.UTC,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: registry, Now: time.Now,
	}
	for _, f := range change {
		f(&o)
	}
	return &process{Reports: New(o), t: t, client: client, batcher: batcher, registry: registry}
}

// run delivers reports until the test ends or stop is called.
func (p *process) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	p.t.Cleanup(stop)
	return stop
}

// queue queues a report whose body names the partition.
func (p *process) queue(service, id string, partition int) {
	p.t.Helper()
	r := &Report{ID: id, Body: fmt.Appendf(nil, `{"n":%d}`, partition)}
	if _, err := p.senders[service].put(p.t.Context(), p.batcher, partition, 0, r, ""); err != nil {
		p.t.Fatal(err)
	}
}

// queued counts the reports in a service's streams.
func (p *process) queued(service string) (n int64) {
	p.t.Helper()
	for partition := range p.partitions.Len() {
		length, err := p.client.XLen(p.t.Context(), p.streamKey(partition, service)).Result()
		if err != nil {
			p.t.Fatal(err)
		}
		n += length
	}
	return n
}

func (p *process) eventually(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(maxWait); !ok(); rdb.Sleep(p.t.Context(), 5*time.Millisecond) {
		if !time.Now().Before(deadline) {
			p.t.Fatalf("%s: condition not met after %v", what, maxWait)
		}
	}
}

// counter returns the value of a counter by its label values, in the order of the label
// names. It returns 0 if there is none.
func (p *process) counter(name string, values ...string) float64 {
	p.t.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var got []string
			for _, label := range metric.GetLabel() {
				got = append(got, label.GetValue())
			}
			if slices.Equal(got, values) {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}
