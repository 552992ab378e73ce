package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
)

const promo = `{"id":"promo-1","type":"discount","receiver_id":66,"title":"contoh diskon","message":"ayo cek diskon"}`

func TestPublishReachesEveryDevice(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) *world{
		"redis":    func(t *testing.T) *world { return newWorld(t) },
		"embedded": func(t *testing.T) *world { return newWorldOn(t, miniredis.RunT(t).Addr()) },
		"cluster's way of reading": func(t *testing.T) *world {
			return newWorld(t, func(o *Options) { o.Cluster = true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.run()
			a, b := w.register(66, devices.Android, "A"), w.register(66, devices.IOS, "B")
			w.publish(promo)
			android, ios := w.android.wait(t, "android", count(1)), w.ios.wait(t, "ios", count(1))
			if android[0].Token != a.Token || ios[0].Token != b.Token || android[0].ID == ios[0].ID {
				t.Errorf("sent to %+v and %+v", android[0], ios[0])
			}
			if d := android[0]; d.Lane != push.Bulk || d.Title != "contoh diskon" || d.Body != "ayo cek diskon" || d.Badge != 1 {
				t.Errorf("delivery %+v", d)
			}
			s := w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "done" })
			if len(s.Devices) != 2 || s.Devices[0].Outcome != "accepted" || s.Devices[0].ProviderID == "" || s.Devices[0].Attempts != 1 {
				t.Errorf("status %+v", s)
			}
			w.settled()
		})
	}
}

func TestPublishOnceInAnyInterleaving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	w.register(66, devices.Android, "A")
	const publishers = 50
	var fresh sync.Map
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() {
			r := w.Publish(context.Background(), "service:test", w.parse(promo))[0]
			if r.Err != nil {
				t.Error(r.Err)
			}
			if !r.Duplicate {
				fresh.Store(i, true)
			}
		})
	}
	wg.Wait()
	n := 0
	fresh.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d publishers were told that theirs was the first", n)
	}
	w.settled()
	if sent := w.android.wait(t, "push", count(1)); len(sent) != 1 {
		t.Errorf("%d pushes", len(sent))
	}
	r := w.Publish(context.Background(), "service:test", w.parse(strings.Replace(promo, "cek", "lihat", 1)))[0]
	if !errors.Is(r.Err, inbox.ErrConflict) {
		t.Errorf("other content under the same id: %v", r.Err)
	}
	if r := w.Publish(context.Background(), "service:other", w.parse(promo))[0]; r.Duplicate || r.Err != nil {
		t.Errorf("another service's id: %+v", r)
	}
}

func TestOneReadGoesToSeveralReceivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	var want []string
	for user := range int64(20) {
		want = append(want, fmt.Sprint(user+1))
		w.register(user+1, devices.Android, fmt.Sprintf("A%d", user+1))
	}
	w.publish(`{"id":"many","type":"campaign","message":"m","receiver_ids":[` + strings.Join(want, ",") + `,"1"]}`)
	w.android.wait(t, "pushes", count(20))
	all, err := w.Delivery.Status(context.Background(), "service:test", "many")
	if err != nil || len(all) != 20 {
		t.Errorf("%d receivers, %v", len(all), err)
	}
	w.settled()
}

// TestOutcomes checks what each answer of a provider does to the push and to the device.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		result            push.Result
		outcome           string
		kept              bool // whether the device is still listed
		dead, retriedSoon bool
	}{
		{push.Result{Outcome: push.Accepted}, "accepted", true, false, false},
		{push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"}, "refused", true, true, false},
		{push.Result{Outcome: push.Unsendable, Reason: "SENDER_ID_MISMATCH"}, "unsendable", true, true, false},
		{push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", RetryAfter: 50 * time.Millisecond}, "accepted", true, false, true},
		{push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", Backoff: 48 * time.Hour}, "dead", true, true, false},
	} {
		t.Run(c.outcome+"/"+string(c.result.Reason), func(t *testing.T) {
			if c.outcome == "dead" { // the backoff is capped, and the event's TTL is shorter than this
				c.result.RetryAfter = 2 * time.Minute
			}
			w := newWorld(t)
			first := true
			var ids []string
			w.android.answer = func(d *push.Delivery) push.Result {
				ids = append(ids, d.ID)
				if first {
					first = false
					return c.result
				}
				return push.Result{Outcome: push.Accepted}
			}
			w.register(66, devices.Android, "A")
			w.run()
			w.publish(strings.Replace(promo, `"title"`, `"options":{"ttl":"1m"},"title"`, 1))
			s := w.status("promo-1", func(s delivery.ReceiverStatus) bool { return len(s.Devices) == 1 && s.Devices[0].Outcome == c.outcome })
			listed, err := w.opts.Devices.List(context.Background(), 66)
			if err != nil || (len(listed) == 1) != c.kept {
				t.Errorf("devices %v, %v; kept should be %v", listed, err, c.kept)
			}
			letters, err := w.Outbox.DeadLetters(context.Background(), 10)
			if err != nil || (len(letters) == 1) != c.dead {
				t.Errorf("dead letters %v, %v", letters, err)
			}
			if c.dead && (letters[0].Reason != string(c.result.Reason) || letters[0].Receiver != 66 || letters[0].Type != "discount") {
				t.Errorf("dead letter %+v", letters[0])
			}
			if c.retriedSoon && (s.Devices[0].Attempts != 2 || ids[0] != ids[1]) {
				t.Errorf("%d attempts with ids %v", s.Devices[0].Attempts, ids)
			}
			w.settled()
		})
	}
}

// A device that does not belong to our project gets no more pushes until it registers
// again.
func TestUnsendableDevicesAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.android.answer = func(*push.Delivery) push.Result {
		return push.Result{Outcome: push.Unsendable, Reason: "SENDER_ID_MISMATCH"}
	}
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(promo)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "dead" })
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.status("promo-2", func(s delivery.ReceiverStatus) bool { return s.Push == "dead" })
	if n := len(w.android.pushes()); n != 1 {
		t.Errorf("%d attempts", n)
	}
	w.android.answer = nil
	w.register(66, devices.Android, "A")
	w.publish(strings.Replace(promo, "promo-1", "promo-3", 1))
	w.status("promo-3", func(s delivery.ReceiverStatus) bool { return s.Push == "done" && len(s.Devices) == 1 })
}

// When one device of an entry is retried, the entry's other devices do not wait for it and
// get no second push.
func TestRetriesNameOnlyTheDevicesOwed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failures := 2
	w.ios.answer = func(*push.Delivery) push.Result {
		if failures--; failures >= 0 {
			return push.Result{Outcome: push.Later, Reason: "ServiceUnavailable", RetryAfter: 20 * time.Millisecond}
		}
		return push.Result{Outcome: push.Accepted}
	}
	w.register(66, devices.Android, "A")
	w.register(66, devices.IOS, "B")
	w.run()
	w.publish(promo)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return len(s.Devices) == 2 && s.Push == "done" && w.settledNow() })
	if a, i := len(w.android.pushes()), len(w.ios.pushes()); a != 1 || i != 3 {
		t.Errorf("%d pushes to android, %d to ios", a, i)
	}
}

func (w *world) settledNow() bool {
	out, delayed, _ := w.left()
	return out == 0 && delayed == 0
}

// A delayed retry is dropped when a newer push has the same tag.
func TestSupersededRetriesAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const offer = `{"id":"%s","type":"nego","receiver_id":66,"message":"%s","details":{"id":1,"state":"waiting"}}`
	release := make(chan struct{})
	w.android.answer = func(d *push.Delivery) push.Result {
		if d.Body == "old" {
			<-release // the newer offer is published in the meantime
			return push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", RetryAfter: 10 * time.Millisecond}
		}
		return push.Result{Outcome: push.Accepted}
	}
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(fmt.Sprintf(offer, "old", "old"))
	w.android.wait(t, "first attempt", count(1))
	w.publish(fmt.Sprintf(offer, "new", "new"))
	close(release)
	w.status("old", func(s delivery.ReceiverStatus) bool {
		return len(s.Devices) == 1 && s.Devices[0].Outcome == "superseded"
	})
	w.settled()
	if n := len(w.android.pushes()); n != 2 {
		t.Errorf("%d pushes", n)
	}
}

// A push never goes to a device that another user has registered in the meantime (G4).
func TestNoPushToAFormerOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(66, devices.Android, "SHARED")
	for i := range 20 {
		w.publish(strings.Replace(promo, "promo-1", fmt.Sprint("p", i), 1))
	}
	w.register(67, devices.Android, "SHARED") // before any of the pushes was sent
	w.run()
	w.settled()
	w.publish(`{"id":"theirs","type":"discount","receiver_id":67,"message":"m"}`)
	sent := w.android.wait(t, "push", count(1))
	if len(sent) != 1 || sent[0].Body != "m" {
		t.Errorf("the new owner's phone got %d pushes, the first %q", len(sent), sent[0].Body)
	}
}

// Two users register the same token at the same time, while both get events.
func TestTokenRegisteredByTwoUsersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	var mu sync.Mutex
	var receivers []string // receivers of the pushes, in order
	w.android.answer = func(d *push.Delivery) push.Result {
		mu.Lock()
		defer mu.Unlock()
		receivers = append(receivers, string(d.Data[1].Value))
		return push.Result{Outcome: push.Accepted}
	}
	var wg sync.WaitGroup
	for _, user := range []int64{66, 67} {
		wg.Go(func() {
			for range 20 {
				w.register(user, devices.Android, "SHARED")
			}
		})
		wg.Go(func() {
			for i := range 50 {
				w.publish(fmt.Sprintf(`{"id":"%d-%d","type":"dompet","receiver_id":%d,"message":"m"}`, user, i, user))
			}
		})
	}
	wg.Wait()
	owner, err := w.opts.Devices.Owners(context.Background(), []devices.Device{{Platform: devices.Android, Token: "SHARED"}})
	if err != nil {
		t.Fatal(err)
	}
	w.settled()
	mu.Lock()
	before := len(receivers) // no push is in progress
	mu.Unlock()
	for _, user := range []int64{66, 67} {
		for i := range 20 {
			w.publish(fmt.Sprintf(`{"id":"after-%d-%d","type":"dompet","receiver_id":%d,"message":"m"}`, user, i, user))
		}
	}
	w.settled()
	mu.Lock()
	defer mu.Unlock()
	after := receivers[before:]
	for _, receiver := range after {
		if receiver != fmt.Sprint(owner[0].User) {
			t.Errorf("a push of user %s reached the phone of user %d", receiver, owner[0].User)
		}
	}
	if len(after) != 20 {
		t.Errorf("%d of 20 pushes reached the owner", len(after))
	}
}

// A provider that hangs does not delay the other provider (sygnal #104).
func TestHangingProviderStarvesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.InFlight = [len(push.Lanes)]int{4, 4, 4} })
	release := make(chan struct{})
	defer close(release)
	w.ios.answer = func(*push.Delivery) push.Result {
		<-release
		return push.Result{Outcome: push.Later, Reason: "timeout", RetryAfter: time.Minute}
	}
	w.register(66, devices.Android, "A")
	w.register(67, devices.IOS, "B")
	w.run()
	for i := range 60 {
		w.publish(fmt.Sprintf(`{"id":"hang-%d","type":"dompet","receiver_id":67,"message":"m"}`, i))
	}
	for i := range 20 {
		w.publish(fmt.Sprintf(`{"id":"fine-%d","type":"dompet","receiver_id":66,"message":"m"}`, i))
	}
	w.android.wait(t, "android while ios hangs", count(20))
}

func TestPlatformThatIsOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { delete(o.Senders, toIOS) })
	w.register(66, devices.IOS, "A")
	w.run()
	w.publish(promo)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "dead" && s.Devices[0].Reason == "off" })
}

func TestReminder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	ctx := context.Background()
	w.register(66, devices.IOS, "OLD")
	w.publish(promo)
	w.ios.wait(t, "promo", count(1))
	d := devices.Device{Platform: devices.Android, Token: "NEW"}
	for range 2 { // registering again causes no second reminder
		if _, err := w.opts.Devices.Register(ctx, 66, d, w.Reminder(66)); err != nil {
			t.Fatal(err)
		}
	}
	w.settled()
	sent := w.android.wait(t, "reminder", count(1))
	if len(sent) != 1 || len(w.ios.pushes()) != 1 {
		t.Fatalf("%d reminders, %d to the other device", len(sent), len(w.ios.pushes())-1)
	}
	var got strings.Builder
	for _, f := range sent[0].Data {
		fmt.Fprintf(&got, "%s=%s ", f.Name, f.Value)
	}
	want := `type="reminder" receiver_id=66 unread_notifications=1 messages=0 details={"unread_items":{"messages":0,` +
		`"transactions_need_action_as_seller":0,"transactions_need_action_as_buyer":0,"offers_need_action_as_seller":0,"offers_need_action_as_buyer":0}} `
	if got.String() != want || !sent[0].Silent() {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
}
