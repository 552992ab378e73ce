package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// A prober is a provider that only answers probes.
type prober struct {
	mu     sync.Mutex
	answer push.Result
	probes int
}

func (p *prober) Send(context.Context, *push.Delivery) push.Result { panic("not used") }

func (p *prober) Probe(context.Context) push.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probes++
	return p.answer
}

func (p *prober) set(r push.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = r
}

var prefixes atomic.Int64

// A platformTest is several gateways that share one app.
type platformTest struct {
	*testing.T
	prober  *prober
	redis   *redis.Client
	prefix  string
	ahead   atomic.Int64 // of the gateways' clocks, ns
	waiting func()       // called for pushes that wait, when they are to be tried
}

func newPlatformTest(t *testing.T) *platformTest {
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	p := &platformTest{T: t, prober: &prober{answer: push.Result{Outcome: push.Accepted}}, prefix: fmt.Sprintf("app%d", prefixes.Add(1))}
	p.redis = redis.NewClient(localredistest.Options(server.Addr()))
	t.Cleanup(func() { p.redis.Close() })
	return p
}

func (p *platformTest) now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

func (p *platformTest) pass(d time.Duration) { p.ahead.Add(int64(d)) }

// gateway starts a gateway's view of the app.
func (p *platformTest) gateway() *app {
	w := &Workers{Options: Options{
		Redis: p.redis, Partitions: rdb.NewPartitions(p.prefix, 4), Log: slog.New(slog.DiscardHandler), Now: p.now,
	}, metrics: newMetrics(prometheus.NewRegistry())}
	a := newApp(w, push.Route{App: "default", Platform: "android"}, p.prober)
	a.release = func(context.Context, *rdb.Batcher, int) (int, error) {
		if p.waiting == nil {
			return 0, nil
		}
		p.waiting()
		return 1, nil
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.run(ctx) })
	p.Cleanup(func() { stop(); running.Wait(); a.batcher.Close() })
	return a
}

// known is a device to which pushes were accepted.
func (p *platformTest) known(id string) devices.Device {
	return devices.Device{ID: id, Platform: devices.Android, AcceptedDay: devices.Day(p.now())}
}

func (p *platformTest) answer(a *app, user int64, r push.Result) {
	p.answerTo(a, user, p.known(fmt.Sprint("d", user)), r)
}

func (p *platformTest) answerTo(a *app, user int64, d devices.Device, r push.Result) {
	a.report(attempt{lane: push.Urgent, user: user, device: d, started: p.now()}, &r)
}

// until waits for a condition.
func (p *platformTest) until(what string, ok func() bool) {
	p.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatalf("%s: not after a minute", what)
		}
	}
}

// told waits until Redis knows what a gateway has seen so far, and the gateway what others
// have.
func (p *platformTest) told(a *app) {
	p.Helper()
	a.mu.Lock()
	before := a.syncs
	a.mu.Unlock()
	p.until("observations shared", func() bool {
		a.share()
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.syncs >= before+2 // the first one may have begun before
	})
}

var (
	refused   = push.Result{Outcome: push.CredentialsRefused, Reason: "UNAUTHENTICATED"}
	ambiguous = push.Result{Outcome: push.Ambiguous, Reason: "NOT_FOUND"}
	accepted  = push.Result{Outcome: push.Accepted}
)

// Refused credentials open the circuit of every gateway, also of one that starts later, and
// a probe that is accepted closes it.
func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	first, second := p.gateway(), p.gateway()
	p.prober.set(refused)
	p.answer(first, 1, refused)
	if adm := first.admit(push.Urgent, 2, false); adm.wait == 0 || adm.reason != push.ReasonCircuitOpen {
		t.Errorf("another push is attempted: %+v", adm)
	}
	p.until("open everywhere", func() bool { p.told(second); return first.open() && second.open() })
	third := p.gateway()
	p.until("open after a start", third.open)
	if since, why := third.openSince(); since == 0 || why != "UNAUTHENTICATED" {
		t.Errorf("open since %d, %s", since, why)
	}
	if testutil.ToFloat64(first.metrics.circuit.WithLabelValues("default", "android", "")) != 1 {
		t.Error("the metric does not say so")
	}
	p.prober.set(accepted)
	p.until("closed everywhere", func() bool { return !first.open() && !second.open() && !third.open() })
}

// After an ambiguous answer the provider is asked without a device: what it says about our
// credentials decides at once.
func TestAmbiguousAnswerAsksTheProvider(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	a := p.gateway()
	for user := range int64(20) {
		p.answer(a, user, accepted)
	}
	p.told(a)
	p.prober.set(refused)
	p.answer(a, 1, ambiguous)
	p.until("open", a.open)
}

// One device, however often, and devices that were never accepted, do not open a circuit;
// three users of several gateways do.
func TestEvidenceOfDistinctUsers(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	first, second := p.gateway(), p.gateway()
	for user := range int64(20) {
		p.answer(first, user, accepted)
	}
	p.told(first)
	facts := first.keys.facts()
	p.redis.HSet(t.Context(), facts, "accepted", time.Now().Add(-contradicts-time.Second).UnixMilli())
	for range 50 {
		p.answer(first, 1, ambiguous)
	}
	for user := range int64(300) {
		p.answerTo(first, 1000+user, devices.Device{ID: "made up", Generation: p.now().UnixMicro()}, push.Result{Outcome: push.DeadToken, Reason: "BadDeviceToken"})
	}
	p.answer(second, 2, ambiguous)
	for _, a := range []*app{first, second} {
		p.told(a)
		if a.open() {
			t.Fatal("two users have opened the circuit")
		}
	}
	p.answer(second, 3, ambiguous)
	p.until("open everywhere", func() bool { p.told(first); return first.open() && second.open() })
}

// While the circuit is half-open, pushes to others are tried by any gateway, and an
// acceptance closes the circuit. Those who have opened it are tried less often.
func TestTrialClosesTheCircuit(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	first, second := p.gateway(), p.gateway()
	var tried atomic.Int64
	p.waiting = func() { // the other gateway reads what was made due
		for _, user := range []int64{1, 2, 3, 4} {
			if second.admit(push.Urgent, user, true).wait == 0 && tried.CompareAndSwap(0, user) {
				p.answer(second, user, accepted)
			}
		}
	}
	for user := range int64(3) {
		p.answer(first, user+1, ambiguous)
	}
	p.until("open", first.open)
	p.until("closed everywhere", func() bool { return !first.open() && !second.open() })
	if user := tried.Load(); user != 4 {
		t.Errorf("user %d was tried", user)
	}
}

// When only the users who have opened the circuit get pushes, theirs are tried.
func TestTrialOfThoseWhoOpenedTheCircuit(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	a := p.gateway()
	p.waiting = func() {
		if a.admit(push.Urgent, 1, true).wait == 0 {
			p.answer(a, 1, accepted)
		}
	}
	p.answer(a, 1, ambiguous)
	p.until("open", a.open)
	p.until("closed", func() bool { return !a.open() })
}

// One token for which our credentials are always refused stops nobody: after a probe was
// accepted, the next refusal asks the provider first.
func TestCredentialsRefusedForOneToken(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	a := p.gateway()
	p.answer(a, 1, refused)
	if !a.open() {
		t.Fatal("the first refusal does not open the circuit")
	}
	p.until("closed", func() bool { return !a.open() })
	for range 3 {
		p.answer(a, 1, refused)
		p.told(a)
		if a.open() {
			t.Fatal("the token opens the circuit again")
		}
	}
}

// A gateway with bad credentials, while those of others are accepted, stops nobody for long.
func TestCredentialsOfOneGateway(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	good, bad := p.gateway(), p.gateway()
	bad.sender = &prober{answer: refused}
	opened := 0
	p.until("the bad gateway knows", func() bool {
		p.answer(bad, 1, refused)
		p.until("closed", func() bool { return !good.open() && !bad.open() })
		opened++
		bad.mu.Lock()
		defer bad.mu.Unlock()
		return !bad.differs.IsZero()
	})
	p.answer(bad, 2, refused)
	p.told(bad)
	p.told(good)
	if good.open() || bad.open() {
		t.Error("the gateway opens the circuit again")
	}
}

// Distinct users who are told to slow down slow the project down: bulk first.
func TestSlowDown(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	first, second := p.gateway(), p.gateway()
	slow := push.Result{Outcome: push.SlowDown, Reason: "QUOTA_EXCEEDED"}
	paused := func(a *app, l push.Lane) bool { return a.admit(l, 9, false).wait > 0 }
	device := slow
	device.Scope = push.ScopeDevice
	for user := range int64(5) {
		p.answer(first, user, device)
		p.answer(first, 1, slow)
	}
	p.told(first)
	if paused(first, push.Bulk) {
		t.Fatal("one user has paused a lane")
	}
	p.answer(first, 2, slow)
	p.answer(second, 3, slow)
	p.until("bulk pauses everywhere", func() bool {
		p.told(first)
		p.told(second)
		return paused(first, push.Bulk) && paused(second, push.Bulk)
	})
	if paused(first, push.Chat) || paused(first, push.Urgent) {
		t.Error("another lane pauses, too")
	}
	project := slow
	project.Scope = push.ScopeProject
	p.answer(first, 4, project)
	p.until("chat pauses", func() bool { return paused(first, push.Chat) })
	if paused(first, push.Urgent) {
		t.Error("urgent pauses")
	}
}

// A storm is counted over all gateways, and nobody is forgotten while it cannot be counted.
func TestStormIsShared(t *testing.T) {
	t.Parallel()
	p := newPlatformTest(t)
	first, second := p.gateway(), p.gateway()
	dead := push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"}
	for i := range int64(40) {
		p.answer(first, i, accepted)
		p.answer(second, 100+i, dead)
	}
	p.told(first)
	p.told(second)
	for _, a := range []*app{first, second} {
		if s := a.stormNow(t.Context()); !s.lasts() || s.everybody() || s.attempted < 70 || s.dead < 35 || s.accepted.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	if testutil.ToFloat64(first.metrics.storm.WithLabelValues("default", "android", "")) != 1 {
		t.Error("the metric does not say so")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	p.pass(time.Minute)
	if s := first.stormNow(canceled); !s.everybody() {
		t.Errorf("devices could not be counted: %+v", s)
	}
}
