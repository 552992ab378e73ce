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

// TestRows checks every answer that classify distinguishes, through the SDK and HTTP/2.
// Each costs exactly one request.
func TestRows(t *testing.T) {
	at := time.UnixMilli(1769176131123)
	later := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.Later, Reason: reason, Backoff: 10 * time.Second}
	}
	slow := push.Result{Outcome: push.SlowDown, Scope: push.ScopeDevice, Reason: "TooManyRequests", Backoff: 10 * time.Second}
	asked := func(r push.Result) push.Result { r.RetryAfter = 90 * time.Second; return r }
	for _, test := range []struct {
		answer sandbox.Response
		want   push.Result
	}{
		{sandbox.Response{Reason: "Unregistered", Timestamp: at}, push.Result{Outcome: push.DeadToken, Reason: "Unregistered", At: at}},
		{sandbox.Response{Reason: "ExpiredToken", Timestamp: at}, push.Result{Outcome: push.DeadToken, Reason: "ExpiredToken", At: at}},
		{sandbox.Response{Reason: "BadDeviceToken"}, push.Result{Outcome: push.DeadToken, Reason: "BadDeviceToken"}},
		{sandbox.Response{Reason: "DeviceTokenNotForTopic"}, push.Result{Outcome: push.DeadToken, Reason: "DeviceTokenNotForTopic"}},
		{sandbox.Response{Reason: "BadPriority"}, push.Result{Outcome: push.Refused, Reason: "BadPriority"}},
		{sandbox.Response{Reason: "BadCertificate"}, push.Result{Outcome: push.CredentialsRefused, Reason: "BadCertificate", Backoff: 10 * time.Second}},
		{sandbox.Response{Reason: "Forbidden"}, push.Result{Outcome: push.Ambiguous, Reason: "Forbidden", Backoff: 10 * time.Second}},
		{sandbox.Response{Reason: "PayloadTooLarge"}, push.Result{Outcome: push.Refused, Reason: "PayloadTooLarge"}},
		{sandbox.Response{Reason: "TooManyRequests"}, slow},
		{sandbox.Response{Reason: "TooManyRequests", RetryAfter: 90 * time.Second}, asked(slow)},
		{sandbox.Response{Reason: "TooManyProviderTokenUpdates"}, later("TooManyProviderTokenUpdates")},
		{sandbox.Response{Reason: "InternalServerError"}, later("InternalServerError")},
		{sandbox.Response{Reason: "ServiceUnavailable", RetryAfter: 90 * time.Second}, asked(later("ServiceUnavailable"))},
		{sandbox.Response{Reason: "Shutdown"}, later("Shutdown")},
		{sandbox.Response{Lost: true}, push.Result{Outcome: push.Later, Reason: "connection", Backoff: 10 * time.Second, Lost: true}},
	} {
		t.Run(string(test.want.Reason), func(t *testing.T) {
			sb, s := start(t, sandbox.Options{History: 10}, nil)
			sb.APNs.Fail(deviceToken, -1, test.answer)
			if got := s.Send(testContext(t), delivery()); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if n := len(sb.Pushes()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
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

func TestHugePushArrives(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 1}, nil)
	d := delivery()
	d.Data[3].Value = json.RawMessage(`{"id":7,"description":"` + strings.Repeat("<kabar> ", 5000) + `"}`)
	if r := s.Send(testContext(t), d); r.Outcome != push.Accepted {
		t.Fatalf("got %+v", r)
	}
	if body := string(sb.Pushes()[0].Body); !strings.Contains(body, `"details":{"id":7,"truncated":true}`) {
		t.Errorf("got %s", body)
	}
}

// A request that was made has its own timeout, whatever becomes of the context.
func TestTimeout(t *testing.T) {
	sb, s := start(t, sandbox.Options{}, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	sb.APNs.Hang(true)
	want := push.Result{Outcome: push.Later, Reason: "timeout", Backoff: 10 * time.Second, Lost: true}
	if r := s.Send(testContext(t), delivery()); r != want {
		t.Errorf("got %+v", r)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	d := delivery()
	d.Check = func(context.Context) error { cancel(); return nil }
	if r := s.Send(ctx, d); r != want {
		t.Errorf("canceled while the request was on the wire: got %+v", r)
	}
	d.Check = func(context.Context) error { t.Error("checked"); return nil }
	if r := s.Send(ctx, d); r.Outcome != push.Later || r.Reason != "canceled" || r.Lost {
		t.Errorf("canceled before: got %+v", r)
	}
}

// A probe ends with its context.
func TestProbeEnds(t *testing.T) {
	sb, s := start(t, sandbox.Options{}, func(o *Options) { o.Timeout = time.Hour })
	sb.APNs.Hang(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := s.Probe(ctx); r.Outcome != push.Later || r.Reason != "timeout" {
		t.Errorf("got %+v", r)
	}
}

// Pushes during an outage fail with a result that allows a retry. Pushes work again when
// APNs is back.
func TestOutage(t *testing.T) {
	sb, s := start(t, sandbox.Options{}, nil)
	ctx := testContext(t)
	if err := sb.APNs.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if r := s.Send(ctx, delivery()); r.Outcome != push.Later || r.Reason != "connection" {
		t.Errorf("got %+v", r)
	}
	if err := sb.APNs.Refuse(false); err != nil {
		t.Fatal(err)
	}
	if r := s.Send(ctx, delivery()); r.Outcome != push.Accepted {
		t.Errorf("got %+v", r)
	}
}

// No push is lost when APNs sends GOAWAY under load.
func TestGoAwayUnderLoad(t *testing.T) {
	sb, s := start(t, sandbox.Options{Latency: time.Millisecond}, nil)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				if r := s.Send(ctx, delivery()); r.Outcome != push.Accepted {
					t.Errorf("push %d: %+v", i, r)
				}
			}
		})
	}
	for _, count := range []int64{50, 150, 300} {
		if err := sb.Wait(ctx, func() bool { return sb.APNs.Count() >= count }); err != nil {
			t.Fatal(err)
		}
		sb.APNs.GoAway()
	}
	wg.Wait()
}

// Pushes that hang in one lane do not delay the other lanes (G5).
func TestLanesShareNothing(t *testing.T) {
	sb, s := start(t, sandbox.Options{}, func(o *Options) { o.InFlight = map[push.Lane]int{push.Bulk: 2} })
	release := make(chan struct{})
	sb.APNs.Answer(func(p sandbox.Push) *sandbox.Response {
		if p.Token == "bulk" {
			<-release
		}
		return nil
	})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			d := delivery()
			d.Lane, d.Token = push.Bulk, "bulk"
			if r := s.Send(ctx, d); r.Outcome != push.Accepted {
				t.Errorf("got %+v", r)
			}
		})
	}
	if err := sb.Wait(ctx, func() bool { return sb.APNs.Pending() > 0 }); err != nil {
		t.Fatal(err)
	}
	for _, l := range []push.Lane{push.Urgent, push.Chat} {
		d := delivery()
		d.Lane = l
		if r := s.Send(ctx, d); r.Outcome != push.Accepted {
			t.Errorf("%v: %+v", l, r)
		}
	}
	if n := sb.APNs.Connections(); n != 3 {
		t.Errorf("%d connections, want one a lane", n)
	}
	close(release)
	wg.Wait()
}

func TestWarm(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 1}, func(o *Options) {
		o.InFlight = map[push.Lane]int{push.Urgent: 100, push.Chat: 1, push.Bulk: 1}
	})
	if err := s.Warm(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if n := sb.APNs.Connections(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
	if n := len(sb.Pushes()); n != 0 {
		t.Errorf("%d pushes", n)
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
