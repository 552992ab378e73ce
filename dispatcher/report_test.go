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

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
)

// A hookClient is a report.Client that records its reports and answers as the test says.
type hookClient struct {
	mu     sync.Mutex
	got    []report.Report
	answer func() push.Result // nil accepts all
}

func (c *hookClient) Deliver(_ context.Context, r *report.Report) push.Result {
	c.mu.Lock()
	c.got = append(c.got, *r)
	c.mu.Unlock()
	if c.answer == nil {
		return push.Result{Outcome: push.Accepted}
	}
	return c.answer()
}

func (c *hookClient) reports() []report.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// hooked gives the service "test" a hook with a long timeout and a short backoff. The hook
// gets reports of the given types, or of all types if none is given.
func hooked(c *hookClient, types ...string) func(*Options) {
	return func(o *Options) {
		o.Hooks = map[string]report.Hook{"test": {Client: c, Types: types, Timeout: time.Minute, Backoff: 10 * time.Millisecond}}
	}
}

// reportsKey returns the key of the stream of reports that wait for a service.
func (w *world) reportsKey(partition int, service string) string {
	return w.opts.Partitions.Key(partition, "reports:"+service)
}

// waiting counts the reports that wait for a service.
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

// testsBegan is not later than any report's timestamp, which has whole seconds.
var testsBegan = time.Now().Truncate(time.Second)

func readReport(t *testing.T, r report.Report) (read reportRead) {
	t.Helper()
	if err := json.Unmarshal(r.Body, &read); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
	if !strings.HasPrefix(r.ID, "msg_") || read.Timestamp.Before(testsBegan) || read.Timestamp.After(time.Now()) {
		t.Errorf("report %s at %v", r.ID, read.Timestamp)
	}
	return read
}

// Each dead letter of an event is reported to the service that published the event, and to
// no other.
func TestReportOfFailure(t *testing.T) {
	t.Parallel()
	client, other := &hookClient{}, &hookClient{}
	w := newWorld(t, hooked(client), func(o *Options) { o.Hooks["other"] = report.Hook{Client: other} })
	w.android.answer = func(*push.Delivery) push.Result { return push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"} }
	device := w.register(66, devices.Android, "A-secret-token")
	w.run()
	e := w.parse(`{"id":"p","type":"discount","receiver_id":66,"message":"secret"}`).WithSource("/promotions")
	if r := w.Publish(context.Background(), "service:test", e)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	w.eventually("a report", func() bool { return len(client.reports()) == 1 && w.waiting("test") == 0 })
	read := readReport(t, client.reports()[0])
	d := read.Data
	if read.Type != report.EventFailed || d.EventID != "p" || d.Source != "/promotions" || d.UserID != 66 || d.Device != device.ID ||
		d.Reason != "PayloadTooLarge" || d.Type != "discount" || len(d.NotificationID) != 24 {
		t.Errorf("report %+v", read)
	}
	if body := string(client.reports()[0].Body); strings.Contains(body, "secret") {
		t.Errorf("the report tells too much: %s", body)
	}
	w.Publish(context.Background(), "service:third", w.parse(promo))
	w.settled()
	if len(client.reports()) != 1 || len(other.reports()) != 0 {
		t.Errorf("%d reports, %d to another service", len(client.reports()), len(other.reports()))
	}
	if n := w.metric("kabar_reports_sent_total", "service", "test"); n != 1 {
		t.Errorf("%v counted", n)
	}
}

// A service gets only the types of reports that its hook asks for.
func TestReportsWanted(t *testing.T) {
	t.Parallel()
	client := &hookClient{}
	w := newWorld(t, hooked(client, report.BroadcastDone))
	w.android.answer = func(d *push.Delivery) push.Result {
		if d.Token == "A" {
			return push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"}
		}
		return push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"}
	}
	w.register(66, devices.Android, "A")
	w.register(66, devices.Android, "B")
	stop := w.run()
	w.publish(promo)
	w.recheck(66)
	w.settled()
	w.start(`{"audience":"all","id":"b1","message":"m"}`)
	w.becomes("b1", broadcast.Done)
	w.settled()
	w.eventually("a report", func() bool { return len(client.reports()) == 1 && w.waiting("test") == 0 })
	stop()
	got := client.reports()
	if n := w.waiting("test"); len(got) != 1 || n != 0 {
		t.Errorf("%d reports, %d wait", len(got), n)
	}
	if read := readReport(t, got[0]); read.Type != report.BroadcastDone ||
		!strings.Contains(string(got[0].Body), `"data":{"broadcast_id":"b1","state":"done","total":1,"sent":1,"skipped":0,`) {
		t.Errorf("report %s", got[0].Body)
	}
}

func TestReportOfForgottenDevice(t *testing.T) {
	t.Parallel()
	client := &hookClient{}
	w := newWorld(t, hooked(client))
	again := make(chan string, 1)
	w.android.answer = func(d *push.Delivery) push.Result {
		select {
		case token := <-again: // the app registers while the push is in progress
			w.register(66, devices.Android, token)
		default:
		}
		return push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"}
	}
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(promo)
	w.suspect(66)
	again <- "A"
	w.recheck(66)
	w.eventually("the second verdict", func() bool { return len(w.android.wait(t, "", count(0))) >= 3 })
	if n := w.waiting("test") + len(client.reports()); n != 0 {
		t.Errorf("%d reports of a device that is registered", n)
	}
	device := w.suspect(66).ID
	w.recheck(66)
	w.eventually("a report", func() bool { return len(client.reports()) == 1 })
	read := readReport(t, client.reports()[0])
	if d := read.Data; read.Type != report.DeviceForgotten || d.EventID != "promo-1" || d.UserID != 66 || d.Device != device ||
		d.Platform != "android" || d.Reason != "UNREGISTERED" {
		t.Errorf("report %+v", read)
	}
}

// A device is not removed while the report about it cannot be queued, so that a later push
// can report it.
func TestDeviceStaysWithoutItsReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hooked(&hookClient{}))
	device := w.register(66, devices.Android, "A")
	key := w.reportsKey(w.opts.Partitions.OfUser(66), "test")
	if err := w.rdb.Set(context.Background(), key, "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	w.android.answer = func(*push.Delivery) push.Result { return push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"} }
	w.run()
	w.publish(promo)
	w.recheck(66)
	w.android.wait(t, "the second verdict", count(2))
	w.eventually("the push waits again", func() bool { out, delayed, _ := w.left(); return out == 0 && delayed == 1 })
	if listed, err := w.opts.Devices.List(context.Background(), 66); err != nil || len(listed) != 1 || listed[0].ID != device.ID {
		t.Errorf("devices %v, %v", listed, err)
	}
}

// A service that does not answer its reports does not delay pushes.
func TestDeadServiceCostsOnlyItself(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	stuck := &hookClient{answer: func() push.Result { <-release; return push.Result{Outcome: push.Accepted} }}
	w := newWorld(t, hooked(&hookClient{}), func(o *Options) { o.Hooks["stuck"] = report.Hook{Client: stuck} })
	const attempts = 16 // that package report makes for one service at the same time
	for n := range 2 * attempts {
		ended := report.Broadcast{ID: fmt.Sprint("b", n)}
		if err := w.reports.Ended(t.Context(), w.opts.Inbox.Options().Batcher, event.ServiceSource("stuck"), ended); err != nil {
			t.Fatal(err)
		}
	}
	w.register(66, devices.Android, "A")
	w.run()
	t.Cleanup(func() { close(release) }) // runs before run's cleanup, which waits for the attempts
	w.eventually("attempts", func() bool { return len(stuck.reports()) == attempts })
	w.publish(promo)
	w.android.wait(t, "a push", count(1))
	if n := len(stuck.reports()); n != attempts {
		t.Errorf("%d attempts at once", n)
	}
}
