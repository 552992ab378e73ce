package dispatcher

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// patient is how long a test waits for something that should happen at once.
const patient = 3 * time.Minute

const day = 24 * time.Hour

// A phone is a push.Sender that records its deliveries and answers as the test says.
type phone struct {
	mu     sync.Mutex
	sent   []push.Delivery
	answer func(d *push.Delivery) push.Result // nil accepts everything
	probe  push.Result                        // the answer to probes
	change chan struct{}                      // closed and replaced on each push
}

func newPhone(answer func(d *push.Delivery) push.Result) *phone {
	return &phone{answer: answer, change: make(chan struct{})}
}

// Probe accepts, unless the phone's probe says otherwise.
func (p *phone) Probe(context.Context) push.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.probe
}

// set sets the answers to pushes and to probes.
func (p *phone) set(answer func(d *push.Delivery) push.Result, probe push.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.probe = answer, probe
}

func (p *phone) Send(ctx context.Context, d *push.Delivery) push.Result {
	if d.Check != nil {
		if err := d.Check(ctx); err != nil {
			return push.Result{Outcome: push.Unsent, Err: err}
		}
	}
	p.mu.Lock()
	p.sent = append(p.sent, *d)
	close(p.change)
	p.change = make(chan struct{})
	answer := p.answer
	p.mu.Unlock()
	if answer == nil {
		return push.Result{Outcome: push.Accepted, ProviderID: "id-" + d.ID}
	}
	return answer(d)
}

// wait waits until ok accepts the deliveries so far, and returns them.
func (p *phone) wait(t *testing.T, what string, ok func(sent []push.Delivery) bool) []push.Delivery {
	t.Helper()
	timeout := time.After(patient)
	for {
		p.mu.Lock()
		sent, change := slices.Clone(p.sent), p.change
		p.mu.Unlock()
		if ok(sent) {
			return sent
		}
		select {
		case <-change:
		case <-timeout:
			t.Fatalf("%s: condition not met after %v, %d pushes", what, patient, len(sent))
		}
	}
}

// pushes returns the deliveries so far.
func (p *phone) pushes() []push.Delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

func count(n int) func([]push.Delivery) bool {
	return func(sent []push.Delivery) bool { return len(sent) >= n }
}

// The routes of the default app.
var (
	toAndroid = push.Route{App: push.DefaultApp, Platform: "android"}
	toIOS     = push.Route{App: push.DefaultApp, Platform: "ios", Environment: push.Production}
	// iPhones whose apps are on Firebase; not among the senders of newWorld
	toFirebase = push.Route{App: push.DefaultApp, Platform: "ios"}
)

// A world is a dispatcher with its dependencies and with keys of its own.
type world struct {
	*Dispatcher
	t            *testing.T
	rdb          redis.UniversalClient
	prefix       string
	android, ios *phone
	reg          *prometheus.Registry
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, server.Addr(), change...)
}

func newWorldOn(t *testing.T, addr string, change ...func(*Options)) *world {
	t.Helper()
	redisClient := redis.NewClient(localredistest.Options(addr))
	prefix := prefixOf(t)
	parts := rdb.NewPartitions(prefix, 4)
	b := rdb.NewBatcher(redisClient, 0)
	w := &world{t: t, rdb: redisClient, prefix: prefix, android: newPhone(nil), ios: newPhone(nil), reg: prometheus.NewRegistry()}
	registry := devices.New(devices.Options{Redis: redisClient, Batcher: b, Partitions: parts})
	opts := Options{
		Redis: redisClient, Partitions: parts, Devices: registry,
		Credentials: credentials.New(credentials.Options{Batcher: b, Partitions: parts}),
		Inbox: inbox.New(inbox.Options{
			Redis: redisClient, Batcher: b, Partitions: parts, Devices: registry.ListKey,
			Dedupe: 7 * day, Keep: 90 * day, MaxNotifications: 1000, RetryFor: 24 * time.Hour,
		}),
		Senders: map[push.Route]push.Sender{toAndroid: w.android, toIOS: w.ios},
		Lease:   time.Minute,                           // so long that no lease is lost on a busy machine; tests of take-overs use soon
		Sends:   chat.Rate{PerSecond: 1e6, Burst: 1e6}, // tests of rate limits set their own
		Log:     slog.New(slog.NewTextHandler(testWriter{t}, nil)),
		Metrics: w.reg,
	}
	for _, f := range change {
		f(&opts)
	}
	for _, app := range []string{"app:" + toAndroid.String(), "app:" + toIOS.String()} { // as if acceptances had been noted for ever
		redisClient.HSetNX(t.Context(), parts.Key(parts.Of(app), app+":facts"), "since", 1)
	}
	w.Dispatcher = New(opts)
	t.Cleanup(func() { b.Close(); w.audit(); redisClient.Close() })
	return w
}

// soon makes leases short, for tests in which a lease ends.
func soon(o *Options) { o.Lease = 4 * time.Second }

var (
	prefixes sync.Map // by test
	runs     atomic.Int64
)

// prefixOf returns the common prefix of the keys of all worlds of a test. It is different
// each time that -count repeats the test.
func prefixOf(t *testing.T) string {
	name := strings.NewReplacer("/", ".", "{", "", "}", "").Replace(t.Name())
	prefix, known := prefixes.LoadOrStore(t, fmt.Sprint(name, ".", runs.Add(1)))
	if !known {
		t.Cleanup(func() { prefixes.Delete(t) })
	}
	return prefix.(string)
}

// makeDue makes all entries of a delayed set due.
func (w *world) makeDue(key string) {
	w.t.Helper()
	ctx := context.Background()
	for _, member := range w.rdb.ZRange(ctx, key, 0, -1).Val() {
		if err := w.rdb.ZAddXX(ctx, key, redis.Z{Score: 0, Member: member}).Err(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// suspect waits until a user's device is suspect, and returns it.
func (w *world) suspect(user int64) (d devices.Device) {
	w.t.Helper()
	w.eventually("a suspect device", func() bool {
		listed, err := w.opts.Devices.List(context.Background(), user)
		if err != nil {
			w.t.Fatal(err)
		}
		i := slices.IndexFunc(listed, func(d devices.Device) bool { return d.Suspect != nil })
		if i >= 0 {
			d = listed[i]
		}
		return i >= 0
	})
	return d
}

// recheck has the recheck of a user's suspect device happen now, as if two minutes had
// passed since the first verdict.
func (w *world) recheck(user int64) {
	w.t.Helper()
	w.atRest(user)
	w.recheckWith(user, 0)
	w.makeAllDue(user)
}

// makeAllDue makes all delayed entries of a user's partition due.
func (w *world) makeAllDue(user int64) {
	w.t.Helper()
	w.atRest(user)
	for _, l := range push.Lanes {
		w.makeDue(w.Outbox.DelayedKey(w.opts.Partitions.OfUser(user), l))
	}
}

// atRest waits until no entry of a user's partition is queued: a push that was attempted may
// not be settled yet, and is among the delayed entries only then.
func (w *world) atRest(user int64) {
	w.t.Helper()
	p := w.opts.Partitions.OfUser(user)
	w.eventually("no queued entry", func() bool {
		for _, l := range push.Lanes {
			n, err := w.rdb.XLen(context.Background(), w.Outbox.StreamKey(p, l)).Result()
			if err != nil {
				w.t.Fatal(err)
			}
			if n > 0 {
				return false
			}
		}
		return true
	})
}

// recheckWith has a user's suspect device be due for its recheck at a moment from now on.
func (w *world) recheckWith(user int64, next time.Duration) {
	w.t.Helper()
	w.eventually("an aged suspect", func() bool { // unless the device changes meanwhile
		d := w.suspect(user)
		aged, now := d, time.Now()
		aged.Suspect = &devices.Suspect{Since: now.Add(-2 * time.Minute).UnixMilli(), Next: now.Add(next).UnixMilli(), Reason: d.Suspect.Reason}
		_, ok, err := w.opts.Devices.Change(context.Background(), user, d, aged)
		if err != nil {
			w.t.Fatal(err)
		}
		return ok
	})
}

// audit fails the test if the data in Redis is inconsistent.
func (w *world) audit() {
	ctx := context.Background()
	redisClient := redis.NewClient(w.rdb.(*redis.Client).Options()) // the test may have broken its own client
	defer redisClient.Close()
	if redisClient.Ping(ctx).Err() != nil {
		return // the test has stopped Redis
	}
	b := rdb.NewBatcher(redisClient, 0)
	defer b.Close()
	opts := w.opts
	opts.Redis, opts.Metrics = redisClient, nil
	store := opts.Inbox.Options()
	store.Redis, store.Batcher = redisClient, b
	opts.Inbox = inbox.New(store)
	err := New(opts).Auditor.All(ctx, false, func(f inbox.Finding) { w.t.Errorf("audit: %+v", f) })
	if err != nil {
		w.t.Errorf("audit: %v", err)
	}
}

// testWriter writes log lines to the log of the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// run runs the dispatcher until the test ends or stop is called.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	w.t.Cleanup(stop)
	return stop
}

func (w *world) register(user int64, platform devices.Platform, token string) devices.Device {
	w.t.Helper()
	d, err := w.opts.Devices.Register(context.Background(), user, devices.Device{Platform: platform, Token: token}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) parse(raw string) *event.Event {
	w.t.Helper()
	e, err := w.Parse([]byte(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) publish(raw string) Published {
	w.t.Helper()
	r := w.Publish(context.Background(), "service:test", w.parse(raw))[0]
	if r.Err != nil {
		w.t.Fatal(r.Err)
	}
	return r
}

// status waits until ok accepts the status of an event's only receiver, and returns it.
func (w *world) status(id string, ok func(delivery.ReceiverStatus) bool) delivery.ReceiverStatus {
	w.t.Helper()
	var last delivery.ReceiverStatus
	w.eventually("status of "+id, func() bool {
		all, err := w.Delivery.Status(context.Background(), "service:test", id)
		if err != nil {
			w.t.Fatal(err)
		}
		last = all[0]
		return ok(last)
	})
	return last
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patient)
	for !ok() {
		if !time.Now().Before(deadline) {
			w.t.Fatalf("%s: condition not met after %v", what, patient)
		}
		rdb.Sleep(context.Background(), 5*time.Millisecond)
	}
}

// left returns the numbers of queued, delayed and dead entries. It counts them in one
// transaction, so that it misses no entry that moves between a stream and a delayed set.
func (w *world) left() (out, delayed, dead int) {
	w.t.Helper()
	var streams, sets, letters []*redis.IntCmd
	ctx := context.Background()
	_, err := w.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		for p := range w.opts.Partitions.Len() {
			for _, l := range push.Lanes {
				streams = append(streams, tx.XLen(ctx, w.Outbox.StreamKey(p, l)))
				for _, app := range []string{"", ":" + toAndroid.String(), ":" + toIOS.String()} { // the latter wait for a circuit
					sets = append(sets, tx.ZCard(ctx, w.Outbox.DelayedKey(p, l)+app))
				}
			}
			letters = append(letters, tx.XLen(ctx, w.opts.Partitions.Key(p, "dead")))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return sum(streams), sum(sets), sum(letters)
}

func sum(counts []*redis.IntCmd) (n int) {
	for _, c := range counts {
		n += int(c.Val())
	}
	return n
}

func (w *world) settled() {
	w.t.Helper()
	w.eventually("everything settled", func() bool {
		out, delayed, _ := w.left()
		return out == 0 && delayed == 0
	})
}

// metric returns the sum of the samples of a counter or gauge that have the labels, given as
// name and value. It fails the test when the metric has no such label.
func (w *world) metric(name string, labels ...string) (sum float64) {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := make(map[string]string)
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			wanted := true
			for i := 0; i < len(labels); i += 2 {
				value, ok := has[labels[i]]
				if !ok {
					w.t.Fatalf("%s has no label %s", name, labels[i])
				}
				wanted = wanted && value == labels[i+1]
			}
			if wanted {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// dataJSON returns a push's data as one JSON object.
func dataJSON(fields []push.Field) []byte {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, f.Name), ':')
		b = append(b, f.Value...)
	}
	return append(b, '}')
}
