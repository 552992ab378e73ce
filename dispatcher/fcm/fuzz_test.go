package fcm

import (
	"net/http"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// FuzzAnswer classifies answers. Whatever comes, the reason is a known one, since reasons
// are labels of metrics, and a wait is bounded.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "", `{"name":"projects/p/messages/1"}`)
	f.Add(404, "", body("Requested entity was not found.", "NOT_FOUND", fcmError(unregistered)))
	f.Add(400, "", body("Request contains an invalid argument.", "INVALID_ARGUMENT", badRequest("message.token")))
	f.Add(400, "", `{"error":"InvalidRegistration"}`)
	f.Add(429, "120", body("x", "RESOURCE_EXHAUSTED", fcmError("QUOTA_EXCEEDED"), quotaFailure("device:1", "per device")))
	f.Add(503, "Fri, 23 Jan 2026 14:00:00 GMT", "<html>")
	f.Add(401, "-1e400", `{"error":{"status":"UNAUTHENTICATED","details":[null,{}]}}`)
	f.Fuzz(func(t *testing.T, status int, header, body string) {
		if status < 100 || status > 999 {
			return // no answer; net/http refuses it
		}
		h := http.Header{}
		h.Set("Retry-After", header)
		h.Set("apns-id", header)
		r := classify(&provider.Attempt{Status: status, Header: h, Body: []byte(body)}, now)
		if r.Outcome < push.Accepted || r.Outcome >= push.Unsent {
			t.Errorf("%d %q: outcome %d", status, body, r.Outcome)
		}
		if r.Outcome == push.Accepted && (status != http.StatusOK || r.ProviderID == "") {
			t.Errorf("%d %q is an acceptance: %+v", status, body, r)
		}
		if r.Outcome != push.Accepted && !known[string(r.Reason)] && r.Reason != provider.StatusReason(status) && status != http.StatusOK {
			t.Errorf("%d %q: reason %q", status, body, r.Reason)
		}
		if r.RetryAfter < 0 || r.RetryAfter > provider.MaxRetryAfter {
			t.Errorf("%q: wait %s", header, r.RetryAfter)
		}
	})
}
