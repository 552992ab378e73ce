package dispatcher

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/receipt"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/inbox"
)

// says gives receipts of one notification.
func (w *world) says(user int64, device, id string, events ...string) {
	w.t.Helper()
	var all []receipt.Receipt
	for _, e := range events {
		all = append(all, receipt.Receipt{ID: id, Event: e})
	}
	if err := w.Receipts.Accept(context.Background(), user, device, all); err != nil {
		w.t.Fatal(err)
	}
}

// receipts returns what the receipts of an event say, as DEVICE EVENT.
func (w *world) receipts(id string) (all []string) {
	w.t.Helper()
	s := w.status(id, func(delivery.ReceiverStatus) bool { return true })
	for _, r := range s.Receipts {
		all = append(all, r.Device+" "+r.Event)
	}
	slices.Sort(all)
	return all
}

// Receipts are noted once for each notification, device and event, however often and at the
// same time they are sent.
func TestReceiptsAreNotedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(`{"id":"p","type":"discount","receiver_id":66,"message":"m"}`)
	id := w.status("p", func(delivery.ReceiverStatus) bool { return true }).NotificationID
	var all sync.WaitGroup
	for range 10 {
		for _, device := range []string{"a", "b", ""} {
			all.Go(func() { w.says(66, device, id, receipt.Delivered, receipt.Opened, receipt.Delivered) })
		}
		all.Go(func() { w.says(67, "a", id, receipt.Dismissed) }) // it is not theirs
	}
	all.Wait()
	want := []string{" delivered", " opened", "a delivered", "a opened", "b delivered", "b opened"}
	if diff := cmp.Diff(want, w.receipts("p")); diff != "" {
		t.Error(diff)
	}
	for event, n := range map[string]float64{receipt.Delivered: 3, receipt.Opened: 3, receipt.Dismissed: 0} {
		if got := w.metric("kabar_receipts_total", "event", event, "type", "discount"); got != n {
			t.Errorf("%v receipts say %s, want %v", got, event, n)
		}
	}
}

// Opening marks as read, with the counters and, of a message, for its sender; other receipts
// do not.
func TestOpeningMarksAsRead(t *testing.T) {
	t.Parallel()
	w := newChat(t)
	ctx := context.Background()
	w.publish(`{"id":"p","type":"discount","receiver_id":66,"message":"m"}`)
	note := w.status("p", func(delivery.ReceiverStatus) bool { return true }).NotificationID
	message := w.send(15, 66, "halo")
	unread := func() (notifications, messages int) {
		n, err := w.opts.Inbox.Counters.Unreads(ctx, 66)
		if err != nil {
			t.Fatal(err)
		}
		return n.Notifications, n.Messages
	}
	for _, id := range []string{note, message} {
		w.says(66, "d", id, receipt.Delivered, receipt.Dismissed)
	}
	if n, m := unread(); n != 1 || m != 1 {
		t.Errorf("%d notifications and %d messages are unread", n, m)
	}
	for _, id := range []string{note, message} {
		w.says(66, "d", id, receipt.Opened)
		w.says(15, "d", id, receipt.Opened) // the sender has opened nothing
	}
	if n, m := unread(); n != 0 || m != 0 {
		t.Errorf("%d notifications and %d messages are unread", n, m)
	}
	if m, err := w.opts.Inbox.Conversations.Message(ctx, 15, message); err != nil || !m.Read {
		t.Errorf("the sender sees %+v, %v", m, err)
	}
	for _, kind := range []string{"discount", "message"} {
		if n := w.metric("kabar_receipts_total", "event", receipt.Opened, "type", kind); n != 1 {
			t.Errorf("%v of type %s are opened", n, kind)
		}
	}
	if err := w.opts.Inbox.Conversations.Delete(ctx, 66, messageIn(t, w, message)); err != nil {
		t.Fatal(err)
	}
	w.says(66, "d", message, receipt.Opened) // nothing is left to be read
}

func messageIn(t *testing.T, w *world, id string) (conversation string) {
	t.Helper()
	m, err := w.opts.Inbox.Conversations.Message(context.Background(), 66, id)
	if err != nil {
		t.Fatal(err)
	}
	return m.Conversation
}

// A receipt's time is between the acceptance of the event and now.
func TestTimesOfReceipts(t *testing.T) {
	t.Parallel()
	clock, option := onClock()
	w := newWorld(t, option)
	w.publish(`{"id":"p","type":"discount","receiver_id":66,"message":"m"}`)
	s := w.status("p", func(delivery.ReceiverStatus) bool { return true })
	clock.advance(time.Hour)
	now, within := clock.Now(), s.StoredAt.Add(time.Minute)
	for i, tc := range []struct{ said, noted time.Time }{
		{time.Time{}, now}, {now.Add(time.Hour), now}, {s.StoredAt.Add(-time.Hour), s.StoredAt}, {within, within},
	} {
		device := strings.Repeat("d", i+1)
		if err := w.Receipts.Accept(context.Background(), 66, device, []receipt.Receipt{{ID: s.NotificationID, Event: receipt.Delivered, At: tc.said}}); err != nil {
			t.Fatal(err)
		}
		got := w.status("p", func(delivery.ReceiverStatus) bool { return true }).Receipts[i]
		if want := (inbox.Receipt{Device: device, Event: receipt.Delivered, At: time.UnixMilli(tc.noted.UnixMilli())}); got != want {
			t.Errorf("%v is noted as %+v, want %+v", tc.said, got, want)
		}
	}
}

// A record keeps a bounded number of receipts, and none when it has expired; opening marks as
// read all the same.
func TestReceiptsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	w.publish(`{"id":"p","type":"discount","receiver_id":66,"message":"m"}`)
	id := w.status("p", func(delivery.ReceiverStatus) bool { return true }).NotificationID
	for i := range 120 {
		w.says(66, strings.Repeat("d", i+1), id, receipt.Delivered)
	}
	if n := len(w.receipts("p")); n != 100 {
		t.Errorf("%d receipts are kept", n)
	}
	record := w.rdb.Keys(ctx, w.prefix+":*:u66:e:*").Val()[0]
	kept := w.rdb.Dump(ctx, record).Val()
	w.rdb.Del(ctx, record)
	w.says(66, "d", id, receipt.Opened)
	if n, err := w.opts.Inbox.Counters.Unreads(ctx, 66); err != nil || n.Notifications != 0 {
		t.Errorf("%+v, %v", n, err)
	}
	if w.rdb.Exists(ctx, record).Val() != 0 {
		t.Error("the receipt has made a record")
	}
	w.rdb.Restore(ctx, record, 0, kept) // for the audit
}

// A broadcast's progress counts the receipts of its notifications, for each device once.
func TestReceiptsOfABroadcast(t *testing.T) {
	t.Parallel()
	client := &hookClient{}
	w := newWorld(t, hooked(client, report.EventReceipt))
	w.know(30)
	w.run()
	w.start(`{"id":"b","type":"campaign","message":"m","audience":"all"}`)
	w.becomes("b", broadcast.Done)
	for user := int64(1); user <= 30; user++ {
		notes, err := w.opts.Inbox.Notifications.List(context.Background(), user, w.Types().Promos(), 0, 10)
		if err != nil || len(notes) != 1 {
			t.Fatal(len(notes), err)
		}
		for range 2 {
			w.says(user, "a", notes[0].ID, receipt.Delivered)
			w.says(user, "b", notes[0].ID, receipt.Delivered, receipt.Dismissed)
		}
	}
	want := map[string]int64{receipt.Delivered: 60, receipt.Dismissed: 30}
	if diff := cmp.Diff(want, w.broadcast("b").Receipts); diff != "" {
		t.Error(diff)
	}
	if n := w.metric("kabar_receipts_total", "event", receipt.Delivered, "type", "campaign"); n != 60 {
		t.Errorf("%v receipts", n)
	}
	if n := len(client.reports()) + w.waiting("test"); n != 0 {
		t.Errorf("%d reports of a broadcast's receipts", n)
	}
}

// Receipts are reported once to the service whose event it was, if it asks for that, and
// without the words of the notification.
func TestReceiptsAreReported(t *testing.T) {
	t.Parallel()
	client, other := &hookClient{}, &hookClient{}
	w := newWorld(t, hooked(client, report.EventReceipt), func(o *Options) { o.Hooks["other"] = report.Hook{Client: other} })
	w.run()
	device := w.register(66, devices.Android, "A-secret-token")
	e := w.parse(`{"id":"p","type":"discount","receiver_id":66,"message":"secret"}`).WithSource("/promotions")
	for _, source := range []string{"service:test", "service:other"} {
		if r := w.Publish(context.Background(), source, e)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	notes, err := w.opts.Inbox.Notifications.List(context.Background(), 66, []string{"discount"}, 0, 10)
	if err != nil || len(notes) != 2 {
		t.Fatal(len(notes), err)
	}
	for _, note := range notes {
		for range 3 {
			w.says(66, device.ID, note.ID, receipt.Delivered)
		}
		w.says(66, "", note.ID, receipt.Delivered, receipt.Opened)
	}
	w.eventually("reports", func() bool { return len(client.reports()) >= 3 && w.waiting("test") == 0 })
	var got []string
	for _, r := range client.reports() {
		read := readReport(t, r)
		var more struct {
			Data struct {
				Receipt string
				At      time.Time
			}
		}
		if err := json.Unmarshal(r.Body, &more); err != nil {
			t.Fatal(err)
		}
		d := read.Data
		if read.Type != report.EventReceipt || d.EventID != "p" || d.Source != "/promotions" || d.UserID != 66 ||
			d.Type != "discount" || d.NotificationID != notes[1].ID || more.Data.At.IsZero() || strings.Contains(string(r.Body), "secret") {
			t.Errorf("report %s", r.Body)
		}
		got = append(got, d.Device+" "+more.Data.Receipt)
	}
	slices.Sort(got)
	want := []string{" delivered", " opened", device.ID + " delivered"}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(other.reports()) + w.waiting("other"); n != 0 {
		t.Errorf("%d reports to a service that asked for none", n)
	}
}

// A receipt that cannot be reported is not noted either, so that repeating it does both.
func TestReceiptsFailWhole(t *testing.T) {
	t.Parallel()
	client := &hookClient{}
	w := newWorld(t, hooked(client, report.EventReceipt))
	ctx := context.Background()
	w.publish(`{"id":"p","type":"discount","receiver_id":66,"message":"m"}`)
	id := w.status("p", func(delivery.ReceiverStatus) bool { return true }).NotificationID
	partition := w.opts.Partitions.OfUser(66)
	for _, key := range []string{w.reportsKey(partition, "test"), w.opts.Partitions.Key(partition, "reports-due:test")} {
		w.rdb.Set(ctx, key, "of another type", 0)
		if err := w.Receipts.Accept(ctx, 66, "d", []receipt.Receipt{{ID: id, Event: receipt.Opened}}); err == nil {
			t.Errorf("%s of another type: no error", key)
		}
		w.rdb.Del(ctx, key)
	}
	if got := w.receipts("p"); len(got) > 0 {
		t.Errorf("noted %q", got)
	}
	w.says(66, "d", id, receipt.Opened)
	if got := w.receipts("p"); len(got) != 1 || w.waiting("test") != 1 {
		t.Errorf("noted %q, %d reports wait", got, w.waiting("test"))
	}
}
