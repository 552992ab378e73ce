package dispatcher

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/apns"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/fcm"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// Tests of "one must not stop all" (G10) and "nobody is forgotten by mistake" (G11) with the
// real senders and the sandbox's services.

// newSandboxWorld returns a world that sends to the services of a sandbox.
func newSandboxWorld(t *testing.T, change ...func(*Options)) (*world, *sandbox.Sandbox) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	box, err := sandbox.Start(sandbox.Options{History: 10_000})
	must(err)
	t.Cleanup(func() { box.Close() })
	file, err := box.FCM.WriteCredentials(t.TempDir())
	must(err)
	credentials, err := os.ReadFile(file)
	must(err)
	file, keyID, teamID, err := box.APNs.WriteKey(t.TempDir())
	must(err)
	key, err := os.ReadFile(file)
	must(err)
	android, err := fcm.New(context.Background(), fcm.Options{
		ProjectID: "sandbox", CredentialsJSON: credentials, Endpoint: box.FCM.Endpoint(), RootCAs: box.CAPool(),
	})
	must(err)
	t.Cleanup(android.Close)
	firebase, err := fcm.New(context.Background(), fcm.Options{
		ProjectID: "sandbox", CredentialsJSON: credentials, Endpoint: box.FCM.Endpoint(), RootCAs: box.CAPool(), APNs: apns.ForFirebase,
	})
	must(err)
	t.Cleanup(firebase.Close)
	ios, err := apns.New(apns.Options{
		KeyPEM: key, KeyID: keyID, TeamID: teamID, Topic: "id.kabar.demo", Endpoint: box.APNs.Endpoint(), RootCAs: box.CAPool(),
	})
	must(err)
	t.Cleanup(ios.Close)
	return newWorld(t, append(change, func(o *Options) {
		o.Senders = map[push.Route]push.Sender{toAndroid: android, toIOS: ios, toFirebase: firebase}
	})...), box
}

// tell publishes an event about money and a promotion to a user.
func (w *world) tell(user int64, name string) {
	w.t.Helper()
	for _, kind := range []string{"dompet", "announcement"} {
		w.publish(fmt.Sprintf(`{"id":"%s-%s-%d","type":%q,"receiver_id":%d,"title":"t","message":"m","details":{"id":%q}}`, name, kind, user, kind, user, name))
	}
}

// told waits until all devices of a user have accepted what tell published.
func (w *world) told(user int64, name string, devices int) {
	w.t.Helper()
	for _, kind := range []string{"dompet", "announcement"} {
		w.status(fmt.Sprintf("%s-%s-%d", name, kind, user), func(s delivery.ReceiverStatus) bool {
			return len(s.Devices) == devices && !slices.ContainsFunc(s.Devices, func(d delivery.DeviceStatus) bool { return d.Outcome != "accepted" })
		})
	}
}

// noneWaited fails the test if any push waited for a circuit or a pausing lane.
func (w *world) noneWaited(after string) {
	w.t.Helper()
	for _, platform := range []string{"android", "ios"} {
		for _, reason := range []push.Reason{push.ReasonCircuitOpen, push.ReasonSlowedDown} {
			if n := w.metric("kabar_push_retries_total", "platform", platform, "reason", string(reason)); n != 0 {
				w.t.Fatalf("after %s, %v pushes to %s waited: %s", after, n, platform, reason)
			}
		}
	}
}

// suspects returns how many devices of a user are suspect.
func (w *world) suspects(user int64) (n int) {
	w.t.Helper()
	listed, err := w.opts.Devices.List(context.Background(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range listed {
		if d.Suspect != nil {
			n++
		}
	}
	return n
}

// recheckAll is recheck for each of a user's suspect devices.
func (w *world) recheckAll(user int64) {
	w.t.Helper()
	w.atRest(user)
	w.eventually("aged suspects", func() bool { // unless a device changes meanwhile
		listed, err := w.opts.Devices.List(context.Background(), user)
		if err != nil {
			w.t.Fatal(err)
		}
		all := true
		for _, d := range listed {
			if d.Suspect == nil {
				continue
			}
			aged, now := d, time.Now()
			aged.Suspect = &devices.Suspect{Since: now.Add(-2 * time.Minute).UnixMilli(), Next: now.UnixMilli(), Reason: d.Suspect.Reason}
			_, ok, err := w.opts.Devices.Change(context.Background(), user, d, aged)
			if err != nil {
				w.t.Fatal(err)
			}
			all = all && ok
		}
		return all
	})
	w.makeAllDue(user)
}

// attempted waits until a service has been asked to push to a device, n times in all.
func (w *world) attempted(box *sandbox.Sandbox, token string, n int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d attempts at %s", n, token), func() bool { return len(pushesTo(box, token)) >= n })
}

func pushesTo(box *sandbox.Sandbox, token string) []sandbox.Push {
	return slices.DeleteFunc(box.Pushes(), func(p sandbox.Push) bool { return p.Token != token })
}

// Whatever a provider answers for one device, all lanes of all other users go on.
func TestFaultOfOneDeviceDelaysNoOther(t *testing.T) {
	t.Parallel()
	w, box := newSandboxWorld(t)
	const victim, healthy = 1, 3
	for user := int64(victim + 1); user <= victim+healthy; user++ {
		w.register(user, devices.Android, fmt.Sprint("A", user))
		w.register(user, devices.IOS, fmt.Sprint("B", user))
	}
	w.run()
	everyone := func(name string) {
		for user := int64(victim + 1); user <= victim+healthy; user++ {
			w.tell(user, name)
		}
		for user := int64(victim + 1); user <= victim+healthy; user++ {
			w.told(user, name, 2)
		}
	}
	everyone("before")
	// A refusal of our credentials, and an answer about the whole project, is no fault of one
	// device.
	aboutAll := []string{"unauthenticated", "expired-provider-token", "invalid-provider-token", "quota-project"}
	for _, f := range sandbox.Faults() {
		if !f.Devices || slices.Contains(aboutAll, f.Name) {
			continue
		}
		for _, service := range f.Services() {
			name := service + "-" + f.Name
			platform := map[string]devices.Platform{sandbox.PlatformFCM: devices.Android, sandbox.PlatformAPNs: devices.IOS}[service]
			token := "victim" + strings.ReplaceAll(name, "-", "")
			w.register(victim, platform, token)
			w.tell(victim, name+"-before")
			w.told(victim, name+"-before", 1) // the device is known
			remove, err := box.Inject(f.Name, sandbox.FaultOptions{Service: service, Tokens: func(t string) bool { return t == token }})
			if err != nil {
				t.Fatal(err)
			}
			w.tell(victim, name)
			if f.Name == "hang" {
				w.eventually("a request without an answer", func() bool { return box.FCM.Pending()+box.APNs.Pending() > 0 })
			} else {
				w.attempted(box, token, 3) // two before the fault
			}
			everyone(name)
			w.noneWaited(name)
			remove()
			if err := w.opts.Devices.Remove(context.Background(), victim, platform, token); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A user who registers 300 made-up tokens stops nobody, not even where nothing was accepted
// before.
func TestMadeUpTokensOfOneUser(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"after acceptances": true, "at first": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, box := newSandboxWorld(t)
			for user := int64(66); user < 70; user++ {
				w.register(user, devices.IOS, fmt.Sprint("B", user))
			}
			w.run()
			if before {
				w.tell(66, "before")
				w.told(66, "before", 1)
			}
			const at = 20 // devices that a user may have at once
			tokens := 300
			if !before {
				tokens = 3 * at // the circuit opens at the first ones
			}
			for n := range tokens {
				w.register(1, devices.IOS, fmt.Sprint("badtoken", n))
				if n%at == at-1 {
					w.tell(1, fmt.Sprint("flood", n))
				}
			}
			if before {
				w.eventually("attempts at made-up tokens", func() bool { return box.APNs.Count() > 100 })
			} else {
				w.eventually("an attempt at a made-up token", func() bool { return box.APNs.Count() > 0 })
			}
			for user := int64(66); user < 70; user++ {
				w.tell(user, "after")
				w.told(user, "after", 1)
			}
			if before {
				w.noneWaited("the flood")
			}
			if n := w.metric("kabar_circuit_open", "platform", "ios"); n != 0 {
				w.eventually("the circuit closes", func() bool { return w.metric("kabar_circuit_open", "platform", "ios") == 0 })
			}
		})
	}
}

// However large the share of tokens is that never worked, the others get their pushes, and
// those go.
func TestBadTokensConverge(t *testing.T) {
	t.Parallel()
	w, _ := newSandboxWorld(t)
	const users, bad = 20, 12
	for user := int64(1); user <= users; user++ {
		token := fmt.Sprint("B", user)
		if user <= bad {
			token = fmt.Sprint("badtoken", user)
		}
		w.register(user, devices.IOS, token)
	}
	w.run()
	for user := int64(users); user >= 1; user-- {
		w.tell(user, "first")
	}
	for user := int64(bad + 1); user <= users; user++ {
		w.told(user, "first", 1)
	}
	for user := int64(1); user <= bad; user++ {
		w.status(fmt.Sprintf("first-dompet-%d", user), is("suspect"))
		w.recheck(user)
	}
	for user := int64(1); user <= bad; user++ {
		w.eventually("a bad token is forgotten", func() bool {
			listed, err := w.opts.Devices.List(context.Background(), user)
			if err != nil {
				t.Fatal(err)
			}
			return len(listed) == 0
		})
		w.makeAllDue(user)
	}
	w.settled()
	for user := int64(bad + 1); user <= users; user++ {
		w.tell(user, "after")
		w.told(user, "after", 1)
	}
	w.noneWaited("bad tokens")
}

// Both services call every token dead for a while, again and again: nobody is forgotten.
func TestOutageOfBothServicesForgetsNobody(t *testing.T) {
	t.Parallel()
	w, box := newSandboxWorld(t)
	const users = 8
	for user := int64(1); user <= users; user++ {
		w.register(user, devices.Android, fmt.Sprint("A", user))
		w.register(user, devices.IOS, fmt.Sprint("B", user))
	}
	w.run()
	everyone := func(name string, outcome string) {
		for user := int64(1); user <= users; user++ {
			w.tell(user, name)
		}
		for user := int64(1); user <= users; user++ {
			w.status(fmt.Sprintf("%s-dompet-%d", name, user), func(s delivery.ReceiverStatus) bool {
				return len(s.Devices) == 2 && s.Devices[0].Outcome == outcome && s.Devices[1].Outcome == outcome
			})
		}
	}
	everyone("before", "accepted")
	var ends []func()
	for _, name := range []string{"unregistered", "gone"} {
		end, err := box.Inject(name, sandbox.FaultOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	everyone("outage", "suspect")
	for range 2 {
		n := box.FCM.Count() + box.APNs.Count()
		for user := int64(1); user <= users; user++ {
			w.recheckAll(user)
		}
		w.eventually("another verdict for all", func() bool { return box.FCM.Count()+box.APNs.Count() >= n+2*users })
	}
	for _, end := range ends {
		end()
	}
	for user := int64(1); user <= users; user++ {
		w.recheckAll(user)
	}
	for user := int64(1); user <= users; user++ {
		w.eventually("the devices are cleared", func() bool { return w.suspects(user) == 0 })
		w.makeAllDue(user) // what waited behind the rechecks
		w.told(user, "outage", 2)
	}
	for _, platform := range []string{"android", "ios"} {
		for _, reason := range []string{"UNREGISTERED", "Unregistered"} {
			if n := w.metric("kabar_forgotten_devices_total", "platform", platform, "reason", reason); n != 0 {
				t.Errorf("%v devices of %s were forgotten: %s", n, platform, reason)
			}
		}
	}
}
