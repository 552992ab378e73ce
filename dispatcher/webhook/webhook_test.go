package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
)

var secret = SecretPrefix + base64.StdEncoding.EncodeToString([]byte("hunter2 hunter2 hunter2 hunter2"))

var testReport = &report.Report{ID: "msg_1", Body: []byte(`{"type":"event.failed","data":{}}`)}

// newClient returns a client for a test server, and the client's log.
func newClient(t *testing.T, url string, private bool) (*Client, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	e, err := New(Options{
		URL: url, Secret: secret, AllowPrivate: private,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, &log
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/hooks/s3cret-path?token=s3cret"
}

// The official library accepts the signature of a report.
func TestSignature(t *testing.T) {
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil || !bytes.Equal(body, testReport.Body) || r.Header.Get("webhook-id") != "msg_1" ||
			r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v: %v %s", err, r.Header, body)
		}
	})
	e, log := newClient(t, url, true)
	if got := e.Deliver(t.Context(), testReport); got.Outcome != push.Accepted {
		t.Errorf("%+v: %s", got, log)
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		want   push.Result
	}{
		{200, "", push.Result{Outcome: push.Accepted}},
		{204, "", push.Result{Outcome: push.Accepted}},
		{302, "", push.Result{Outcome: push.Later, Reason: "redirect"}},
		{404, "", push.Result{Outcome: push.Later, Reason: "http_4xx"}},
		{410, "", push.Result{Outcome: push.Refused, Reason: "gone"}},
		{429, "", push.Result{Outcome: push.Later, Reason: "slow_down"}},
		{429, "7", push.Result{Outcome: push.SlowDown, Reason: "slow_down", RetryAfter: 7 * time.Second}},
		{503, "Fri, 31 Dec 1999 23:59:59 GMT", push.Result{Outcome: push.Later, Reason: "slow_down"}},
		{500, "3", push.Result{Outcome: push.Later, Reason: "http_5xx", RetryAfter: 3 * time.Second}},
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			if r.URL.Path == "/elsewhere" {
				t.Error("a redirect is followed")
			}
		})
		e, log := newClient(t, url, true)
		if got := e.Deliver(t.Context(), testReport); got != c.want {
			t.Errorf("%d: %+v, want %+v", c.status, got, c.want)
		}
		discreet(t, log.String())
	}
}

// discreet checks that a log contains no secrets.
func discreet(t *testing.T, log string) {
	t.Helper()
	for _, word := range []string{"s3cret", "hunter2", strings.TrimPrefix(secret, SecretPrefix), "event.failed"} {
		if strings.Contains(log, word) {
			t.Errorf("the log has %q: %s", word, log)
		}
	}
}

func TestFailures(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.TLS = &tls.Config{}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	port := "8080"
	if _, p, err := net.SplitHostPort(strings.TrimPrefix(secure.URL, "https://")); err == nil {
		port = p
	}
	const path = "/hooks/s3cret-path?token=s3cret"
	for _, c := range []struct {
		url     string
		private bool
		reason  push.Reason
	}{
		{closed.URL + path, true, "connection"},
		{secure.URL + path, true, "certificate"},
		{secure.URL + path, false, "private_address"},
		{"https://localhost:" + port + path, false, "private_address"}, // a name that resolves to such an address
		{"https://[::1]:" + port + path, false, "private_address"},
		{"https://[::ffff:127.0.0.1]:" + port + path, false, "private_address"},
		{"https://169.254.169.254" + path, false, "private_address"},
	} {
		e, log := newClient(t, c.url, c.private)
		if got := e.Deliver(t.Context(), testReport); got.Outcome != push.Later || got.Reason != c.reason {
			t.Errorf("%s: %+v, want %s: %s", c.url, got, c.reason, log)
		}
		discreet(t, log.String())
	}
}

// A service that never answers delays an attempt only until its timeout.
func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	url := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	e, _ := newClient(t, url, true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := e.Deliver(ctx, testReport); got.Outcome != push.Later || got.Reason != "timeout" {
		t.Errorf("%+v", got)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"http":         {URL: "http://shop.example/s3cret", Secret: secret},
		"no host":      {URL: "https:///s3cret", Secret: secret},
		"no URL":       {URL: "%zz", Secret: secret},
		"other scheme": {URL: "ftp://shop.example", Secret: secret, AllowPrivate: true},
		"no prefix":    {URL: "https://shop.example", Secret: strings.TrimPrefix(secret, SecretPrefix)},
		"not base64":   {URL: "https://shop.example", Secret: SecretPrefix + "s3cret"},
		"short":        {URL: "https://shop.example", Secret: SecretPrefix + "aHVudGVyMg=="},
	} {
		_, err := New(o)
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		discreet(t, err.Error())
	}
}
