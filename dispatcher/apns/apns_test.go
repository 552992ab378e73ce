package apns

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// start returns a sandbox and a sender that is connected to it with the sandbox's key.
// change may change the sender's options.
func start(t testing.TB, opts sandbox.Options, change func(*Options)) (*sandbox.Sandbox, *Sender) {
	t.Helper()
	sb, err := sandbox.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	file, keyID, teamID, err := sb.APNs.WriteKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		KeyPEM: key, KeyID: keyID, TeamID: teamID,
		Topic: "com.example.app", Endpoint: sb.APNs.Endpoint(), RootCAs: sb.CAPool(),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return sb, s
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestSend(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 10}, nil)
	d := delivery()
	r := s.Send(testContext(t), d)
	if r != (push.Result{Outcome: push.Accepted, ProviderID: d.ID}) {
		t.Fatalf("got %+v", r)
	}
	p := sb.Pushes()[0]
	for name, want := range map[string]string{
		"apns-id": d.ID, "apns-push-type": "alert", "apns-priority": "10", "apns-expiration": "1800000000",
		"apns-topic": "com.example.app", "apns-collapse-id": "nego:51588",
	} {
		if got := p.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if p.Token != deviceToken || string(p.Body) != string(payload(d)) {
		t.Errorf("device %s got %s", p.Token, p.Body)
	}
}

// A retried push has the same apns-id and apns-collapse-id.
func TestRetryIsTheSamePush(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 10}, nil)
	sb.APNs.Fail(deviceToken, 1, sandbox.Response{Reason: "InternalServerError", Lost: true})
	for _, want := range []push.Outcome{push.Later, push.Accepted} {
		if r := s.Send(testContext(t), delivery()); r.Outcome != want {
			t.Fatalf("got %+v, want %v", r, want)
		}
	}
	p := sb.Pushes()
	if len(p) != 2 || p[0].ID != p[1].ID || p[0].Header.Get("apns-collapse-id") != p[1].Header.Get("apns-collapse-id") {
		t.Errorf("got %+v", p)
	}
}

// An expired provider token is replaced once for all pushes, and each push is retried once.
func TestExpiredProviderToken(t *testing.T) {
	c := &clock{time.Now()}
	sb, s := start(t, sandbox.Options{LimitTokenUpdates: true}, func(o *Options) { o.Now = c.now })
	ctx := testContext(t)
	if r := s.Send(ctx, delivery()); r.Outcome != push.Accepted {
		t.Fatalf("got %+v", r)
	}
	sb.APNs.ExpireTokens()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r := s.Send(ctx, delivery()); r.Outcome != push.Accepted {
				t.Errorf("got %+v", r)
			}
		})
	}
	wg.Wait()

	// The new token is too young to have expired, so the clocks must differ.
	sb.APNs.ExpireTokens()
	if r := s.Send(ctx, delivery()); r.Outcome != push.CredentialsRefused || r.Reason != "ExpiredProviderToken" {
		t.Errorf("got %+v", r)
	}
}

func TestDeviceTokenCannotReachTheURL(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 10}, nil)
	for _, token := range []string{"", "../../etc", "a?b", "a b", "token\r\n", strings.Repeat("a", 201)} {
		d := delivery()
		d.Token = token
		if r := s.Send(testContext(t), d); r != (push.Result{Outcome: push.Refused, Reason: "BadDeviceToken"}) {
			t.Errorf("%q: got %+v", token, r)
		}
	}
	if n := len(sb.Pushes()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestInvalidData(t *testing.T) {
	_, s := start(t, sandbox.Options{}, nil)
	d := delivery()
	d.Data[1].Value = json.RawMessage(`{`)
	if r := s.Send(testContext(t), d); r.Outcome != push.Refused || r.Reason != "invalid_payload" {
		t.Errorf("got %+v", r)
	}
}

func TestProbe(t *testing.T) {
	sb, s := start(t, sandbox.Options{}, nil)
	ctx := testContext(t)
	for reason, want := range map[string]push.Outcome{
		"BadDeviceToken": push.Accepted, "Unregistered": push.Accepted,
		"BadCertificate": push.CredentialsRefused, "TopicDisallowed": push.Ambiguous, "ServiceUnavailable": push.Later,
	} {
		sb.APNs.Fail(noDeviceToken, 1, sandbox.Response{Reason: reason})
		r := s.Probe(ctx)
		if r.Outcome != want || want != push.Accepted && string(r.Reason) != reason {
			t.Errorf("%s: %+v", reason, r)
		}
	}
	if r := s.Probe(ctx); r.Outcome != push.Accepted {
		t.Errorf("%+v", r)
	}
}

// A refused provider token is renewed and the request repeated at once. If APNs refuses the
// new one as well, the credentials are wrong, and no third request follows.
func TestRefusedProviderToken(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 10}, nil)
	ctx := testContext(t)
	sb.APNs.Fail(noDeviceToken, 1, sandbox.Response{Reason: "InvalidProviderToken"})
	if r := s.Probe(ctx); r.Outcome != push.Accepted {
		t.Errorf("%+v", r)
	}
	sb, s = start(t, sandbox.Options{History: 10}, nil)
	sb.APNs.Fail(deviceToken, -1, sandbox.Response{Reason: "InvalidProviderToken"})
	for i, requests := range []int{2, 3} {
		if r := s.Send(ctx, delivery()); r.Outcome != push.CredentialsRefused || r.Reason != "InvalidProviderToken" {
			t.Errorf("%+v", r)
		}
		if n := len(sb.Pushes()); n != requests {
			t.Errorf("%d requests after push %d, want %d", n, i, requests)
		}
	}
}

func TestOptions(t *testing.T) {
	_, key := newKeyPEM(t)
	good := Options{KeyPEM: key, KeyID: "K", TeamID: "T", Topic: "com.example.app"}
	for name, change := range map[string]func(*Options){
		"no topic":             func(o *Options) { o.Topic = "" },
		"a topic of two lines": func(o *Options) { o.Topic = "a\r\nb" },
		"no key":               func(o *Options) { o.KeyPEM = nil },
		"a bad key":            func(o *Options) { o.KeyPEM = []byte("x") },
		"plain http":           func(o *Options) { o.Endpoint = "http://localhost" },
		"a path":               func(o *Options) { o.Endpoint = "https://localhost/3/device" },
		"no host":              func(o *Options) { o.Endpoint = "https://" },
		"both":                 func(o *Options) { o.Certificate = loadCertificate(t) },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
