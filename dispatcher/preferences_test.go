package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// prefers changes the preferences of a device.
func (w *world) prefers(user int64, p devices.Platform, token string, change func(*devices.Preferences)) {
	w.t.Helper()
	if _, err := w.opts.Devices.Prefer(w.t.Context(), user, p, token, change); err != nil {
		w.t.Fatal(err)
	}
}

func off(names ...string) func(*devices.Preferences) {
	return func(p *devices.Preferences) {
		for _, name := range names {
			p.Switch(name, false)
		}
	}
}

func private(p *devices.Preferences) { p.Private = true }

func TestSwitchesAreTheTypesThatArePushed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Types = []event.Type{{Name: "flash_sale", Lane: push.Bulk, Message: "m"}} })
	got := w.Types().Mutable()
	for _, name := range []string{"transaction", "message", "nego", "dompet", "report", "reminder", "discount", "flash_sale", "promo"} {
		if !slices.Contains(got, name) {
			t.Errorf("%v is without %s", got, name)
		}
	}
	if slices.Contains(got, "cart") || !slices.IsSorted(got) {
		t.Errorf("switches %v", got)
	}
}

// A type that is switched off on a device is not pushed to that device. Other devices get
// it, and it is listed and counted.
func TestMutedTypes(t *testing.T) {
	t.Parallel()
	const ofType = `{"id":"%[1]s","type":"%[1]s","receiver_id":66,"title":"t","message":"m","details":{"id":1}}`
	for _, c := range []struct {
		name string
		off  []string
		mute []string
		push []string
	}{
		{"one type", []string{"nego"}, []string{"nego"}, []string{"transaction", "dompet", "report", "discount"}},
		{"all promotions", []string{"promo"}, []string{"discount", "campaign", "flash_sale"}, []string{"transaction", "report", "payout"}},
		{"one promotion", []string{"discount", "flash_sale"}, []string{"discount", "flash_sale"}, []string{"campaign"}},
		{"money", []string{"transaction", "payout"}, []string{"transaction", "payout"}, []string{"dompet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) {
				o.Types = []event.Type{{Name: "flash_sale", Lane: push.Bulk, Message: "m"}, {Name: "payout", Lane: push.Urgent, Message: "m"}}
			})
			phone := w.register(66, devices.Android, "A")
			w.register(66, devices.IOS, "B")
			w.prefers(66, devices.Android, "A", off(c.off...))
			w.run()
			for _, typ := range slices.Concat(c.mute, c.push) {
				w.publish(fmt.Sprintf(ofType, typ))
				s := w.status(typ, func(s delivery.ReceiverStatus) bool { return len(s.Devices) == 2 && s.Push == "done" })
				outcome := "accepted"
				if slices.Contains(c.mute, typ) {
					outcome = "muted"
				}
				for _, d := range s.Devices {
					want := "accepted"
					if d.Device == phone.ID {
						want = outcome
					}
					if d.Outcome != want || want == "muted" && (d.Route != toAndroid || d.Attempts != 0) {
						t.Errorf("%s: %+v, want %s", typ, d, want)
					}
				}
			}
			w.settled()
			if a, i := len(w.android.pushes()), len(w.ios.pushes()); a != len(c.push) || i != len(c.push)+len(c.mute) {
				t.Errorf("%d pushes to android, %d to ios", a, i)
			}
			n, err := w.opts.Inbox.Counters.Unreads(t.Context(), 66)
			if err != nil || n.Notifications != len(c.push)+len(c.mute) {
				t.Errorf("unread %+v, %v", n, err)
			}
		})
	}
}

func TestMutedEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(66, devices.Android, "A")
	w.prefers(66, devices.Android, "A", off("promo"))
	w.run()
	w.publish(promo)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "muted" && s.Devices[0].Outcome == "muted" })
	w.settled()
	if n := len(w.android.pushes()); n != 0 {
		t.Errorf("%d pushes", n)
	}
}

// A night is a world whose clock the test sets. It starts one hour after the quiet hours of
// user 66 have begun and eight hours before they end.
type night struct {
	*world
	now     atomic.Int64 // ns
	morning time.Time
}

// morningSpread is the time over which promotions are spread that become due in the same
// minute.
const morningSpread = 10 * time.Minute

func newNight(t *testing.T, change ...func(*Options)) *night {
	n := &night{}
	n.now.Store(time.Now().UnixNano())
	n.world = newWorld(t, append(change, func(o *Options) {
		o.Now = func() time.Time { return time.Unix(0, n.now.Load()) }
	})...)
	now := n.opts.Now().UTC()
	n.morning = now.Truncate(time.Minute).Add(8 * time.Hour)
	n.quietHours(now.Add(-time.Hour), n.morning)
	n.register(66, devices.Android, "A")
	return n
}

// quietHours sets the quiet hours of user 66, in the time zone of Options.Location.
func (n *night) quietHours(from, to time.Time) {
	n.t.Helper()
	clock := func(at time.Time) model.Clock { return model.Clock(at.Hour()*60 + at.Minute()) }
	q := model.QuietHours{From: clock(from), To: clock(to)}
	if err := n.opts.Inbox.Profiles.SetQuietHours(n.t.Context(), 66, &q, nil); err != nil {
		n.t.Fatal(err)
	}
}

// release sets the clock and makes all delayed promotions due.
func (n *night) release(now time.Time) {
	n.t.Helper()
	n.now.Store(now.UnixNano())
	for value := range n.delayed() {
		entry, err := outbox.ParseEntry(value)
		if err != nil {
			n.t.Fatal(err)
		}
		key := n.Outbox.DelayedKey(n.opts.Partitions.OfUser(entry.User), push.Bulk)
		if err := n.rdb.ZAdd(context.Background(), key, redis.Z{Score: 0, Member: value}).Err(); err != nil {
			n.t.Fatal(err)
		}
	}
}

// delayed returns the delayed promotions with the times at which they are due.
func (n *night) delayed() map[string]time.Time {
	n.t.Helper()
	all := make(map[string]time.Time)
	for p := range n.opts.Partitions.Len() {
		list, err := n.rdb.ZRangeWithScores(context.Background(), n.Outbox.DelayedKey(p, push.Bulk), 0, -1).Result()
		if err != nil {
			n.t.Fatal(err)
		}
		for _, z := range list {
			all[z.Member.(string)] = time.UnixMilli(int64(z.Score))
		}
	}
	return all
}

// During quiet hours, only promotions are delayed. Sockets, the list and the counters get
// them at once.
func TestPromotionsWaitForTheMorning(t *testing.T) {
	t.Parallel()
	w := newNight(t)
	socket := w.rdb.Subscribe(t.Context(), w.opts.Inbox.Live.Channel(66))
	defer socket.Close()
	if _, err := socket.Receive(t.Context()); err != nil { // the subscription is active
		t.Fatal(err)
	}
	w.run()
	w.publish(promo)
	if frame, err := socket.ReceiveTimeout(t.Context(), patient); err != nil {
		t.Errorf("no frame: %v, %v", frame, err)
	}
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "quiet" && len(s.Devices) == 0 })
	for _, due := range w.delayed() { // the clock of Redis has moved on since the test's clock was set
		if due.Before(w.morning) || due.After(w.morning.Add(morningSpread+time.Minute)) {
			t.Errorf("due at %s, morning is at %s", due, w.morning)
		}
	}
	for _, typ := range []string{"transaction", "nego", "dompet", "report"} {
		w.publish(fmt.Sprintf(`{"id":"%[1]s","type":"%[1]s","receiver_id":66,"message":"m","details":{"id":1}}`, typ))
		w.status(typ, func(s delivery.ReceiverStatus) bool { return s.Push == "done" })
	}
	if n, late := len(w.android.pushes()), len(w.delayed()); n != 4 || late != 1 {
		t.Errorf("%d pushes, %d delayed", n, late)
	}
	n, err := w.opts.Inbox.Counters.Unreads(t.Context(), 66)
	if err != nil || n.Notifications != 5 {
		t.Errorf("unread %+v, %v", n, err)
	}
	w.release(w.morning)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "done" && s.Devices[0].Outcome == "accepted" })
	w.settled()
}

// A push that a provider postpones until the quiet hours have begun waits for the morning,
// too. It does so only for the device that is still owed.
func TestRetriesWaitForTheMorning(t *testing.T) {
	t.Parallel()
	w := newNight(t)
	evening := w.opts.Now().Add(-2 * time.Hour)
	w.now.Store(evening.UnixNano())
	answers := make(chan push.Result, 2)
	answers <- push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", RetryAfter: time.Hour}
	answers <- push.Result{Outcome: push.Accepted}
	w.android.answer = func(*push.Delivery) push.Result { return <-answers }
	w.register(66, devices.IOS, "B")
	w.run()
	w.publish(promo)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool {
		return len(s.Devices) == 2 && s.Push == "retrying" && len(w.delayed()) == 1
	})
	w.release(w.morning.Add(-time.Hour))
	w.status("promo-1", func(s delivery.ReceiverStatus) bool {
		return slices.ContainsFunc(s.Devices, func(d delivery.DeviceStatus) bool { return d.Outcome == "quiet" && d.Attempts == 1 })
	})
	w.eventually("delayed again", func() bool { return len(w.delayed()) == 1 })
	w.release(w.morning.Add(time.Hour))
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "done" })
	w.settled()
	if a, i := len(w.android.pushes()), len(w.ios.pushes()); a != 2 || i != 1 {
		t.Errorf("%d pushes to android, %d to ios", a, i)
	}
}

// Quiet hours do not count as time for retries. A promotion whose TTL ends before the
// morning is not sent.
func TestStaleByTheMorning(t *testing.T) {
	t.Parallel()
	w := newNight(t, func(o *Options) { o.RetryFor = time.Hour })
	w.run()
	w.publish(promo)
	w.publish(strings.NewReplacer("promo-1", "stale", `"title"`, `"options":{"ttl":"2h"},"title"`).Replace(promo))
	w.status("stale", func(s delivery.ReceiverStatus) bool { return s.Push == "expired" })
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "quiet" })
	w.release(w.morning.Add(morningSpread))
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "done" })
	w.settled()
	if _, _, dead := w.left(); dead != 0 || len(w.android.pushes()) != 1 {
		t.Errorf("%d dead letters, %d pushes", dead, len(w.android.pushes()))
	}
}

// On a private device, the visible text of a push does not mention money.
func TestConceal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event string
		want  string // expected text in the receiver's language, or "" if nothing is hidden
	}{
		{`{"id":"e","type":"transaction","receiver_id":66,"title":"secret","message":"secret","details":{"id":1,"state":"paid"}}`, "There is news of a transaction"},
		{`{"id":"e","type":"nego","receiver_id":66,"message":"secret","details":{"id":1,"state":"waiting"}}`, "There is news of an offer"},
		{`{"id":"e","type":"dompet","receiver_id":66,"message":"secret"}`, "There is news of your wallet"},
		{`{"id":"e","type":"payout","receiver_id":66,"title":"secret","message":"secret"}`, "There is news for you"},
		{`{"id":"e","type":"report","receiver_id":66,"message":"secret"}`, ""},
		{`{"id":"e","type":"discount","receiver_id":66,"title":"secret","message":"secret"}`, ""},
	} {
		t.Run(strings.Split(c.event, `"`)[7], func(t *testing.T) { testConceal(t, c.event, c.want) })
	}
}

func testConceal(t *testing.T, raw, want string) {
	w := newWorld(t, func(o *Options) { o.Types = []event.Type{{Name: "payout", Lane: push.Urgent, Message: "m"}} })
	w.register(66, devices.Android, "A")
	w.register(66, devices.IOS, "B")
	w.prefers(66, devices.IOS, "B", private)
	w.speaks(66, "en")
	w.run()
	w.publish(raw)
	open, hidden := w.android.wait(t, "push", count(1))[0], w.ios.wait(t, "push", count(1))[0]
	if open.Body != "secret" || slices.ContainsFunc(open.Data, func(f push.Field) bool { return f.Name == "private" }) {
		t.Errorf("the other device got %+v", open)
	}
	if want == "" {
		want = "secret"
	} else if hidden.Title != "" || hidden.Presentation.APNs.Category != "" || string(hidden.Data[len(hidden.Data)-1].Value) != "true" {
		t.Errorf("%+v", hidden)
	}
	if hidden.Body != want {
		t.Errorf("shows %q, want %q", hidden.Body, want)
	}
	for _, f := range hidden.Data {
		if f.Name == "message" && string(f.Value) != fmt.Sprintf("%q", want) {
			t.Errorf("data says %s", f.Value)
		}
	}
}
