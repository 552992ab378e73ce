package provider_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/apns"
	"github.com/kabar-gateway/kabar/dispatcher/fcm"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// A target is a sender and the sandbox provider that it sends to.
type target struct {
	push.Sender
	*sandbox.Provider
}

func targets(t *testing.T) map[string]target {
	t.Helper()
	sb, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	return targetsAt(t, sb, sb.FCM.Endpoint(), sb.APNs.Endpoint())
}

// targetsAt returns senders to a sandbox whose services they find at other addresses.
func targetsAt(t *testing.T, sb *sandbox.Sandbox, google, apple string) map[string]target {
	t.Helper()
	file, keyID, teamID, err := sb.APNs.WriteKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	toApple, err := apns.New(apns.Options{
		KeyPEM: key, KeyID: keyID, TeamID: teamID, Topic: "com.example.app",
		Endpoint: apple, RootCAs: sb.CAPool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(toApple.Close)
	toGoogle, err := fcm.New(t.Context(), fcm.Options{ProjectID: "kabar-test", Endpoint: google, RootCAs: sb.CAPool()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(toGoogle.Close)
	return map[string]target{"apns": {toApple, sb.APNs.Provider}, "fcm": {toGoogle, sb.FCM.Provider}}
}

// delivery returns a push.
func delivery() *push.Delivery {
	return &push.Delivery{
		ID:      "123e4567-e89b-42d3-a456-426655440000",
		Token:   "ASD223SDA",
		Body:    "Transaksi baru",
		Tag:     "t",
		Thread:  "t",
		Expires: time.Now().Add(time.Hour),
	}
}

// TestRetryMatrix checks that both senders treat statuses alike: which ones are retried,
// which ones end a push, and which ones are our fault. Each of them makes one request per
// push.
func TestRetryMatrix(t *testing.T) {
	const (
		ends  = "ends"
		later = "later"
		ours  = "ours"
	)
	kinds := map[push.Outcome]string{
		push.DeadToken:  ends,
		push.Refused:    ends,
		push.Unsendable: ends,
		push.Later:      later,
		push.SlowDown:   later,
		push.Ambiguous:  ours,

		push.CredentialsRefused: ours,
	}
	d := delivery()
	for name, s := range targets(t) {
		t.Run(name, func(t *testing.T) {
			for status, want := range map[int]string{
				301: ours, 307: ours,
				400: ends, 401: ours, 403: ours, 404: ours, 408: later, 409: ends, 413: ends, 418: ends, 422: ends, 429: later,
				500: later, 501: later, 502: later, 503: later, 504: later, 599: later,
			} {
				before := s.Count()
				s.Answer(func(sandbox.Push) *sandbox.Response {
					return &sandbox.Response{Status: status, Reason: "Novel", NoDetails: true, RetryAfter: 7 * time.Second}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				r := s.Send(ctx, d)
				cancel()
				if kinds[r.Outcome] != want {
					t.Errorf("%d: %+v, want one that %s", status, r, want)
				}
				if want == later && (r.RetryAfter != 7*time.Second || r.Backoff == 0) {
					t.Errorf("%d: %+v, want 7 s", status, r)
				}
				if r.Reason == "" || r.Reason == "Novel" {
					t.Errorf("%d: reason %q", status, r.Reason)
				}
				if n := s.Count() - before; n != 1 {
					t.Errorf("%d: %d requests", status, n)
				}
			}
		})
	}
}
