package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

// startElsewhere starts a gateway as a process of its own, and returns the flags that name
// it.
func startElsewhere(t *testing.T) (*world, []string) {
	t.Helper()
	var said listener
	w, err := openWorld(t.Context(), &env{ctx: t.Context(), err: &said}, worldOptions{binary: daemon(t), inFlight: 100})
	if err != nil {
		t.Fatalf("%v: %s", err, said.text.String())
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w, []string{"--url=" + w.gateway.api, "--key=" + w.gateway.key}
}

// TestLiveElsewhere makes a small run of all that can be measured of a gateway that runs
// already, and sees that none of its users is left.
func TestLiveElsewhere(t *testing.T) {
	w, flags := startElsewhere(t)
	got := runWith(t.Context(), nil, append([]string{"live", "--sockets=20", "--missed=3", "--rounds=2", "--rate=2000", "--json"}, flags...)...)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	var r elsewhereReport
	decode(t, got.out, &r)
	if len(r.Events) != 4 || r.Storm == nil || len(r.Storm.Seconds.Rounds) != 2 || r.URL != w.gateway.api || r.Users != 20 {
		t.Fatalf("reported %s", got.out)
	}
	for i, e := range r.Events {
		if want := []float64{0, 0, 2000, 2000}[i]; e.Rate != want || e.Batch != liveBatches[i%2] || len(e.P99.Rounds) != 2 || e.PerSecond.Median <= 0 {
			t.Errorf("row %d: %+v", i, e)
		}
	}
	if strings.Contains(got.out, "cpu_us") || strings.Contains(got.out, "bare") || strings.Contains(got.out, "push_latency") {
		t.Errorf("reported what it cannot know: %s", got.out)
	}
	if _, err := w.gateway.unread(t.Context(), 900000000001); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("the users are not erased: %v", err)
	}
}

// TestPushElsewhere publishes to a gateway that runs already, without devices and with them.
func TestPushElsewhere(t *testing.T) {
	w, flags := startElsewhere(t)
	common := append([]string{"push", "--users=20", "--rounds=2", "--first-user=5000"}, flags...)
	got := runWith(t.Context(), nil, append(common, "--json")...)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	var r elsewhereReport
	decode(t, got.out, &r)
	if len(r.Events) != 2 || len(r.Events[0].P50.Rounds) != 2 || r.Events[1].Batch != 100 || r.Events[0].PushP50.Rounds != nil {
		t.Errorf("reported %s", got.out)
	}
	if strings.Contains(got.out, "cpu_us") || strings.Contains(got.out, "push_latency") {
		t.Errorf("reported what it cannot know: %s", got.out)
	}
	if err := w.sandbox.forget(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	got = runWith(t.Context(), nil, append(common, "--devices")...)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	for _, line := range []string{"push of " + w.gateway.api + ", 20 users, medians of 2 rounds", "stored to answered, p50", "saturated, 100 a request"} {
		if !strings.Contains(got.out, line) {
			t.Errorf("no %q in\n%s", line, got.out)
		}
	}
	receipts, err := w.sandbox.receipts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pushes := make(map[string]int) // by user's token
	for _, r := range receipts {
		if r.number() > 0 {
			pushes[r.Token]++
		}
	}
	if len(pushes) != 20 || pushes[apns.token(5000)] != 6 || pushes[apns.token(5019)] != 6 {
		t.Errorf("the provider got %v", pushes)
	}
}

// A wrong key ends the run, with what the gateway says.
func TestElsewhereWithAWrongKey(t *testing.T) {
	_, flags := startElsewhere(t)
	got := runWith(t.Context(), nil, "live", "--sockets=2", flags[0], "--key=wrong")
	if got.code != 1 || !strings.Contains(got.err, "401") {
		t.Errorf("code %d:\n%s", got.code, got.err)
	}
}

// Sockets and requests go through TLS, as a proxy before the gateway speaks it.
func TestElsewhereWithTLS(t *testing.T) {
	w, _ := startElsewhere(t)
	behind, err := url.Parse(w.gateway.api)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(behind))
	defer proxy.Close()
	roots := x509.NewCertPool()
	roots.AddCert(proxy.Certificate())
	f := elsewhereFlags{URL: proxy.URL, Key: w.gateway.key, FirstUser: 7}
	c, err := f.client(roots)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	e := &env{ctx: t.Context(), err: &listener{}}
	err = f.visit(t.Context(), e, c, 2, func() error {
		s := &side{client: c, crowd: newCrowd(c, 2, true), numbers: true}
		s.crowd.base = f.base()
		defer s.crowd.drop()
		if err := s.crowd.connect(t.Context(), afresh); err != nil {
			return err
		}
		_, err := s.deliver(t.Context(), 100, pace{publishers: 1}, 2)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The users are erased also when the run fails or is interrupted.
func TestVisitErases(t *testing.T) {
	w, _ := startElsewhere(t)
	f := elsewhereFlags{URL: w.gateway.api, Key: w.gateway.key, FirstUser: 7}
	ctx, interrupt := context.WithCancel(t.Context())
	err := f.visit(ctx, &env{err: &listener{}}, w.gateway.client, 2, func() error {
		if _, err := w.gateway.unread(ctx, 8); err != nil {
			t.Errorf("user 8 is not set: %v", err)
		}
		interrupt()
		return context.Cause(ctx)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := w.gateway.unread(t.Context(), 8); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("user 8 is not erased: %v", err)
	}
}

func TestFate(t *testing.T) {
	const head, tail = `{"receivers":[{"receiver_id":7,"stored_at":"2014-01-23T13:48:51.112+07:00",`, `}]}`
	accepted := `"push":"done","devices":[{"outcome":"accepted","at":"2014-01-23T13:48:51.184+07:00"}]`
	for _, c := range []struct {
		name, text string
		device     bool
		settled    bool
		took       time.Duration
		ok         bool
	}{
		{"stored", head + `"push":"none","devices":[]` + tail, false, true, 0, true},
		{"pushed", head + accepted + tail, true, true, 72 * time.Millisecond, true},
		{"waiting", head + `"push":"waiting","devices":[]` + tail, true, false, 0, false},
		{"tried again", head + `"push":"retrying","devices":[]` + tail, true, false, 0, false},
		{"no device", head + `"push":"none","devices":[]` + tail, true, true, 0, false},
		{"a device too many", head + accepted + tail, false, true, 0, false},
		{"refused", head + strings.Replace(accepted, "accepted", "refused", 1) + tail, true, true, 0, false},
		{"another user", strings.Replace(head, ":7,", ":8,", 1) + accepted + tail, true, true, 0, false},
		{"nobody", `{"receivers":[]}`, true, true, 0, false},
	} {
		var f fate
		if err := json.Unmarshal([]byte(c.text), &f); err != nil {
			t.Fatal(err)
		}
		took, err := f.judge(7, c.device)
		if f.settled() != c.settled || took != c.took || (err == nil) != c.ok || err != nil && !errors.Is(err, errWrongFate) {
			t.Errorf("%s: settled %t, took %v, %v", c.name, f.settled(), took, err)
		}
	}
}

// The endpoint of sockets has the port that the scheme means.
func TestEndpoint(t *testing.T) {
	for address, want := range map[string]string{
		"https://push.example": "push.example:443", "https://push.example:8443": "push.example:8443",
		"http://push.example:8080": "push.example:8080", "http://push.example": "push.example:80",
	} {
		c, err := elsewhereFlags{URL: address}.client(nil)
		if err != nil {
			t.Fatal(err)
		}
		at := c.endpoint()
		if at.address != want || (at.tls != nil) != strings.HasPrefix(address, "https") {
			t.Errorf("%s: %s, TLS %t", address, at.address, at.tls != nil)
		}
		if at.tls != nil && at.tls.ServerName != "push.example" {
			t.Errorf("%s: a certificate of %s", address, at.tls.ServerName)
		}
	}
}
