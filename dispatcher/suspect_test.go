package dispatcher

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

var unregistered = push.Result{Outcome: push.DeadToken, Reason: "UNREGISTERED"}

func answerWith(r push.Result) func(*push.Delivery) push.Result {
	return func(*push.Delivery) push.Result { return r }
}

// is reports whether the one device of a status has an outcome.
func is(outcome string) func(delivery.ReceiverStatus) bool {
	return func(s delivery.ReceiverStatus) bool { return len(s.Devices) == 1 && s.Devices[0].Outcome == outcome }
}

// A first verdict keeps the push and those that follow waiting; a second one, a minute
// later, forgets the device and settles what waits.
func TestSuspectDeviceIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.android.set(answerWith(unregistered), push.Result{})
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(promo)
	s := w.status("promo-1", is("suspect"))
	if d := s.Devices[0]; s.Push != "retrying" || d.Since.IsZero() || d.Why != "UNREGISTERED" || d.Attempts != 1 {
		t.Errorf("%s %+v", s.Push, d)
	}
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	if s := w.status("promo-2", is("suspect")); s.Devices[0].Attempts != 0 {
		t.Errorf("the second push was attempted: %+v", s.Devices[0])
	}
	w.recheck(66)
	w.status("promo-1", is("forgotten"))
	w.makeAllDue(66)
	w.status("promo-2", is("forgotten"))
	w.settled()
	if listed, err := w.opts.Devices.List(context.Background(), 66); err != nil || len(listed) != 0 {
		t.Errorf("devices %v, %v", listed, err)
	}
	if n := len(w.android.wait(t, "", count(0))); n != 2 {
		t.Errorf("%d attempts", n)
	}
}

// An acceptance clears a suspect device, and what waits goes out.
func TestSuspectDeviceIsCleared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.android.set(answerWith(unregistered), push.Result{})
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(promo)
	w.suspect(66)
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.status("promo-2", is("suspect"))
	w.android.set(nil, push.Result{})
	w.recheck(66)
	w.status("promo-1", is("accepted"))
	w.makeAllDue(66) // it follows two seconds after the recheck
	w.status("promo-2", is("accepted"))
	w.settled()
	listed, err := w.opts.Devices.List(context.Background(), 66)
	if err != nil || len(listed) != 1 || listed[0].Suspect != nil || listed[0].AcceptedDay == 0 {
		t.Errorf("devices %+v, %v", listed, err)
	}
}

// A push whose time ends before the recheck is buried as suspect, and the next push does the
// recheck.
func TestSuspectPushExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.android.set(answerWith(unregistered), push.Result{})
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(strings.Replace(promo, `"title"`, `"options":{"ttl":"30s"},"title"`, 1))
	w.status("promo-1", is("dead"))
	letters, err := w.Outbox.DeadLetters(context.Background(), 10)
	if err != nil || len(letters) != 1 || letters[0].Reason != "suspect" {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
	w.recheckWith(66, -time.Minute)
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.status("promo-2", is("forgotten"))
}

// A 410 that is older than the registration is tried once more, then buried; the device
// stays.
func TestGoneBeforeTheRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ios.set(answerWith(push.Result{Outcome: push.DeadToken, Reason: "Unregistered", At: time.Now().Add(-time.Hour)}), push.Result{})
	w.register(66, devices.IOS, "A")
	w.run()
	w.publish(promo)
	w.status("promo-1", is("retrying"))
	w.makeAllDue(66)
	w.status("promo-1", is("dead"))
	listed, err := w.opts.Devices.List(context.Background(), 66)
	if err != nil || len(listed) != 1 || listed[0].Suspect != nil {
		t.Errorf("devices %+v, %v", listed, err)
	}
}

// In an outage in which every device is called dead, none is forgotten, however many
// verdicts there are, and all get their pushes when it is over.
func TestOutageForgetsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const users = 20
	for user := range int64(users) {
		w.register(user+1, devices.Android, string(rune('A'+user)))
	}
	w.run()
	each := func(id string, outcome string) {
		for user := range int64(users) {
			name := id + string(rune('A'+user))
			w.publish(strings.NewReplacer("promo-1", name, `"receiver_id":66`, `"receiver_id":`+fmt.Sprint(user+1)).Replace(promo))
		}
		for user := range int64(users) {
			w.status(id+string(rune('A'+user)), is(outcome))
		}
	}
	each("before-", "accepted")
	w.android.set(answerWith(unregistered), push.Result{})
	each("outage-", "suspect")
	for range 3 {
		n := len(w.android.wait(t, "", count(0)))
		for user := range int64(users) {
			w.recheck(user + 1)
		}
		w.android.wait(t, "another verdict for all", count(n+users))
	}
	w.android.set(nil, push.Result{})
	for user := range int64(users) {
		w.makeAllDue(user + 1)
	}
	for user := range int64(users) {
		w.status("outage-"+string(rune('A'+user)), is("accepted"))
	}
}

// A suspended device gets one trial push a day; an acceptance lifts the suspension.
func TestSuspendedDeviceIsTried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.android.set(answerWith(push.Result{Outcome: push.Unsendable, Reason: "SENDER_ID_MISMATCH"}), push.Result{})
	w.register(66, devices.Android, "A")
	w.register(66, devices.IOS, "B")
	w.run()
	w.publish(promo)
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "dead" && len(s.Devices) == 2 })
	suspended := func() devices.Device {
		listed, err := w.opts.Devices.List(context.Background(), 66)
		if err != nil || len(listed) != 2 {
			t.Fatal(listed, err)
		}
		return listed[0]
	}
	d := suspended()
	yesterday := d
	yesterday.TriedAt -= (25 * time.Hour).Milliseconds()
	if _, ok, err := w.opts.Devices.Change(context.Background(), 66, d, yesterday); err != nil || !ok || d.Suspended == "" {
		t.Fatalf("%+v %v %v", d, ok, err)
	}
	w.android.set(nil, push.Result{})
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.status("promo-2", func(s delivery.ReceiverStatus) bool { return s.Push == "done" && len(s.Devices) == 2 })
	w.settled()
	if d := suspended(); d.Suspended != "" {
		t.Errorf("the device is still suspended: %+v", d)
	}
}

// What waits for an open circuit goes out when it closes, urgent and bulk alike.
func TestCircuitReleasesWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := push.Result{Outcome: push.CredentialsRefused, Reason: "UNAUTHENTICATED"}
	w.android.set(answerWith(refused), refused)
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(promo)
	s := w.status("promo-1", is("circuit_open"))
	if d := s.Devices[0]; s.Push != "retrying" || d.Since.IsZero() || d.Why != "UNAUTHENTICATED" {
		t.Errorf("%s %+v", s.Push, d)
	}
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	if s := w.status("promo-2", is("circuit_open")); s.Devices[0].Attempts != 0 {
		t.Errorf("a push was attempted while the circuit was open: %+v", s.Devices[0])
	}
	w.android.set(nil, push.Result{})
	w.status("promo-1", is("accepted"))
	w.status("promo-2", is("accepted"))
	w.settled()
}

// A push whose time ends while the circuit is open is buried with that reason.
func TestCircuitRespectsTheTTL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := push.Result{Outcome: push.CredentialsRefused, Reason: "UNAUTHENTICATED"}
	w.android.set(answerWith(refused), refused)
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(strings.Replace(promo, `"title"`, `"options":{"ttl":"10s"},"title"`, 1))
	w.status("promo-1", func(s delivery.ReceiverStatus) bool { return s.Push == "dead" })
	letters, err := w.Outbox.DeadLetters(context.Background(), 10)
	if err != nil || len(letters) != 1 || letters[0].Reason != "circuit_open" {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

// A device that the provider asks to send less waits, also with its other pushes; nobody
// else does.
func TestDeviceIsPutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.android.set(func(d *push.Delivery) push.Result {
		if d.Token == "A" {
			return push.Result{Outcome: push.SlowDown, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute}
		}
		return push.Result{Outcome: push.Accepted}
	}, push.Result{})
	w.register(66, devices.Android, "A")
	w.register(67, devices.Android, "B")
	w.run()
	w.publish(promo)
	w.status("promo-1", is("waiting_for_retry_after"))
	w.eventually("the device is put off", func() bool {
		return len(w.rdb.Keys(context.Background(), w.prefix+"*putoff:android:A").Val()) == 1
	})
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	if s := w.status("promo-2", is("waiting_for_retry_after")); s.Devices[0].Attempts != 0 {
		t.Errorf("the second push was attempted: %+v", s.Devices[0])
	}
	w.publish(strings.NewReplacer("promo-1", "promo-3", `"receiver_id":66`, `"receiver_id":67`).Replace(promo))
	w.status("promo-3", is("accepted"))
}
