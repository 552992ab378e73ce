package api

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

const (
	webPath = "/v2/notifications/web.json"
	// The public key and the secret of a browser, from RFC 8291, section 5.
	p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	secret = "BTBZMqHH6r4Tts7J_aSIgg"
)

// newWebWorld returns a world whose browsers may subscribe at push.example.
func newWebWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, nil)
	w.server.Close()
	w.metrics = prometheus.NewRegistry()
	w.options.Metrics = w.metrics
	w.options.Browsers = Browsers{PublicKey: "the-key", Services: []string{"push.example", "*.push.example.com"}}
	w.server = httptest.NewServer(New(w.options))
	return w
}

// subscription is what PushSubscription.toJSON returns.
func subscription(endpoint, p256dh, secret string) string {
	return fmt.Sprintf(`{"endpoint":%q,"expirationTime":null,"keys":{"p256dh":%q,"auth":%q}}`, endpoint, p256dh, secret)
}

// A page gets the key, registers its subscription as the browser gives it, and removes it.
func TestBrowsers(t *testing.T) {
	w := newWebWorld(t)
	if got := w.must(w.get(webPath), 200); got.body != `{"status":"OK","public_key":"the-key","message":null}` {
		t.Errorf("the key is %s", got.body)
	}
	const endpoint = "https://eu.push.example.com/w/?token=BQY%2fA-1"
	for range 2 { // the second time it is refreshed
		w.must(w.do(call{method: "POST", path: webPath, auth: ani, media: typeJSON, body: subscription(endpoint, p256dh, secret)}), 200)
	}
	listed := w.browsers(66)
	if len(listed) != 1 {
		t.Fatalf("%d devices", len(listed))
	}
	want := devices.Device{Platform: devices.Web, Token: endpoint, P256dh: p256dh, Auth: secret, Environment: "*.push.example.com"}
	if d := listed[0]; d.Platform != want.Platform || d.Token != want.Token || d.P256dh != want.P256dh || d.Auth != want.Auth || d.Environment != want.Environment {
		t.Errorf("listed %+v", d)
	}

	// It has preferences as every device, and one owner.
	form := "endpoint=" + url.QueryEscape(endpoint)
	w.must(w.basic(ani, "PATCH", "/v2/notifications/config.json", form+"&config[promo]=0"), 200)
	w.fails(w.basic(budi, "DELETE", webPath, form), 403, forbidden)
	form2 := form + "&keys[p256dh]=" + p256dh + "&keys[auth]=" + secret
	w.must(w.basic(budi, "POST", webPath, form2), 200)
	if a, b := len(w.browsers(66)), len(w.browsers(67)); a != 0 || b != 1 {
		t.Errorf("%d and %d devices", a, b)
	}
	w.must(w.do(call{method: "DELETE", path: webPath, auth: budi, media: typeJSON, body: subscription(endpoint, p256dh, secret)}), 200)
	w.must(w.basic(budi, "DELETE", webPath, form), 200) // again
	w.must(w.basic(budi, "POST", webPath, form2), 200)
	w.must(w.basic(budi, "DELETE", logoutPath, form), 200)
	if n := len(w.browsers(67)); n != 0 {
		t.Errorf("%d devices", n)
	}
}

// browsers returns the devices of a user.
func (w *world) browsers(user int64) []devices.Device {
	w.t.Helper()
	listed, err := w.options.Devices.(*devices.Registry).List(w.t.Context(), user)
	check(w.t, err)
	return listed
}

func TestInvalidBrowsers(t *testing.T) {
	w := newWebWorld(t)
	const good = "https://push.example/1"
	for _, tc := range []struct {
		body   string
		fields []string
	}{
		{subscription(good, p256dh, "short"), []string{"keys[auth]"}},
		{subscription(good, p256dh[:20], secret), []string{"keys[p256dh]"}},
		{subscription(good, "", ""), []string{"keys[p256dh]", "keys[auth]"}},
		{subscription("https://evil.example/1", p256dh, secret), []string{"endpoint"}},
		{subscription("https://169.254.169.254/latest", p256dh, secret), []string{"endpoint"}},
		{subscription("https://user:password@push.example/1", p256dh, secret), []string{"endpoint"}},
		{subscription("https://push.example:8443/1", p256dh, secret), []string{"endpoint"}},
		{subscription("http://push.example/1", p256dh, secret), []string{"endpoint"}},
		{subscription("https://PUSH.example/1", p256dh, secret), []string{"endpoint"}},
		{subscription("https://push.example/{1}", p256dh, secret), []string{"endpoint"}},
		{subscription("https://push.example/"+strings.Repeat("x", 1024), p256dh, secret), []string{"endpoint"}},
		{subscription("", p256dh, secret), []string{"endpoint"}},
		{`{"endpoint":{},"keys":"x"}`, []string{"endpoint", "keys[p256dh]", "keys[auth]"}},
	} {
		e := w.fails(w.do(call{method: "POST", path: webPath, auth: ani, media: typeJSON, body: tc.body}), 422, invalid, tc.fields...)
		if want := saying(text.Indonesian, textDeviceNotAdded); e.Message != want {
			t.Errorf("%s: message %q, want %q", tc.body, e.Message, want)
		}
		for _, part := range []string{"password", secret} {
			if strings.Contains(fmt.Sprint(e.Errors), part) {
				t.Errorf("the answer has %q: %v", part, e.Errors)
			}
		}
	}
	w.fails(w.basic(ani, "DELETE", webPath, "endpoint=x"), 422, invalid, "endpoint")
	w.fails(w.basic(ani, "DELETE", logoutPath, "reg_id=A&endpoint=https://push.example/1"), 422, invalid, "endpoint")
	w.fails(w.do(call{method: "GET", path: webPath}), 401, unauthorized)
}

// Without a key nobody can register a browser; one that is registered can be removed.
func TestBrowsersAreOff(t *testing.T) {
	w := newWorld(t, nil)
	for _, method := range []string{"GET", "POST"} {
		e := w.fails(w.do(call{method: method, path: webPath, auth: ani, media: typeJSON, body: subscription("https://push.example/1", p256dh, secret)}), 404, notFound)
		if want := saying(text.Indonesian, textWebOff); e.Message != want {
			t.Errorf("message %q, want %q", e.Message, want)
		}
	}
	w.must(w.basic(ani, "DELETE", webPath, "endpoint=https://push.example/1"), 200)
}
