package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// The doctor says which provider refuses whom, with which word, what that means, and what to
// do.
func TestDoctorExplainsRefusals(t *testing.T) {
	s := newSite(t)
	fcm := func(r sandbox.Response) func() { return func() { s.sandbox.FCM.Fail(sandbox.AnyToken, -1, r) } }
	apns := func(reason string) func() {
		return func() { s.sandbox.APNs.Fail(sandbox.AnyToken, -1, sandbox.Response{Reason: reason}) }
	}
	vars := func(set ...string) func() { return func() { s.vars = append(s.vars, set...) } }
	project, topic := s.sandbox.FCM.Endpoint()+" refuses project demo without credentials: ", s.sandbox.APNs.Endpoint()+" refuses topic id.kabar.demo, team "
	usual := slices.Clone(s.vars)
	for _, c := range []struct {
		name  string
		fault func()
		want  []string // in what the doctor prints
	}{
		{"401", fcm(sandbox.Response{Status: 401, NoDetails: true}), []string{"✗ fcm: " + project + "401 UNAUTHENTICATED, ", "a new key of a service account"}},
		{"403", fcm(sandbox.Response{Status: 403, NoDetails: true}), []string{"✗ fcm: " + project + "403 PERMISSION_DENIED, ", "Firebase Cloud Messaging API Admin", "fcm.googleapis.com"}},
		{"404", fcm(sandbox.Response{Status: 404, NoDetails: true}), []string{"✗ fcm: " + project + "404 NOT_FOUND, there is no such project", "google-services.json"}},
		{"503", fcm(sandbox.Response{Status: 503}), []string{"✗ fcm: " + project + "503 UNAVAILABLE, ", "status.firebase.google.com"}},
		{"HTML", vars("KABAR_FCM_ENDPOINT=" + s.sandbox.FCM.Endpoint() + "/beta"), []string{"✗ fcm: ", "404 without an error of FCM", "correct fcm.endpoint"}},
		{"refused connection", func() { s.sandbox.FCM.Refuse(true) }, []string{"✗ fcm: project demo without credentials at " + s.sandbox.FCM.Endpoint() + ": the connection failed", "connection refused", "nothing accepts connections there"}},
		{"unknown authority", vars("KABAR_FCM_CA_FILE="), []string{"✗ fcm: project demo without credentials at https://", "certificate", "authority that this machine does not trust"}},
		{"unknown host", vars("KABAR_FCM_ENDPOINT=https://fcm.invalid/v1"), []string{"✗ fcm: project demo without credentials at https://", "see that this machine resolves fcm.invalid"}},
		{"no access token", vars("KABAR_FCM_CREDENTIALS_FILE=" + refusedAccount(t)), []string{
			"✗ fcm: project demo, service account push@other.iam.gserviceaccount.com, key 1a2b, which belongs to project other at " + s.sandbox.FCM.Endpoint(),
			"400 invalid_grant Invalid JWT Signature", "this machine's clock", "see the clock first",
		}},
		{"bad signature", apns("InvalidProviderToken"), []string{"✗ apns: " + topic, "403 InvalidProviderToken, ", "compare apns.key_id and apns.team_id"}},
		{"clock", apns("ExpiredProviderToken"), []string{"✗ apns: " + topic, "403 ExpiredProviderToken, ", "synchronise this machine's clock"}},
		{"topic", apns("BadTopic"), []string{"✗ apns: " + topic, "400 BadTopic, ", "the app's bundle id"}},
		{"other team's topic", apns("TopicDisallowed"), []string{"✗ apns: " + topic, "400 TopicDisallowed, ", "apns.team_id"}},
		{"environment", apns("BadEnvironmentKeyIdInToken"), []string{"✗ apns: " + topic, "403 BadEnvironmentKeyIdInToken, ", "set apns.environment"}},
	} {
		c.fault()
		out, err := s.kabar("", "doctor")
		if err == nil {
			t.Errorf("%s: nothing is wrong:\n%s", c.name, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is missing:\n%s", c.name, want, out)
			}
		}
		s.vars = slices.Clone(usual)
		s.sandbox.FCM.Fail(sandbox.AnyToken, 0, sandbox.Response{})
		s.sandbox.APNs.Fail(sandbox.AnyToken, 0, sandbox.Response{})
		if err := s.sandbox.FCM.Refuse(false); err != nil {
			t.Fatal(err)
		}
	}
	out := s.must("", "doctor")
	for _, want := range []string{"✓ fcm: a dry run was accepted at " + s.sandbox.FCM.Endpoint(), "✓ apns: " + s.sandbox.APNs.Endpoint() + " accepts topic id.kabar.demo, team "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
}

// refusedAccount returns a file with the key of a service account that gets no access token.
func refusedAccount(t *testing.T) string {
	t.Helper()
	google := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`))
	}))
	t.Cleanup(google.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "other", "private_key_id": "1a2b", "token_uri": google.URL,
		"client_email": "push@other.iam.gserviceaccount.com",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryReasonHasARemedy(t *testing.T) {
	for provider, reasons := range map[string]map[push.Reason]explanation{
		"fcm": fcmReasons, "apns": apnsReasons, "both": unansweredReasons,
	} {
		for reason, e := range reasons {
			if e.meaning == "" || e.remedy == "" {
				t.Errorf("%s: %s is not explained", provider, reason)
			}
		}
	}
}
