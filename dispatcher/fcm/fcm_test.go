package fcm

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// start returns a sandbox and a sender that is connected to it. change may change the
// sender's options.
func start(t testing.TB, opts sandbox.Options, change func(*Options)) (*sandbox.Sandbox, *Sender) {
	t.Helper()
	sb, err := sandbox.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	o := Options{ProjectID: "kabar-test", Endpoint: sb.FCM.Endpoint(), RootCAs: sb.CAPool()}
	if change != nil {
		change(&o)
	}
	s, err := New(context.Background(), o)
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
	sb, s := start(t, sandbox.Options{History: 10}, func(o *Options) { o.Now = func() time.Time { return now } })
	r := s.Send(testContext(t), delivery())
	p := sb.Pushes()[0]
	if r != (push.Result{Outcome: push.Accepted, ProviderID: p.ID}) || !strings.HasPrefix(p.ID, "projects/kabar-test/messages/") {
		t.Errorf("got %+v for %s", r, p.ID)
	}
	want, err := json.Marshal(message(delivery(), now))
	if err != nil {
		t.Fatal(err)
	}
	if p.Token != deviceToken || string(p.Body) != string(want) {
		t.Errorf("device %s got %s, want %s", p.Token, p.Body, want)
	}
	if strings.Contains(string(p.Body), "collapse_key") {
		t.Error("there is a collapse_key")
	}
}

// A push to an installation id goes to message.fid, and FCM's answer about that field is about
// the device.
func TestSendToAnInstallation(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 10}, nil)
	d := delivery()
	d.Token, d.FID = "dQw4w9WgXcQ_-0123456ab", true
	if r := s.Send(testContext(t), d); r.Outcome != push.Accepted {
		t.Errorf("got %+v", r)
	}
	if p := sb.Pushes()[0]; p.Token != d.Token || !strings.Contains(string(p.Body), `"fid":"`+d.Token+`"`) || strings.Contains(string(p.Body), `"token"`) {
		t.Errorf("it got %s", p.Body)
	}
	d.Token = "not/an/installation"
	if r := s.Send(testContext(t), d); r != (push.Result{Outcome: push.DeadToken, Reason: "INVALID_ARGUMENT"}) {
		t.Errorf("an id that FCM does not accept: %+v", r)
	}
}

// A push to iOS is the part for APNs alone.
func TestSendToIOS(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 10}, func(o *Options) {
		o.APNs = func(d *push.Delivery) (map[string]string, []byte) {
			return map[string]string{"apns-priority": "10", "apns-collapse-id": d.Tag},
				[]byte(`{"aps":{"alert":{"title":"Nego"},"badge":7,"interruption-level":"active"},"data":{"type":"nego","details":{"id":51588}}}`)
		}
	})
	if r := s.Send(testContext(t), delivery()); r.Outcome != push.Accepted {
		t.Errorf("got %+v", r)
	}
	want := `{"apns":{"headers":{"apns-collapse-id":"nego:51588","apns-priority":"10"},` +
		`"payload":{"aps":{"alert":{"title":"Nego"},"badge":7,"interruption-level":"active"},` +
		`"data":{"type":"nego","details":{"id":51588}}}},"token":"` + deviceToken + `"}`
	if got := string(sb.Pushes()[0].Body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestProbe(t *testing.T) {
	sb, s := start(t, sandbox.Options{History: 1}, nil)
	ctx := testContext(t)
	for _, test := range []struct {
		answer sandbox.Response
		works  bool
	}{
		{sandbox.Response{}, true},
		{sandbox.Response{Reason: "UNREGISTERED"}, true},
		{sandbox.Response{Reason: "INVALID_ARGUMENT"}, true},
		{sandbox.Response{Reason: "INVALID_ARGUMENT", Field: "message.data"}, false},
		{sandbox.Response{Status: 403, NoDetails: true}, false},
		{sandbox.Response{Reason: "UNAVAILABLE"}, false},
	} {
		sb.FCM.Fail(sandbox.AnyToken, 1, test.answer)
		if r := s.Probe(ctx); (r.Outcome == push.Accepted) != test.works {
			t.Errorf("%+v: %+v", test.answer, r)
		}
	}
	if n := len(sb.Pushes()); n != 0 {
		t.Errorf("%d pushes were sent", n)
	}
}

// A fakeGoogle fakes Google's token endpoint and an FCM that accepts only the newest access
// token.
type fakeGoogle struct {
	*httptest.Server
	tokens atomic.Int32
	status atomic.Int32 // answer of the token endpoint, unless 0

	refuses atomic.Bool // FCM refuses all access tokens
}

func newGoogle(t *testing.T) *fakeGoogle {
	g := &fakeGoogle{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if status := g.status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, g.tokens.Add(1))
	})
	mux.HandleFunc("POST /v1/projects/kabar-test/messages:send", func(w http.ResponseWriter, r *http.Request) {
		if g.refuses.Load() || r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", g.tokens.Load()) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, body("No.", "UNAUTHENTICATED"))
			return
		}
		fmt.Fprint(w, `{"name":"projects/kabar-test/messages/1"}`)
	})
	g.Server = httptest.NewUnstartedServer(mux)
	g.EnableHTTP2 = true
	g.StartTLS()
	t.Cleanup(g.Close)
	return g
}

func (g *fakeGoogle) sender(t *testing.T) *Sender {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(g.Certificate())
	s, err := New(t.Context(), Options{
		ProjectID: "kabar-test", Endpoint: g.URL + "/v1", RootCAs: roots,
		CredentialsJSON: credentials(t, g.URL+"/token"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestAccessToken(t *testing.T) {
	g := newGoogle(t)
	s := g.sender(t)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			d := delivery()
			d.Lane = push.Lanes[i%len(push.Lanes)]
			if r := s.Send(ctx, d); r.Outcome != push.Accepted || r.ProviderID != "projects/kabar-test/messages/1" {
				t.Errorf("got %+v", r)
			}
		})
	}
	wg.Wait()
	if n := g.tokens.Load(); n != 1 {
		t.Errorf("%d access tokens, want one for all lanes", n)
	}

	// When the access token is revoked, the push is repeated with a new one at once. So is a
	// probe.
	for _, send := range []func() push.Result{
		func() push.Result { return s.Send(ctx, delivery()) },
		func() push.Result { return s.Probe(ctx) },
	} {
		g.tokens.Add(1)
		if r := send(); r.Outcome != push.Accepted {
			t.Errorf("got %+v", r)
		}
	}

	// If FCM refuses the new one as well, the credentials are wrong.
	g.refuses.Store(true)
	before := g.tokens.Load()
	if r := s.Send(ctx, delivery()); r.Outcome != push.CredentialsRefused || r.Reason != "UNAUTHENTICATED" {
		t.Errorf("got %+v", r)
	}
	if n := g.tokens.Load() - before; n != 1 {
		t.Errorf("%d new access tokens, want 1", n)
	}
}

func TestAccessTokenIsRefused(t *testing.T) {
	g := newGoogle(t)
	s := g.sender(t)
	for status, want := range map[int32]push.Outcome{400: push.CredentialsRefused, 401: push.CredentialsRefused, 503: push.Later} {
		g.status.Store(status)
		if r := s.Send(testContext(t), delivery()); r.Outcome != want {
			t.Errorf("%d: got %+v, want %v", status, r, want)
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{ProjectID: "kabar-test", Endpoint: "https://localhost/v1"}
	for name, change := range map[string]func(*Options){
		"no project":         func(o *Options) { o.ProjectID = "" },
		"a path as project":  func(o *Options) { o.ProjectID = "a/../b" },
		"plain http":         func(o *Options) { o.Endpoint = "http://localhost/v1" },
		"no host":            func(o *Options) { o.Endpoint = "https:///v1" },
		"no URL":             func(o *Options) { o.Endpoint = "https://a b" },
		"Google, no account": func(o *Options) { o.Endpoint = "" },
		"bad credentials":    func(o *Options) { o.CredentialsJSON = []byte("x") },
	} {
		o := good
		change(&o)
		if _, err := New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s, err := New(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
