package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
)

// A letterbox is a Courier that notes what it is given, and answers as the test says.
type letterbox struct {
	mu     sync.Mutex
	got    []report.Report
	answer func(n int, r *report.Report) push.Result // n counts from 1; nil: accepted
}

func (b *letterbox) Deliver(_ context.Context, r *report.Report) push.Result {
	b.mu.Lock()
	b.got = append(b.got, *r)
	n := len(b.got)
	b.mu.Unlock()
	if b.answer == nil {
		return push.Result{Outcome: push.Accepted}
	}
	return b.answer(n, r)
}

func (b *letterbox) reports() []report.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// hooked gives the service of the tests a hook, with waits that suit tests.
func hooked(b *letterbox, types ...string) func(*Options) {
	return func(o *Options) {
		o.Hooks = map[string]report.Hook{"test": {Courier: b, Types: types, Timeout: time.Minute, Backoff: 10 * time.Millisecond}}
	}
}

// waiting counts the reports that wait.
func (w *world) waiting(service string) (n int) {
	for p := range w.opts.Partitions.Len() {
		n += int(w.rdb.XLen(context.Background(), w.reportsKey(p, service)).Val())
	}
	return n
}

type reportRead struct {
	Type      string
	Timestamp time.Time
	Data      struct {
		EventID        string `json:"event_id"`
		Source         string
		UserID         int64 `json:"user_id"`
		Device         string
		Platform       string
		Reason         string
		Type           string
		NotificationID string `json:"notification_id"`
	}
}

// begun is before all tests; reports have whole seconds.
var begun = time.Now().Truncate(time.Second)

func readReport(t *testing.T, r report.Report) (read reportRead) {
	t.Helper()
	if err := json.Unmarshal(r.Body, &read); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
	if !strings.HasPrefix(r.ID, "msg_") || read.Timestamp.Before(begun) || read.Timestamp.After(time.Now()) {
		t.Errorf("report %s at %v", r.ID, read.Timestamp)
	}
	return read
}

// Each dead letter of a service's event is reported to that service, and to no other.
func TestReportOfFailure(t *testing.T) {
	box, other := &letterbox{}, &letterbox{}
	w := newWorld(t, hooked(box), func(o *Options) { o.Hooks["other"] = report.Hook{Courier: other} })
	w.android.answer = func(*push.Delivery) push.Result { return push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"} }
	device := w.register(66, devices.Android, "A-secret-token")
	w.run()
	e := w.parse(`{"id":"p","type":"discount","receiver_id":66,"message":"secret"}`).WithSource("/promotions")
	if r := w.Publish(context.Background(), "service:test", e)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	w.eventually("a report", func() bool { return len(box.reports()) == 1 && w.waiting("test") == 0 })
	read := readReport(t, box.reports()[0])
	d := read.Data
	if read.Type != report.EventFailed || d.EventID != "p" || d.Source != "/promotions" || d.UserID != 66 || d.Device != device.ID ||
		d.Reason != "PayloadTooLarge" || d.Type != "discount" || len(d.NotificationID) != 24 {
		t.Errorf("report %+v", read)
	}
	if body := string(box.reports()[0].Body); strings.Contains(body, "secret") {
		t.Errorf("the report tells too much: %s", body)
	}
	w.Publish(context.Background(), "service:third", w.parse(promo))
	w.settled()
	if len(box.reports()) != 1 || len(other.reports()) != 0 {
		t.Errorf("%d reports, %d to another service", len(box.reports()), len(other.reports()))
	}
	if n := w.metric("kabar_reports_sent_total", "test"); n != 1 {
		t.Errorf("%v counted", n)
	}
}

// A service gets the reports that it asked for.
func TestReportsWanted(t *testing.T) {
	box := &letterbox{}
	w := newWorld(t, hooked(box, report.BroadcastDone))
	w.android.answer = func(d *push.Delivery) push.Result {
		if d.Token == "A" {
			return push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"}
		}
		return push.Result{Outcome: push.Forget, Reason: "UNREGISTERED"}
	}
	w.register(66, devices.Android, "A")
	w.register(66, devices.Android, "B")
	stop := w.run()
	w.publish(promo)
	w.settled()
	w.start(`{"id":"b1","message":"m"}`)
	w.becomes("b1", broadcast.Done)
	w.eventually("a report", func() bool { return len(box.reports()) == 1 })
	queued := func() int64 {
		return w.rdb.XLen(t.Context(), w.reportsKey(w.opts.Partitions.Of("b1"), "test")).Val()
	}
	w.eventually("it is settled", func() bool { return queued() == 0 })
	stop()
	// Another process has seen the end, too, or the first answer was lost.
	status := w.broadcast("b1")
	if err := w.closeBroadcast(t.Context(), w.opts.Inbox.Options().Batcher, broadcastKey(status.Source, "b1")); err != nil {
		t.Fatal(err)
	}
	if n := queued(); n != 0 {
		t.Errorf("the report is queued again")
	}
	got := box.reports()
	if read := readReport(t, got[0]); read.Type != report.BroadcastDone ||
		!strings.Contains(string(got[0].Body), `"data":{"broadcast_id":"b1","state":"done","total":1,"sent":1,"skipped":0,`) {
		t.Errorf("report %s", got[0].Body)
	}
}

func TestReportOfForgottenDevice(t *testing.T) {
	box := &letterbox{}
	w := newWorld(t, hooked(box))
	again := make(chan string, 1)
	w.android.answer = func(d *push.Delivery) push.Result {
		select {
		case token := <-again: // the app registers while its push is under way
			w.register(66, devices.Android, token)
		default:
		}
		return push.Result{Outcome: push.Forget, Reason: "UNREGISTERED"}
	}
	w.register(66, devices.Android, "A")
	w.run()
	again <- "A"
	w.publish(promo)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool {
		return len(s.Devices) == 1 && s.Devices[0].Outcome == "forgotten"
	})
	w.settled()
	if n := w.waiting("test"); n != 0 {
		t.Errorf("%d reports of a device that is registered", n)
	}
	listed, err := w.opts.Devices.List(context.Background(), 66)
	if err != nil || len(listed) != 1 {
		t.Fatal(listed, err)
	}
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.eventually("a report", func() bool { return len(box.reports()) == 1 })
	read := readReport(t, box.reports()[0])
	if d := read.Data; read.Type != report.DeviceForgotten || d.EventID != "promo-2" || d.UserID != 66 || d.Device != listed[0].ID ||
		d.Platform != "android" || d.Reason != "UNREGISTERED" {
		t.Errorf("report %+v", read)
	}
}

// While the report cannot be queued, the device stays, so that the next push tells.
func TestDeviceStaysWithoutItsReport(t *testing.T) {
	w := newWorld(t, hooked(&letterbox{}))
	device := w.register(66, devices.Android, "A")
	key := w.reportsKey(w.opts.Partitions.OfUser(66), "test")
	if err := w.rdb.Set(context.Background(), key, "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	w.android.answer = func(*push.Delivery) push.Result { return push.Result{Outcome: push.Forget, Reason: "UNREGISTERED"} }
	w.run()
	w.publish(promo)
	w.settled()
	if listed, err := w.opts.Devices.List(context.Background(), 66); err != nil || len(listed) != 1 || listed[0].ID != device.ID {
		t.Errorf("devices %v, %v", listed, err)
	}
}

// A report that is refused comes again with the same id, until it is taken.
func TestReportIsRetried(t *testing.T) {
	box := &letterbox{answer: func(n int, _ *report.Report) push.Result {
		if n < 3 {
			return push.Result{Outcome: push.Later, Reason: "http_5xx"}
		}
		return push.Result{Outcome: push.Accepted}
	}}
	w := newWorld(t, hooked(box))
	w.queueReport("r", 0)
	w.run()
	w.eventually("three attempts", func() bool { return len(box.reports()) == 3 && w.waiting("test") == 0 })
	for _, r := range box.reports() {
		if r.ID != "r" || string(r.Body) != `{"n":0}` {
			t.Errorf("report %s %s", r.ID, r.Body)
		}
	}
	if n := w.metric("kabar_report_retries_total", "http_5xx", "test"); n != 2 {
		t.Errorf("%v retries counted", n)
	}
}

// queueReport queues reports in a partition.
func (w *world) queueReport(id string, partition int) {
	w.t.Helper()
	r := w.hooks["test"]
	body := fmt.Appendf(nil, `{"n":%d}`, partition)
	if _, err := r.put(context.Background(), w.opts.Inbox.Options().Batcher, partition, 0, &report.Report{ID: id, Body: body}, ""); err != nil {
		w.t.Fatal(err)
	}
}

// What a process took and did not settle, because it was killed after or before its
// POST, is sent by another one, with the same id.
func TestReportOfADeadProcess(t *testing.T) {
	box := &letterbox{}
	w := newWorld(t, hooked(box))
	for p := range w.opts.Partitions.Len() {
		w.queueReport(fmt.Sprint("r", p), p)
	}
	dead := w.hooks["test"]
	dead.batcher = w.opts.Inbox.Options().Batcher
	taken, _, err := dead.take(context.Background(), reportsAtOnce)
	if err != nil || len(taken) != w.opts.Partitions.Len() {
		t.Fatal(taken, err)
	}
	if again, _, err := dead.take(context.Background(), reportsAtOnce); err != nil || len(again) != 0 {
		t.Fatalf("lent twice: %v, %v", again, err)
	}
	for p := range w.opts.Partitions.Len() { // the leases end
		w.makeDue(w.reportsDueKey(p, "test"))
	}
	w.run()
	w.eventually("all reports", func() bool { return len(box.reports()) == len(taken) && w.waiting("test") == 0 })
	var ids []string
	for _, r := range box.reports() {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	if want := []string{"r0", "r1", "r2", "r3"}; !slices.Equal(ids, want) {
		t.Errorf("reports %v", ids)
	}
	// The dead one comes back to life: too late, and nothing is sent again.
	late := dead.settleCommand(context.Background(), taken[0].partition, taken[0].entry, "0")
	if err := w.opts.Inbox.Options().Batcher.Do(context.Background(), late); err != nil || w.waiting("test") != 0 {
		t.Errorf("%d reports came back, %v", w.waiting("test"), err)
	}
}

// A worker that lost its entry queues no report of it.
func TestNoReportOfALostEntry(t *testing.T) {
	w := newWorld(t, hooked(&letterbox{}))
	ctx := context.Background()
	l := w.lanes[push.Bulk]
	if err := w.createGroups(ctx, push.Bulk); err != nil {
		t.Fatal(err)
	}
	lost := &work{key: heldKey{0, "1-1"}, entry: &entry{User: 66, Service: "test", ID: strings.Repeat("0", 24)}}
	lost.bury("d", "expired", "")
	c := l.settleCommand(ctx, lost)
	if err := w.opts.Inbox.Options().Batcher.Do(ctx, c); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Int(); n != -1 || err != nil || w.waiting("test") != 0 {
		t.Errorf("reply %d, %v, %d reports", n, err, w.waiting("test"))
	}
}

// A report that nobody takes is dropped when its time is over.
func TestReportExpires(t *testing.T) {
	box := &letterbox{answer: func(int, *report.Report) push.Result { return push.Result{Outcome: push.Later, Reason: "timeout"} }}
	w := newWorld(t, hooked(box), func(o *Options) {
		h := o.Hooks["test"]
		h.RetryFor = 300 * time.Millisecond
		o.Hooks["test"] = h
	})
	w.queueReport("r", 0)
	w.run()
	w.eventually("nothing left", func() bool { return w.waiting("test") == 0 })
	w.eventually("the count", func() bool {
		return w.metric("kabar_reports_dropped_total", "timeout", "test") == 1
	})
}

// A service that wants no more reports is left alone for a while: the report is
// dropped, the others wait.
func TestGoneService(t *testing.T) {
	box := &letterbox{answer: func(int, *report.Report) push.Result { return push.Result{Outcome: push.Forget, Reason: "gone"} }}
	w := newWorld(t, hooked(box))
	w.queueReport("r1", 0)
	before := time.Now()
	stop := w.run()
	w.eventually("the drop", func() bool { return w.waiting("test") == 0 })
	w.queueReport("r2", 0)
	r := w.hooks["test"]
	r.mu.Lock()
	if r.until.Before(before.Add(reportPause)) || r.until.After(time.Now().Add(reportPause)) {
		t.Errorf("pauses until %v", r.until)
	}
	r.mu.Unlock()
	stop() // does not wait for the pause
	if len(box.reports()) != 1 || w.waiting("test") != 1 {
		t.Errorf("%d attempts, %d wait", len(box.reports()), w.waiting("test"))
	}
}

// A service that answers nothing holds up neither another one nor the pushes.
func TestDeadServiceCostsOnlyItself(t *testing.T) {
	release := make(chan struct{})
	stuck := &letterbox{answer: func(int, *report.Report) push.Result { <-release; return push.Result{Outcome: push.Accepted} }}
	box := &letterbox{}
	w := newWorld(t, hooked(box), func(o *Options) { o.Hooks["stuck"] = report.Hook{Courier: stuck} })
	for n := range 2 * reportsAtOnce {
		if _, err := w.hooks["stuck"].put(context.Background(), w.opts.Inbox.Options().Batcher, n%4, 0, &report.Report{ID: "s"}, ""); err != nil {
			t.Fatal(err)
		}
	}
	w.register(66, devices.Android, "A")
	w.run()
	t.Cleanup(func() { close(release) }) // before the one of run
	w.eventually("attempts", func() bool { return len(stuck.reports()) == reportsAtOnce })
	w.queueReport("r", 3)
	w.publish(promo)
	w.eventually("the other's report", func() bool { return len(box.reports()) == 1 })
	w.android.wait(t, "a push", count(1))
	if n := len(stuck.reports()); n != reportsAtOnce {
		t.Errorf("%d attempts at once", n)
	}
}

// The reports that wait are bounded; the oldest make room.
func TestReportsAreBounded(t *testing.T) {
	box := &letterbox{}
	w := newWorld(t, hooked(box))
	for n := range mostReports + 3 {
		w.queueReport(fmt.Sprint(n), 0)
	}
	if n := w.waiting("test"); n != mostReports {
		t.Errorf("%d wait", n)
	}
	if n := w.rdb.ZCard(context.Background(), w.reportsDueKey(0, "test")).Val(); n != mostReports {
		t.Errorf("%d are due", n)
	}
	if n := w.metric("kabar_reports_dropped_total", "full", "test"); n != 3 {
		t.Errorf("%v drops counted", n)
	}
	for _, key := range []string{w.reportsKey(0, "test"), w.reportsDueKey(0, "test")} {
		if ttl := w.rdb.PTTL(context.Background(), key).Val(); ttl < reportFor || ttl > reportKeep {
			t.Errorf("%s lives for %v", key, ttl)
		}
	}
	if n, err := testutil.GatherAndCount(w.reg, "kabar_reports"); n != 1 || err != nil {
		t.Errorf("%d queues are shown, %v", n, err)
	}
	w.run()
	w.eventually("all of them", func() bool { return w.waiting("test") == 0 })
	for _, r := range box.reports() {
		if r.ID == "0" || r.ID == "2" {
			t.Errorf("the old report %s was sent", r.ID)
		}
	}
}

func TestRetryReport(t *testing.T) {
	for _, c := range []struct{ after, age, least, most time.Duration }{
		{0, 0, 5 * time.Second, 7 * time.Second},
		{0, time.Minute, time.Minute, 75 * time.Second},
		{0, 20 * time.Hour, reportBackoff, reportBackoff * 5 / 4},
		{time.Second, time.Hour, time.Second, 2 * time.Second},
		{100 * time.Hour, 0, reportBackoff, reportBackoff * 5 / 4},
	} {
		if got := retryReport(push.Result{RetryAfter: c.after}, c.age, 5*time.Second); got < c.least || got > c.most {
			t.Errorf("after %v, %v old: %v", c.after, c.age, got)
		}
	}
}
