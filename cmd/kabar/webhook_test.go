package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A process is killed (kill -9) while it reports a failed event to a service. Another
// process sends the report again, with the same webhook-id and a valid signature.
func TestKillDuringWebhook(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("a secret of thirty-two bytes, ok"))
	verifier, err := standardwebhooks.NewWebhook("whsec_" + key)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	left := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil {
			t.Error(err)
		}
		got <- r.Header.Get("webhook-id") + " " + string(body)
		<-left // no request is answered before the first process is dead
	}))
	t.Cleanup(receiver.Close)

	s := newSite(t)
	s.shortLease()
	sum := sha256.Sum256([]byte(serviceKey))
	path := filepath.Join(t.TempDir(), "kabar.yaml")
	file := fmt.Sprintf("services:\n  - name: shop\n    key_sha256: %q\n    webhook: {url: %q, secret: whsec_%s}\nwebhooks: {allow_private: true}\n",
		hex.EncodeToString(sum[:]), receiver.URL+"/hooks", key)
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s.vars = append(slices.DeleteFunc(s.vars, func(v string) bool { // without FCM, pushes to Android become dead letters
		return strings.HasPrefix(v, "KABAR_FCM") || strings.HasPrefix(v, "KABAR_SERVICES")
	}), "KABAR_CONFIG="+path)

	next := func() string {
		select {
		case report := <-got:
			return report
		case <-time.After(waitTimeout):
			t.Fatal("no report")
			return ""
		}
	}
	first := s.serve()
	first.user(66)
	if status, answer := first.call("POST", "/v2/notifications/android.json", "66:t", asForm, "reg_id=A-token"); status != 200 {
		t.Fatal(status, answer)
	}
	first.publish(dompetEvent("e1", 66))
	report := next()
	if !strings.Contains(report, `"type":"event.failed"`) || !strings.Contains(report, `"event_id":"e1"`) || !strings.Contains(report, `"reason":"off"`) {
		t.Errorf("report %s", report)
	}
	first.kill()
	close(left)
	second := s.serve()
	if again := next(); again != report {
		t.Errorf("%s came as %s", report, again)
	}
	for _, log := range []string{first.logs(), second.logs()} {
		if strings.Contains(log, key) || strings.Contains(log, "A-token") || strings.Contains(log, "Dana") {
			t.Errorf("secrets, tokens or texts in the log:\n%s", log)
		}
	}
}
