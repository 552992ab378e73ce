package sandbox_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"github.com/sideshow/apns2"
	"google.golang.org/api/option"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// testTimeout is the longest that a test waits for one thing.
const testTimeout = time.Minute

// start runs a sandbox for a test.
func start(t testing.TB, opts sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// wait fails the test unless met becomes true.
func wait(t testing.TB, s *sandbox.Sandbox, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := s.Wait(ctx, met); err != nil {
		t.Fatal(err)
	}
}

// httpClient returns a client that trusts the sandbox and speaks HTTP/2.
func httpClient(t testing.TB, s *sandbox.Sandbox) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: s.CAPool()},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testTimeout}
}

// fcmClient returns the Firebase SDK's client, pointed at the sandbox.
// to returns a message to a registration token.
func to(token string) *messaging.Message {
	//lint:ignore SA1019 registration tokens are still in use
	return &messaging.Message{Token: token}
}

func fcmClient(t testing.TB, s *sandbox.Sandbox) *messaging.Client {
	t.Helper()
	app, err := firebase.NewApp(t.Context(), &firebase.Config{ProjectID: "pasar"},
		option.WithEndpoint(s.FCM.Endpoint()),
		option.WithHTTPClient(httpClient(t, s)),
		option.WithTelemetryDisabled())
	if err != nil {
		t.Fatal(err)
	}
	client, err := app.Messaging(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// apnsClient returns the apns2 library's client, pointed at the sandbox.
func apnsClient(t testing.TB, s *sandbox.Sandbox) *apns2.Client {
	return &apns2.Client{Host: s.APNs.Endpoint(), HTTPClient: httpClient(t, s)}
}

// notification returns a push that APNs accepts.
func notification(token string) *apns2.Notification {
	return &apns2.Notification{DeviceToken: token, Topic: "id.pasar.app", Payload: []byte(`{"aps":{"alert":"halo"}}`)}
}

// A reply is an HTTP response with its body read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send makes one request.
func send(t testing.TB, client *http.Client, method, url string, header map[string]string, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, text}
}

// decode reads a reply's JSON.
func decode[T any](t testing.TB, r reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return v
}
