package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// later sends an APNs push on a goroutine. Its answer, or error, arrives on the channel.
func later(ctx context.Context, t testing.TB, s *sandbox.Sandbox, client *http.Client, token string) <-chan error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", s.APNs.Endpoint()+"/3/device/"+token, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("apns-topic", "a.b")
	done := make(chan error, 1)
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != 200 {
				err = fmt.Errorf("answer is %d", resp.StatusCode)
			}
		}
		done <- err
	}()
	return done
}

func TestFaultReset(t *testing.T) {
	s := start(t, sandbox.Options{})
	defer inject(t, s, "reset", sandbox.FaultOptions{})()
	if err := <-later(t.Context(), t, s, httpClient(t, s), "a"); err == nil || s.APNs.Accepted() != 1 {
		t.Errorf("%v, accepted %d", err, s.APNs.Accepted())
	}
}

// TestFaultHang checks that only the chosen devices' requests hang, on the same connection,
// and that they are answered in the end.
func TestFaultHang(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	remove := inject(t, s, "hang", sandbox.FaultOptions{Tokens: func(token string) bool { return token == "a" }})
	hung := later(t.Context(), t, s, client, "a")
	wait(t, s, func() bool { return s.APNs.Pending() == 1 })
	if err := <-later(t.Context(), t, s, client, "b"); err != nil {
		t.Errorf("another device: %v", err)
	}
	if s.APNs.Connections() != 1 || s.APNs.Pending() != 1 {
		t.Errorf("%d connections, %d requests hang", s.APNs.Connections(), s.APNs.Pending())
	}
	remove()
	remove()
	if err := <-hung; err != nil {
		t.Error(err)
	}
}

func TestFaultHangOnOneConnection(t *testing.T) {
	s := start(t, sandbox.Options{})
	bad, good := httpClient(t, s), httpClient(t, s)
	remove := inject(t, s, "hang-connection", sandbox.FaultOptions{Service: sandbox.PlatformAPNs})
	first := later(t.Context(), t, s, bad, "a")
	wait(t, s, func() bool { return s.APNs.Pending() == 1 })
	second := later(t.Context(), t, s, bad, "b")
	wait(t, s, func() bool { return s.APNs.Pending() == 2 })
	for range 3 {
		if err := <-later(t.Context(), t, s, good, "a"); err != nil {
			t.Errorf("on another connection: %v", err)
		}
	}
	if s.APNs.Pending() != 2 || s.APNs.Connections() != 2 {
		t.Errorf("%d requests hang, %d connections", s.APNs.Pending(), s.APNs.Connections())
	}
	remove()
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
}

// TestFaultSilentDrop checks that neither an open connection nor a new one carries anything
// during a silence, and that both work after it.
func TestFaultSilentDrop(t *testing.T) {
	s := start(t, sandbox.Options{})
	open, fresh := httpClient(t, s), httpClient(t, s)
	if err := <-later(t.Context(), t, s, open, "a"); err != nil {
		t.Fatal(err)
	}
	remove := inject(t, s, "silent-drop", sandbox.FaultOptions{})
	first, second := later(t.Context(), t, s, open, "a"), later(t.Context(), t, s, fresh, "b")
	wait(t, s, func() bool { return s.APNs.Connections() == 2 })
	if s.APNs.Pending() != 0 || s.APNs.Count() != 1 {
		t.Errorf("%d requests arrived", s.APNs.Pending()+s.APNs.Count()-1)
	}
	remove()
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
}

func TestFaultSilentDropEndsWithTheConnection(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	defer inject(t, s, "silent-drop", sandbox.FaultOptions{})()
	lost := later(t.Context(), t, s, client, "a")
	wait(t, s, func() bool { return s.APNs.Connections() == 1 })
	s.APNs.DropConnections()
	if err := <-lost; err == nil {
		t.Error("answered")
	}
}

func TestFaultStallHandshake(t *testing.T) {
	s := start(t, sandbox.Options{})
	remove := inject(t, s, "stall-handshake", sandbox.FaultOptions{Service: sandbox.PlatformAPNs, Times: 1})
	stalled := later(t.Context(), t, s, httpClient(t, s), "a")
	wait(t, s, func() bool { return s.APNs.Connections() == 1 })
	if err := <-later(t.Context(), t, s, httpClient(t, s), "b"); err != nil {
		t.Errorf("the connection after it: %v", err)
	}
	select {
	case err := <-stalled:
		t.Errorf("answered: %v", err)
	default:
	}
	remove()
	if err := <-stalled; err != nil {
		t.Error(err)
	}
}

func TestCloseEndsFaults(t *testing.T) {
	s, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range sandbox.Faults() {
		if f.Name == "expired-access-token" || f.Name == "invalid-grant" || f.Name == "refuse" {
			continue // they need credentials, or leave no connections to the others
		}
		inject(t, s, f.Name, sandbox.FaultOptions{})
	}
	lost := later(t.Context(), t, s, httpClient(t, s), "a")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-lost; err == nil {
		t.Error("answered")
	}
}

func TestFaultRefuse(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	if err := <-later(t.Context(), t, s, client, "a"); err != nil {
		t.Fatal(err)
	}
	remove := inject(t, s, "refuse", sandbox.FaultOptions{})
	if n := s.APNs.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
	if err := <-later(t.Context(), t, s, httpClient(t, s), "a"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	remove()
	if err := <-later(t.Context(), t, s, httpClient(t, s), "a"); err != nil {
		t.Error(err)
	}
}

func TestFaultDrop(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	s.APNs.Hang(true)
	lost := later(t.Context(), t, s, client, "a")
	wait(t, s, func() bool { return s.APNs.Pending() == 1 })
	inject(t, s, "drop", sandbox.FaultOptions{Times: 1})
	if err := <-lost; err == nil {
		t.Error("the push survived its connection")
	}

	// Without Times it happens again.
	remove := inject(t, s, "drop", sandbox.FaultOptions{})
	lost = later(t.Context(), t, s, httpClient(t, s), "b")
	if err := <-lost; err == nil {
		t.Error("answered")
	}
	remove()
}

func TestFaultGoAway(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	s.APNs.Hang(true)
	before := later(t.Context(), t, s, client, "a")
	wait(t, s, func() bool { return s.APNs.Pending() == 1 })
	inject(t, s, "goaway", sandbox.FaultOptions{Times: 1})
	after := later(t.Context(), t, s, client, "b")
	wait(t, s, func() bool { return s.APNs.Pending() == 2 })
	s.APNs.Hang(false)
	if err := errors.Join(<-before, <-after); err != nil {
		t.Error(err)
	}
}

func TestFaultOneStream(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	remove := inject(t, s, "one-stream", sandbox.FaultOptions{})
	if err := <-later(t.Context(), t, s, client, "first"); err != nil { // after it the client knows the limit of its connection
		t.Error(err)
	}
	s.APNs.Hang(true)
	two := [2]<-chan error{later(t.Context(), t, s, client, "a"), later(t.Context(), t, s, client, "b")}
	wait(t, s, func() bool { return s.APNs.Pending() == 2 })
	if n := s.APNs.Connections(); n < 2 {
		t.Errorf("2 requests on %d connections", n)
	}
	remove()
	s.APNs.Hang(false)
	if err := errors.Join(<-two[0], <-two[1]); err != nil {
		t.Error(err)
	}

	client = httpClient(t, s) // two requests need two streams of its one connection
	client.Transport.(*http.Transport).MaxConnsPerHost = 1
	s.APNs.Hang(true)
	two = [2]<-chan error{later(t.Context(), t, s, client, "a"), later(t.Context(), t, s, client, "b")}
	wait(t, s, func() bool { return s.APNs.Pending() == 2 })
	s.APNs.Hang(false)
	if err := errors.Join(<-two[0], <-two[1]); err != nil {
		t.Error(err)
	}
}

// account returns a function that fetches a new access token, as the SDK does, with the key
// file that FCM writes.
func account(t *testing.T, s *sandbox.Sandbox) func() (string, error) {
	t.Helper()
	path, err := s.FCM.WriteCredentials(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, httpClient(t, s))
	return func() (string, error) {
		c, err := google.CredentialsFromJSONWithType(ctx, file, google.ServiceAccount, "https://www.googleapis.com/auth/firebase.messaging")
		if err != nil {
			return "", err
		}
		token, err := c.TokenSource.Token()
		if err != nil {
			return "", err
		}
		return token.AccessToken, nil
	}
}

// grantRefused reports whether the token endpoint answered 400 invalid_grant.
func grantRefused(err error) bool {
	var refused *oauth2.RetrieveError
	return errors.As(err, &refused) && refused.Response.StatusCode == 400 && strings.Contains(string(refused.Body), `"error":"invalid_grant"`)
}

func TestFCMAccessTokens(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	client := httpClient(t, s)
	fetch := account(t, s)
	try := func(token string) int {
		t.Helper()
		header := map[string]string{"Authorization": "Bearer " + token}
		r := send(t, client, "POST", s.FCM.Endpoint()+"/projects/pasar/messages:send", header, `{"message":{"token":"a"}}`)
		if r.status == 401 && (!strings.Contains(string(r.body), `"status": "UNAUTHENTICATED"`) || strings.Contains(string(r.body), "details")) {
			t.Errorf("answer is %s", r.body)
		}
		return r.status
	}
	token, err := fetch()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		token string
		want  int
	}{{"", 401}, {"guess", 401}, {token, 200}} {
		if got := try(tt.token); got != tt.want {
			t.Errorf("answer is %d, not %d", got, tt.want)
		}
	}

	inject(t, s, "expired-access-token", sandbox.FaultOptions{Times: 1})
	if got := try(token); got != 401 {
		t.Errorf("an expired token: %d", got)
	}
	if token, err = fetch(); err != nil || try(token) != 200 {
		t.Errorf("a new token: %v", err)
	}

	remove := inject(t, s, "invalid-grant", sandbox.FaultOptions{})
	if got := try(token); got != 401 {
		t.Errorf("the old token: %d", got)
	}
	if _, err := fetch(); !grantRefused(err) {
		t.Errorf("the token endpoint: %v", err)
	}
	remove()
	if token, err = fetch(); err != nil || try(token) != 200 {
		t.Errorf("after the fault: %v", err)
	}
	if n := len(s.Pushes()); n != 7 {
		t.Errorf("%d pushes kept: a request for a token is none", n)
	}
}

// TestFCMRefusesGrants checks that only the account's key opens the token endpoint.
func TestFCMRefusesGrants(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	endpoint := strings.TrimSuffix(s.FCM.Endpoint(), "/v1") + "/token"
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	if r := send(t, client, "POST", endpoint, form, ""); r.status != 404 {
		t.Errorf("there is an endpoint without credentials: %d", r.status)
	}
	former := account(t, s)
	fetch := account(t, s)
	if _, err := fetch(); err != nil {
		t.Error(err)
	}
	if _, err := former(); !grantRefused(err) {
		t.Errorf("the key of the former account: %v", err)
	}
	for body, want := range map[string]string{
		"":      "unsupported_grant_type",
		"%zz=1": "unsupported_grant_type",
		"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b.c": "invalid_grant",
		"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer":                 "invalid_grant",
	} {
		r := send(t, client, "POST", endpoint, form, body)
		if got := decode[struct{ Error string }](t, r).Error; r.status != 400 || got != want {
			t.Errorf("%q: %d %s", body, r.status, r.body)
		}
	}
}
