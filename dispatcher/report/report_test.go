package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A report that the service does not accept is sent again, with the same id, until it is
// accepted.
func TestReportIsRetried(t *testing.T) {
	t.Parallel()
	c := &recorder{answer: func(n int) push.Result {
		if n < 3 {
			return push.Result{Outcome: push.Later, Reason: "http_5xx"}
		}
		return push.Result{Outcome: push.Accepted}
	}}
	p := newProcess(t, hooks(c))
	p.queue("test", "r", 0)
	p.run()
	p.eventually("three attempts", func() bool { return len(c.reports()) == 3 && p.queued("test") == 0 })
	for _, r := range c.reports() {
		if r.ID != "r" || string(r.Body) != `{"n":0}` {
			t.Errorf("report %s %s", r.ID, r.Body)
		}
	}
	if n := p.counter("kabar_report_retries_total", "http_5xx", "test"); n != 2 {
		t.Errorf("%v retries counted", n)
	}
	if n := p.counter("kabar_reports_sent_total", "test"); n != 1 {
		t.Errorf("%v sent reports counted", n)
	}
}

// A process leases reports and is killed before or after its POST, so that it does not
// settle them. Another process sends them with the same ids.
func TestReportOfADeadProcess(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := &recorder{}
	dead := newProcess(t, hooks(c))
	n := dead.partitions.Len()
	for partition := range n {
		dead.queue("test", fmt.Sprint("r", partition), partition)
	}
	sender := dead.senders["test"]
	sender.batcher = dead.batcher // normally set by run
	taken, _, err := sender.take(ctx, maxInFlight)
	if err != nil || len(taken) != n {
		t.Fatal(taken, err)
	}
	if again, _, err := sender.take(ctx, maxInFlight); err != nil || len(again) != 0 {
		t.Fatalf("leased twice: %v, %v", again, err)
	}
	for _, l := range taken { // end the leases
		due := redis.Z{Score: 0, Member: l.entry}
		if err := dead.client.ZAddXX(ctx, dead.dueKey(l.partition, "test"), due).Err(); err != nil {
			t.Fatal(err)
		}
	}
	alive := newProcess(t, hooks(c), func(o *Options) { o.Partitions = dead.partitions })
	alive.run()
	alive.eventually("all reports", func() bool { return len(c.reports()) == n && alive.queued("test") == 0 })
	var ids []string
	for _, r := range c.reports() {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	if want := []string{"r0", "r1", "r2", "r3"}; !slices.Equal(ids, want) {
		t.Errorf("reports %v, want %v", ids, want)
	}
	// When the dead process comes back and asks for a retry, it is too late, because the
	// report is gone.
	late := sender.settleCommand(ctx, taken[0].partition, taken[0].entry, "0")
	if err := dead.batcher.Do(ctx, late); err != nil {
		t.Fatal(err)
	}
	if settled, err := late.Int(); err != nil || settled != 0 || dead.queued("test") != 0 {
		t.Errorf("reply %d, %v; %d reports came back", settled, err, dead.queued("test"))
	}
	if due := dead.client.ZCard(ctx, dead.dueKey(taken[0].partition, "test")).Val(); due != 0 {
		t.Errorf("%d reports are due again", due)
	}
}

// A worker that has lost its entry does not queue a report about it.
func TestNoReportOfALostEntry(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := newProcess(t, hooks(&recorder{}))
	worker := func(consumer string) *outbox.Outbox {
		return outbox.New(outbox.Options{
			Redis: p.client, Batcher: p.batcher, Partitions: p.partitions, Consumer: consumer, Lease: time.Minute,
			RetryFor: time.Hour, Fragments: []outbox.Fragment{Fragment}, Log: p.log, Now: p.now,
		})
	}
	holder, loser := worker("holder"), worker("loser")
	if err := holder.CreateGroups(ctx, push.Bulk); err != nil {
		t.Fatal(err)
	}
	e := &outbox.Entry{User: 66, Service: "test", Type: "discount", ID: strings.Repeat("0", 24), Body: "{}"}
	partition := p.partitions.OfUser(e.User)
	stream := holder.StreamKey(partition, push.Bulk)
	if err := p.client.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []any{outbox.EntryField, e.Value()}}).Err(); err != nil {
		t.Fatal(err)
	}
	held, err := holder.Read(ctx, push.Bulk, 1)
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	letters := []outbox.Dead{{Device: "d", Reason: "expired", Value: e.Value()}}
	settlement := &outbox.Settlement{
		Key: held[0].Key, Lane: push.Bulk, Dead: letters,
		Additions: []outbox.Addition{p.Failures(partition, e, letters)},
	}
	for _, c := range []struct {
		by      *outbox.Outbox
		held    bool
		results []int64
		reports int64 // number of reports and of dead letters
		left    int64 // entries in the stream
	}{
		{loser, false, []int64{}, 0, 1},
		{holder, true, []int64{0}, 1, 0},
		{holder, false, []int64{}, 1, 0}, // a repeat
	} {
		settled := c.by.Settle(ctx, p.batcher, []*outbox.Settlement{settlement})[0]
		if settled.Err != nil || settled.Held != c.held || !slices.Equal(settled.Results, c.results) {
			t.Errorf("%+v; want %+v", settled, c)
		}
		dead, err := c.by.DeadLetters(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		left := p.client.XLen(ctx, stream).Val()
		if p.queued("test") != c.reports || int64(len(dead)) != c.reports || left != c.left {
			t.Errorf("%d reports, %d dead letters, %d entries; want %+v", p.queued("test"), len(dead), left, c)
		}
	}
}

// A report that the service never accepts is dropped after Hook.RetryFor.
func TestReportExpires(t *testing.T) {
	t.Parallel()
	c := &recorder{answer: func(int) push.Result { return push.Result{Outcome: push.Later, Reason: "timeout"} }}
	hooks := hooks(c)
	hook := hooks["test"]
	hook.RetryFor = 300 * time.Millisecond
	hooks["test"] = hook
	p := newProcess(t, hooks)
	p.queue("test", "r", 0)
	p.run()
	p.eventually("an empty queue", func() bool { return p.queued("test") == 0 })
	if n := p.counter("kabar_reports_dropped_total", "timeout", "test"); n != 1 {
		t.Errorf("%v dropped reports counted", n)
	}
}

// When a service answers that it wants no more reports, the report is dropped. The other
// reports wait for an hour.
func TestGoneService(t *testing.T) {
	t.Parallel()
	c := &recorder{answer: func(int) push.Result { return push.Result{Outcome: push.Refused, Reason: "gone"} }}
	now := time.Now()
	p := newProcess(t, hooks(c), func(o *Options) { o.Now = func() time.Time { return now } })
	p.queue("test", "r1", 0)
	stop := p.run()
	p.eventually("the drop", func() bool { return p.queued("test") == 0 })
	p.queue("test", "r2", 0)
	sender := p.senders["test"]
	sender.mu.Lock()
	if want := now.Add(maxPause); !sender.pausedUntil.Equal(want) {
		t.Errorf("paused until %v, want %v", sender.pausedUntil, want)
	}
	sender.mu.Unlock()
	stop() // returns before the pause has ended
	if len(c.reports()) != 1 || p.queued("test") != 1 {
		t.Errorf("%d attempts, %d reports wait", len(c.reports()), p.queued("test"))
	}
	if n := p.counter("kabar_reports_dropped_total", "gone", "test"); n != 1 {
		t.Errorf("%v dropped reports counted", n)
	}
}

// A service that does not answer uses up only its own attempts, not those of another
// service.
func TestDeadServiceCostsOnlyItself(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	stuck := &recorder{answer: func(int) push.Result { <-release; return push.Result{Outcome: push.Accepted} }}
	c := &recorder{}
	hooks := hooks(c)
	hooks["stuck"] = Hook{Client: stuck}
	p := newProcess(t, hooks)
	for n := range 2 * maxInFlight {
		p.queue("stuck", "s", n%p.partitions.Len())
	}
	p.run()
	t.Cleanup(func() { close(release) }) // runs before run's cleanup, which waits for the attempts
	p.eventually("attempts", func() bool { return len(stuck.reports()) == maxInFlight })
	p.queue("test", "r", 3)
	p.eventually("the other service's report", func() bool { return len(c.reports()) == 1 })
	if n := len(stuck.reports()); n != maxInFlight {
		t.Errorf("%d attempts at once", n)
	}
}

// The number of queued reports is limited. The oldest reports are dropped to make room.
func TestReportsAreBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := &recorder{}
	p := newProcess(t, hooks(c))
	for n := range maxQueued + 3 {
		p.queue("test", fmt.Sprint(n), 0)
	}
	if n := p.queued("test"); n != maxQueued {
		t.Errorf("%d reports wait", n)
	}
	if n := p.client.ZCard(ctx, p.dueKey(0, "test")).Val(); n != maxQueued {
		t.Errorf("%d reports are due", n)
	}
	if n := p.counter("kabar_reports_dropped_total", "full", "test"); n != 3 {
		t.Errorf("%v dropped reports counted", n)
	}
	for _, key := range []string{p.streamKey(0, "test"), p.dueKey(0, "test")} {
		if ttl := p.client.PTTL(ctx, key).Val(); ttl < retryFor || ttl > keepFor {
			t.Errorf("%s lives for %v", key, ttl)
		}
	}
	if n, err := testutil.GatherAndCount(p.registry, "kabar_reports"); n != 1 || err != nil {
		t.Errorf("%d queues are shown, %v", n, err)
	}
	p.run()
	p.eventually("an empty queue", func() bool { return p.queued("test") == 0 })
	for _, r := range c.reports() {
		if r.ID == "0" || r.ID == "1" || r.ID == "2" {
			t.Errorf("the old report %s was sent", r.ID)
		}
	}
	if n := len(c.reports()); n != maxQueued {
		t.Errorf("%d reports were sent", n)
	}
}

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ after, age, min, max time.Duration }{
		{0, 0, 5 * time.Second, 7 * time.Second},
		{0, time.Minute, time.Minute, 75 * time.Second},
		{0, 20 * time.Hour, maxBackoff, maxBackoff * 5 / 4},
		{time.Second, time.Hour, time.Second, 2 * time.Second},
		{100 * time.Hour, 0, maxBackoff, maxBackoff * 5 / 4},
	} {
		if got := retryDelay(push.Result{RetryAfter: c.after}, c.age, 5*time.Second); got < c.min || got > c.max {
			t.Errorf("Retry-After %v, age %v: %v, want %v to %v", c.after, c.age, got, c.min, c.max)
		}
	}
}

// Reports are sent and delayed at maxmemory.
func TestReportsWithFullMemory(t *testing.T) {
	t.Parallel()
	server, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir(), Args: []string{"--appendonly", "no"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client := redis.NewClient(localredistest.Options(server.Addr()))
	batcher := rdb.NewBatcher(client, 0)
	t.Cleanup(func() { batcher.Close(); client.Close() })

	c := &recorder{answer: func(n int) push.Result {
		if n == 1 {
			return push.Result{Outcome: push.Later, Reason: "http_5xx"}
		}
		return push.Result{Outcome: push.Accepted}
	}}
	p := newProcess(t, hooks(c), func(o *Options) { o.Redis = client })
	p.client, p.batcher = client, batcher
	p.queue("test", "r", 0)
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	p.run()
	p.eventually("the report is sent", func() bool { return len(c.reports()) == 2 && p.queued("test") == 0 })
}

// A stale device is reported to every service that wants to know of forgotten devices, about
// no event, and the report can be withdrawn.
func TestStaleDevicesAreReported(t *testing.T) {
	t.Parallel()
	client := &recorder{}
	p := newProcess(t, map[string]Hook{
		"every":   {Client: client},
		"device":  {Client: client, Types: []string{DeviceForgotten}},
		"another": {Client: client, Types: []string{EventFailed}},
	})
	ctx, partition := t.Context(), p.partitions.OfUser(66)
	queued := func(service string) []redis.XMessage {
		return p.client.XRange(ctx, p.streamKey(partition, service), "-", "+").Val()
	}
	withdraw, err := p.Stale(ctx, p.batcher, 66, "d1", push.Route{App: push.DefaultApp, Platform: "android"})
	if err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]int{"every": 1, "device": 1, "another": 0} {
		got := queued(service)
		if len(got) != want {
			t.Fatalf("%s: %d reports", service, len(got))
		}
		for _, m := range got {
			text := fmt.Sprint(m.Values)
			for _, part := range []string{`"type":"device.forgotten"`, `"user_id":66`, `"device":"d1"`, `"app":"default"`, `"platform":"android"`, `"reason":"stale"`} {
				if !strings.Contains(text, part) {
					t.Errorf("%s: no %s in %s", service, part, text)
				}
			}
			if strings.Contains(text, "event_id") {
				t.Errorf("%s: about an event: %s", service, text)
			}
		}
	}
	withdraw(ctx)
	if n := len(queued("every")) + len(queued("device")); n != 0 {
		t.Errorf("%d reports after they were withdrawn", n)
	}
}
