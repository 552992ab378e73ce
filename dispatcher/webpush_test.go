package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// A webWorld is a world whose browsers have subscribed to push services of sandboxes.
type webWorld struct {
	*world
	private, public string
}

// newWebWorld returns a world that sends to some push services.
func newWebWorld(t *testing.T, boxes ...*sandbox.Sandbox) *webWorld {
	t.Helper()
	ww := &webWorld{private: webpush.NewPrivateKey()}
	var err error
	if ww.public, err = webpush.PublicKey(ww.private); err != nil {
		t.Fatal(err)
	}
	senders := make(map[push.Route]push.Sender)
	for _, box := range boxes {
		s, err := webpush.New(webpush.Options{
			Service: serviceOf(box), PrivateKey: ww.private, Subject: "mailto:push@kabar.example", AllowPrivate: true, RootCAs: box.CAPool(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		senders[toWeb(box)] = s
	}
	ww.world = newWorld(t, func(o *Options) {
		senders[toAndroid] = o.Senders[toAndroid]
		o.Senders = senders
	})
	for route := range senders { // as if acceptances had been noted for ever
		parts, app := ww.opts.Partitions, "app:"+route.String()
		ww.rdb.HSetNX(t.Context(), parts.Key(parts.Of(app), app+":facts"), "since", 1)
	}
	return ww
}

func serviceOf(box *sandbox.Sandbox) string {
	return strings.TrimPrefix(box.Web.Endpoint(), "https://")
}

func toWeb(box *sandbox.Sandbox) push.Route {
	return push.Route{App: push.DefaultApp, Platform: "web", Environment: serviceOf(box)}
}

func startBox(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	box, err := sandbox.Start(sandbox.Options{History: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box
}

// subscribe registers a browser of a user, which subscribes at a box.
func (w *webWorld) subscribe(user int64, box *sandbox.Sandbox, name string) devices.Device {
	w.t.Helper()
	s, err := box.Web.Subscribe(name, w.public)
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.opts.Devices.Register(context.Background(), user, devices.Device{
		Platform: devices.Web, Token: s.Endpoint, P256dh: s.Keys.P256dh, Auth: s.Keys.Auth, Environment: serviceOf(box),
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// A browser gets what a phone gets, and can read it.
func TestWebPush(t *testing.T) {
	t.Parallel()
	box := startBox(t)
	w := newWebWorld(t, box)
	w.subscribe(66, box, "browser")
	w.run()
	w.publish(`{"id":"1","type":"dompet","receiver_id":66,"title":"Dompet","message":"Saldo masuk","details":{"id":7}}`)
	w.eventually("a push", func() bool { return box.Web.Accepted() == 1 })
	p := box.Web.Pushes()[0]
	var got struct {
		Title, Body, Tag string
		Badge            int
		Data             map[string]json.RawMessage
	}
	if err := json.Unmarshal(p.Body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Title != "Dompet" || got.Body != "Saldo masuk" || got.Badge != 1 || got.Tag == "" || string(got.Data["type"]) != `"dompet"` {
		t.Errorf("got %s", p.Body)
	}
	if p.Header.Get("Urgency") != "high" || len(p.Header.Get("Topic")) != 32 {
		t.Errorf("header %v", p.Header)
	}
	w.status("1", func(s delivery.ReceiverStatus) bool {
		return s.Push == "done" && len(s.Devices) == 1 && s.Devices[0].Outcome == "accepted" && s.Devices[0].ProviderID == p.ID &&
			s.Devices[0].Route == toWeb(box)
	})
}

// A browser that has unsubscribed is forgotten after the second verdict (G11).
func TestUnsubscribedBrowserIsForgotten(t *testing.T) {
	t.Parallel()
	box := startBox(t)
	w := newWebWorld(t, box)
	w.subscribe(66, box, "browser")
	w.subscribe(67, box, "other")
	box.Web.Unsubscribe("browser")
	w.run()
	for _, user := range []int{66, 67} {
		w.publish(fmt.Sprintf(`{"id":"%d","type":"dompet","receiver_id":%d,"message":"m"}`, user, user))
	}
	w.eventually("an accepted push", func() bool { return box.Web.Accepted() == 1 })
	if d := w.suspect(66); d.Suspect.Reason != "http_410" {
		t.Errorf("suspect for %+v", d.Suspect)
	}
	w.recheck(66)
	w.eventually("nobody's browser", func() bool {
		listed, err := w.opts.Devices.List(context.Background(), 66)
		return err == nil && len(listed) == 0
	})
}

// When a push service refuses everybody, its circuit opens, and no other's (G10).
func TestCircuitsByPushService(t *testing.T) {
	t.Parallel()
	broken, healthy := startBox(t), startBox(t)
	w := newWebWorld(t, broken, healthy)
	for user := int64(1); user <= 3; user++ {
		w.subscribe(user, broken, fmt.Sprint("b", user))
		w.subscribe(user, healthy, fmt.Sprint("h", user))
		w.register(user, devices.Android, fmt.Sprint("A", user))
	}
	w.run()
	publish := func(name string) {
		for user := 1; user <= 3; user++ {
			w.publish(fmt.Sprintf(`{"id":"%s-%d","type":"dompet","receiver_id":%d,"message":"m"}`, name, user, user))
		}
	}
	refuse := sandbox.Response{Reason: "BadJWT"}
	broken.Web.Fail(sandbox.AnyToken, -1, refuse)
	publish("first")
	open := toWeb(broken).String()
	w.eventually("an open circuit", func() bool { return w.Delivery.Open(open) })
	publish("second")
	w.eventually("pushes to the others", func() bool { return healthy.Web.Accepted() == 6 && len(w.android.pushes()) == 6 })
	if w.Delivery.Open(toWeb(healthy).String()) || w.Delivery.Open(toAndroid.String()) {
		t.Error("another circuit is open")
	}
	broken.Web.Fail(sandbox.AnyToken, 0, sandbox.Response{})
	w.eventually("a closed circuit", func() bool { return !w.Delivery.Open(open) })
	w.eventually("the pushes that waited", func() bool { // beside the first ones, which have delays of their own
		return len(slices.DeleteFunc(broken.Web.Pushes(), func(p sandbox.Push) bool { return !p.Accepted() })) >= 3
	})
}

// A push that shows nothing goes to phones and to no browser: browsers let nobody send such.
func TestSilentPushesReachNoBrowser(t *testing.T) {
	t.Parallel()
	box := startBox(t)
	w := newWebWorld(t, box)
	browser := w.subscribe(66, box, "browser")
	w.register(66, devices.Android, "A")
	w.subscribe(67, box, "lonely")
	w.run()
	for _, user := range []int{66, 67} {
		w.publish(fmt.Sprintf(`{"id":"r%d","type":"reminder","receiver_id":%d}`, user, user))
	}
	w.android.wait(t, "the phone", count(1))
	w.status("r66", func(s delivery.ReceiverStatus) bool {
		i := slices.IndexFunc(s.Devices, func(d delivery.DeviceStatus) bool { return d.Device == browser.ID })
		return s.Push == "done" && len(s.Devices) == 2 && s.Devices[i].Outcome == "silent"
	})
	w.status("r67", func(s delivery.ReceiverStatus) bool { return s.Push == "silent" })
	if n := box.Web.Count(); n != 0 {
		t.Errorf("%d pushes to browsers", n)
	}
}
