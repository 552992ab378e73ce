package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

var (
	toSandbox = push.Route{App: push.DefaultApp, Platform: "ios", Environment: push.Sandbox}
	bad       = push.Result{Outcome: push.DeadToken, Reason: "BadDeviceToken"}
)

// newEnvironments returns a world in which APNs has both environments. They answer production
// and sandbox; nil accepts.
func newEnvironments(t *testing.T, production, sandbox *push.Result) (w *world, toTheSandbox *phone) {
	answers := func(r *push.Result) func(*push.Delivery) push.Result {
		if r == nil {
			return nil
		}
		return answerWith(*r)
	}
	toTheSandbox = newPhone(answers(sandbox))
	w = newWorld(t, func(o *Options) { o.Senders[toSandbox] = toTheSandbox })
	w.ios.set(answers(production), push.Result{})
	for _, r := range []push.Route{toIOS, toSandbox} { // something was accepted once, so that made-up tokens are no evidence
		name := "app:" + r.String()
		w.rdb.HSet(t.Context(), w.opts.Partitions.Key(w.opts.Partitions.Of(name), name+":facts"), "since", 1, "accepted", 1)
	}
	return w, toTheSandbox
}

// evidence reports whether there is evidence against a route, or its circuit is open.
func (w *world) evidence(r push.Route) bool {
	name := "app:" + r.String()
	n, err := w.rdb.Exists(context.Background(), w.opts.Partitions.Key(w.opts.Partitions.Of(name), name+":blaming")).Result()
	return err != nil || n > 0 || w.Delivery.Open(r.String())
}

// listed returns the one device of a user.
func (w *world) listed(user int64) devices.Device {
	w.t.Helper()
	all, err := w.opts.Devices.List(context.Background(), user)
	if err != nil || len(all) != 1 {
		w.t.Fatalf("devices %+v, %v", all, err)
	}
	return all[0]
}

// The environment that accepts the token of a device which does not say its own is remembered,
// also when the device registers again.
func TestEnvironmentIsFound(t *testing.T) {
	t.Parallel()
	w, sandbox := newEnvironments(t, &bad, nil)
	w.register(66, devices.IOS, "A")
	w.run()
	w.publish(promo)
	s := w.status("promo-1", is("accepted"))
	if d := s.Devices[0]; d.Route != toSandbox || d.Attempts != 2 {
		t.Errorf("%+v", d)
	}
	w.settled()
	if d := w.listed(66); d.Learned != push.Sandbox || d.Suspect != nil {
		t.Errorf("the device is %+v", d)
	}
	w.register(66, devices.IOS, "A")
	for _, id := range []string{"promo-2", "promo-3"} {
		w.publish(strings.Replace(promo, "promo-1", id, 1))
		w.status(id, is("accepted"))
	}
	if first, second := len(w.ios.pushes()), len(sandbox.pushes()); first != 1 || second != 3 {
		t.Errorf("%d attempts in production, %d in the sandbox", first, second)
	}
	if w.evidence(toIOS) || w.evidence(toSandbox) {
		t.Error("that is evidence")
	}
}

// BadDeviceToken is a verdict once both environments have said it. The second one is asked once
// for each registration, after the owner was read again.
func TestBothEnvironmentsCallTheTokenBad(t *testing.T) {
	t.Parallel()
	w, sandbox := newEnvironments(t, &bad, &bad)
	w.register(66, devices.IOS, "A")
	w.run()
	w.publish(promo)
	w.status("promo-1", is("suspect"))
	w.atRest(66)
	if d := w.listed(66); !d.Missed || d.Suspect.Elsewhere {
		t.Errorf("the device is %+v, suspect %+v", d, d.Suspect)
	}
	w.recheck(66)
	w.status("promo-1", is("forgotten"))
	if first, second := len(w.ios.pushes()), len(sandbox.pushes()); first != 2 || second != 1 {
		t.Errorf("%d attempts in production, %d in the sandbox", first, second)
	}
	if sandbox.pushes()[0].Check == nil {
		t.Error("the owner is not read again")
	}

	w.register(66, devices.IOS, "A")
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.status("promo-2", is("suspect"))
	if n := len(sandbox.pushes()); n != 2 {
		t.Errorf("the new registration asked the sandbox %d times", n-1)
	}
}

// A key or certificate that is for one environment alone makes no evidence against the other
// one, and a token that the first calls bad is called dead.
func TestKeyOfOneEnvironment(t *testing.T) {
	t.Parallel()
	for _, refusal := range []push.Result{
		{Outcome: push.Ambiguous, Reason: "BadEnvironmentKeyIdInToken"}, {Outcome: push.CredentialsRefused, Reason: "BadCertificateEnvironment"},
	} {
		t.Run(string(refusal.Reason), func(t *testing.T) {
			t.Parallel()
			w, sandbox := newEnvironments(t, &bad, &refusal)
			w.run()
			for user := int64(66); user < 70; user++ {
				w.register(user, devices.IOS, fmt.Sprint("A", user))
				id := fmt.Sprint("promo-", user)
				w.publish(strings.NewReplacer("promo-1", id, "66", fmt.Sprint(user)).Replace(promo))
				w.status(id, is("suspect"))
			}
			if w.evidence(toSandbox) {
				t.Error("there is evidence against the sandbox")
			}
			w.recheck(66)
			w.status("promo-66", is("forgotten"))
			if n := len(sandbox.pushes()); n != 4 {
				t.Errorf("%d attempts in the sandbox", n)
			}
		})
	}
}

// A device that says its environment is pushed there, whatever that one answers.
func TestEnvironmentThatTheDeviceSays(t *testing.T) {
	t.Parallel()
	w, sandbox := newEnvironments(t, nil, &bad)
	_, err := w.opts.Devices.Register(t.Context(), 66, devices.Device{Platform: devices.IOS, Token: "A", Environment: push.Sandbox}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.run()
	w.publish(promo)
	w.status("promo-1", is("suspect"))
	w.recheck(66)
	w.status("promo-1", is("forgotten"))
	if first, second := len(w.ios.pushes()), len(sandbox.pushes()); first != 0 || second != 2 {
		t.Errorf("%d attempts in production, %d in the sandbox", first, second)
	}
}

// The environment that is tried first is configured by app.
func TestEnvironmentThatIsTriedFirst(t *testing.T) {
	t.Parallel()
	sandbox := newPhone(nil)
	w := newWorld(t, func(o *Options) {
		o.Senders[toSandbox] = sandbox
		o.Environments = map[string]string{push.DefaultApp: push.Sandbox}
	})
	w.register(66, devices.IOS, "A")
	w.run()
	w.publish(promo)
	w.status("promo-1", is("accepted"))
	if len(w.ios.pushes()) != 0 || len(sandbox.pushes()) != 1 {
		t.Error("it went to production first")
	}
}

// sellersOnly is a type whose events reach one app.
var sellersOnly = event.Type{Name: "stock", Lane: push.Bulk, Apps: []string{"seller"}}

// newApps returns a world with a second app, seller, which has Android alone.
func newApps(t *testing.T) (w *world, toSeller *phone, route push.Route) {
	toSeller, route = newPhone(nil), push.Route{App: "seller", Platform: "android"}
	w = newWorld(t, func(o *Options) {
		o.Senders[route] = toSeller
		o.Apps = []string{"seller"}
		o.Types = append(o.Types, sellersOnly)
	})
	for token, app := range map[string]string{"A": "", "S": "seller", "G": "gone"} {
		if _, err := w.opts.Devices.Register(t.Context(), 66, devices.Device{Platform: devices.Android, Token: token, App: app}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return w, toSeller, route
}

// An event reaches the apps that it names, else those of its type, else all. A push to an app
// that is not configured becomes a dead letter.
func TestAppsOfAnEvent(t *testing.T) {
	t.Parallel()
	w, toSeller, _ := newApps(t)
	w.run()
	tokens := func() (all []string) {
		for _, d := range append(w.android.pushes(), toSeller.pushes()...) {
			all = append(all, d.Token)
		}
		return all
	}
	for i, c := range []struct {
		event string
		want  []string // tokens
	}{
		{promo, []string{"A", "S"}},
		{strings.Replace(promo, `"title"`, `"options":{"apps":["seller"]},"title"`, 1), []string{"S"}},
		{strings.Replace(promo, `"title"`, `"options":{"apps":["default","seller"]},"title"`, 1), []string{"A", "S"}},
		{strings.Replace(promo, "discount", sellersOnly.Name, 1), []string{"S"}},
		{strings.NewReplacer("discount", sellersOnly.Name, `"title"`, `"options":{"apps":["default"]},"title"`).Replace(promo), []string{"A"}},
	} {
		before := len(tokens())
		id := fmt.Sprint("apps-", i)
		w.publish(strings.Replace(c.event, "promo-1", id, 1))
		w.settled()
		got := tokens()
		if slices.Sort(got); len(got)-before != len(c.want) {
			t.Errorf("%s reached %d devices, want %q", c.event, len(got)-before, c.want)
		}
	}
	if got := tokens(); len(got) != 7 || len(toSeller.pushes()) != 4 {
		t.Errorf("reached %q", got)
	}
	letters, err := w.Outbox.DeadLetters(t.Context(), 10)
	if err != nil || len(letters) != 1 || letters[0].Reason != "off" || letters[0].Route != "gone.android" {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

// The provider of one app that refuses its credentials holds up no other app.
func TestCircuitsOfAppsAreApart(t *testing.T) {
	t.Parallel()
	w, toSeller, route := newApps(t)
	toSeller.set(answerWith(push.Result{Outcome: push.CredentialsRefused, Reason: "UNAUTHENTICATED"}),
		push.Result{Outcome: push.CredentialsRefused, Reason: "UNAUTHENTICATED"})
	w.run()
	w.publish(promo)
	w.eventually("an open circuit", func() bool { return w.Delivery.Open(route.String()) })
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.android.wait(t, "both pushes of the other app", count(2))
	if w.Delivery.Open(toAndroid.String()) {
		t.Error("the circuit of the other app is open")
	}
	if n := w.metric("kabar_circuit_open", "app", "seller", "environment", "", "platform", "android"); n != 1 {
		t.Errorf("kabar_circuit_open of the app is %v", n)
	}
}

// An event that names an app which is not configured is refused, by the path of the name.
func TestAppsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Apps = []string{"seller"} })
	for apps, field := range map[string]string{
		`["seller","buyer"]`: "options.apps[1]", `[""]`: "options.apps[0]", `[7]`: "options.apps[0]", `[]`: "options.apps",
		`"seller"`: "options.apps", `{"seller":true}`: "options.apps",
	} {
		_, err := w.Parse([]byte(strings.Replace(promo, `"title"`, `"options":{"apps":`+apps+`},"title"`, 1)))
		if invalid, ok := err.(interface{ Error() string }); !ok || !strings.Contains(invalid.Error(), field) {
			t.Errorf("%s: %v, want one about %s", apps, err, field)
		}
	}
}

// An iOS app on Firebase gets its pushes from FCM, by a route of its own.
func TestFirebaseOnIOS(t *testing.T) {
	t.Parallel()
	firebase := newPhone(nil)
	w := newWorld(t, func(o *Options) { o.Senders[toFirebase] = firebase })
	d := devices.Device{Platform: devices.IOS, Provider: devices.FCM, Token: "a:b"}
	if _, err := w.opts.Devices.Register(t.Context(), 66, d, nil); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.publish(promo)
	s := w.status("promo-1", is("accepted"))
	if len(s.Devices) != 1 || s.Devices[0].Route != toFirebase || s.Devices[0].Attempts != 1 {
		t.Errorf("%+v", s.Devices)
	}
	if got := firebase.pushes(); len(got) != 1 || len(w.ios.pushes()) != 0 || len(w.android.pushes()) != 0 {
		t.Errorf("FCM got %d pushes for iOS, APNs %d, Android %d", len(got), len(w.ios.pushes()), len(w.android.pushes()))
	}
}
