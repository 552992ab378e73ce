package webpush

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	library "github.com/SherClockHolmes/webpush-go"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// newKeys returns a VAPID key pair.
func newKeys(t testing.TB) (private, public string) {
	t.Helper()
	private, public, err := library.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// start returns a sandbox, a sender that is connected to it, and a push to a browser that has
// subscribed there. change may change the sender's options.
func start(t testing.TB, change func(*Options)) (*sandbox.Sandbox, *Sender, *push.Delivery) {
	t.Helper()
	sb, err := sandbox.Start(sandbox.Options{History: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	private, public := newKeys(t)
	o := Options{
		Service: strings.TrimPrefix(sb.Web.Endpoint(), "https://"), PrivateKey: private, Subject: "mailto:push@kabar.example",
		AllowPrivate: true, RootCAs: sb.CAPool(), Now: func() time.Time { return now },
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return sb, s, subscribed(t, sb, "browser-1", public)
}

// subscribed returns a push to a browser that subscribes with a VAPID public key.
func subscribed(t testing.TB, sb *sandbox.Sandbox, name, public string) *push.Delivery {
	t.Helper()
	subscription, err := sb.Web.Subscribe(name, public)
	if err != nil {
		t.Fatal(err)
	}
	d := delivery()
	d.Token = subscription.Endpoint
	d.Keys = push.Keys{P256dh: subscription.Keys.P256dh, Auth: subscription.Keys.Auth}
	return d
}

// send makes an attempt, which has a minute.
func send(t testing.TB, s *Sender, d *push.Delivery) push.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return s.Send(ctx, d)
}

// The browser decrypts what was sent, and the push service gets the headers that it needs.
func TestSend(t *testing.T) {
	sb, s, d := start(t, nil)
	r := send(t, s, d)
	p := sb.Web.Pushes()[0]
	if r != (push.Result{Outcome: push.Accepted, ProviderID: p.ID}) || p.ID == "" {
		t.Errorf("got %+v for %s", r, p.ID)
	}
	if p.Token != "browser-1" || string(p.Body) != string(payload(d)) {
		t.Errorf("%s got %s", p.Token, p.Body)
	}
	for name, want := range map[string]string{"TTL": "3600", "Urgency": "high", "Topic": topic("nego:51588")} {
		if got := p.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A subject may be a page, too.
func TestSubjects(t *testing.T) {
	_, s, d := start(t, func(o *Options) { o.Subject = "https://kabar.example/contact" })
	if r := send(t, s, d); r.Outcome != push.Accepted {
		t.Errorf("got %+v", r)
	}
}

// Every push has the same size on the wire, which is the most that push services take.
func TestSizesTellNothing(t *testing.T) {
	sb, s, d := start(t, nil)
	for _, body := range []string{"Hi", strings.Repeat("x", maxPayload)} {
		d.Body = body
		if r := send(t, s, d); r.Outcome != push.Accepted {
			t.Errorf("got %+v", r)
		}
	}
	for _, p := range sb.Web.Pushes() {
		if got := p.Header.Get("Content-Length"); got != fmt.Sprint(maxBody) {
			t.Errorf("%s bytes, want %d", got, maxBody)
		}
	}
}

// A push to a browser that has subscribed with another VAPID key is not retried, and one to
// a browser that has unsubscribed is a verdict.
func TestOtherKey(t *testing.T) {
	sb, s, _ := start(t, nil)
	_, other := newKeys(t)
	d := subscribed(t, sb, "other", other)
	if r := send(t, s, d); r != (push.Result{Outcome: push.Unsendable, Reason: mismatch}) {
		t.Errorf("got %+v", r)
	}
	sb.Web.Unsubscribe("other")
	if r := send(t, s, d); r != (push.Result{Outcome: push.DeadToken, Reason: "http_410"}) {
		t.Errorf("got %+v", r)
	}
}

// Nothing goes to a host that is not of the service, whatever is registered; nor is a
// subscription tried whose keys are none.
func TestInvalidSubscriptions(t *testing.T) {
	sb, s, good := start(t, nil)
	for _, endpoint := range []string{
		"", "https://other.example/push/browser-1", "http" + strings.TrimPrefix(good.Token, "https"),
		strings.Replace(good.Token, "https://", "https://user@", 1), strings.Replace(good.Token, "127.0.0.1", "127.0.0.2", 1), good.Token + " x",
	} {
		d := *good
		d.Token = endpoint
		if r := send(t, s, &d); r != (push.Result{Outcome: push.Refused, Reason: "invalid_endpoint"}) {
			t.Errorf("%q: got %+v", endpoint, r)
		}
	}
	for _, keys := range []push.Keys{{}, {P256dh: "AAAA", Auth: good.Keys.Auth}, {P256dh: good.Keys.P256dh, Auth: "%"}} {
		d := *good
		d.Keys = keys
		if r := send(t, s, &d); r != (push.Result{Outcome: push.Refused, Reason: "invalid_keys"}) {
			t.Errorf("%+v: got %+v", keys, r)
		}
	}
	if n := sb.Web.Count(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Unless it is told otherwise, the sender connects to public addresses alone.
func TestPrivateAddresses(t *testing.T) {
	sb, s, d := start(t, func(o *Options) { o.AllowPrivate = false })
	if r := send(t, s, d); r.Outcome != push.Later || r.Reason != "private_address" || r.Lost {
		t.Errorf("got %+v", r)
	}
	if n := sb.Web.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A service with many hosts has connections to some of them, and drops those that nobody uses.
func TestHosts(t *testing.T) {
	hs := newHosts(provider.Options{PublicOnly: true}, nil)
	defer hs.close()
	busy, err := hs.use("busy.example")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxHosts {
		h, err := hs.use(fmt.Sprintf("h%d.example", i))
		if err != nil {
			t.Fatal(err)
		}
		hs.done(h)
	}
	if n := len(hs.all); n != maxHosts {
		t.Errorf("%d hosts, want %d", n, maxHosts)
	}
	if hs.all["busy.example"] != busy {
		t.Error("a host that is in use lost its connections")
	}
	if last := fmt.Sprintf("h%d.example", 2*maxHosts-1); hs.latest() != last || hs.all[last] == nil {
		t.Errorf("the latest is %s, want %s", hs.latest(), last)
	}
	hs.done(busy)
}

// A probe of a service with many hosts asks the one that was used last. Without one, only a
// push can tell.
func TestProbeOfManyHosts(t *testing.T) {
	private, _ := newKeys(t)
	s, err := New(Options{Service: "*.push.example.com", PrivateKey: private, Subject: "mailto:push@kabar.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if r := s.Probe(t.Context()); r.Outcome != push.Ambiguous || r.Reason != "no_host" {
		t.Errorf("got %+v", r)
	}
	if err := s.Warm(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	private, _ := newKeys(t)
	good := Options{Service: "fcm.googleapis.com", PrivateKey: private, Subject: "mailto:push@kabar.example"}
	for name, change := range map[string]func(*Options){
		"no service":       func(o *Options) { o.Service = "" },
		"a URL as service": func(o *Options) { o.Service = "https://fcm.googleapis.com" },
		"no key":           func(o *Options) { o.PrivateKey = "" },
		"a short key":      func(o *Options) { o.PrivateKey = private[:8] },
		"a key of zeros":   func(o *Options) { o.PrivateKey = strings.Repeat("A", len(private)) },
		"no base64":        func(o *Options) { o.PrivateKey = "secret secret" },
		"no subject":       func(o *Options) { o.Subject = "" },
		"a name":           func(o *Options) { o.Subject = "Kabar" },
		"no address":       func(o *Options) { o.Subject = "mailto:" },
	} {
		o := good
		change(&o)
		_, err := New(o)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if o.PrivateKey != "" && strings.Contains(err.Error(), o.PrivateKey) {
			t.Errorf("%s: the error has the key: %v", name, err)
		}
	}
	s, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// The public key is the one that the library makes beside a private key.
func TestPublicKey(t *testing.T) {
	private, public := newKeys(t)
	if got, err := PublicKey(private); err != nil || got != public {
		t.Errorf("got %q, %v, want %q", got, err, public)
	}
	one, other := NewPrivateKey(), NewPrivateKey()
	if got, err := PublicKey(one); err != nil || len(got) != len(public) || one == other {
		t.Errorf("new keys %q, %v", got, err)
	}
}

// delivery returns the documented offer sample as a push to one browser.
func delivery() *push.Delivery {
	return &push.Delivery{
		ID:    "123e4567-e89b-42d3-a456-426655440000",
		Token: "https://push.example/push/browser-1",
		Lane:  push.Urgent,
		Type:  "nego",
		Data: []push.Field{
			{Name: "type", Value: json.RawMessage(`"nego"`)},
			{Name: "receiver_id", Value: json.RawMessage(`66`)},
			{Name: "message", Value: json.RawMessage(`"Tawaran dari \"Me Ow\""`)},
			{Name: "details", Value: json.RawMessage(`{"id":51588,"state":"waiting","unread_items":{"messages":0}}`)},
		},
		Title:        "Nego",
		Body:         "Anda mendapatkan tawaran nego dari Me Ow",
		Tag:          "nego:51588",
		Thread:       "nego",
		Presentation: push.Presentation{APNs: push.APNs{Category: "nego.waiting"}},
		Badge:        7,
		Expires:      now.Add(time.Hour),
	}
}
