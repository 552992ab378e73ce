package apns

import (
	"net/http"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// FuzzAnswer classifies answers. Whatever comes, the reason is a known one, since reasons
// are labels of metrics, and a wait is bounded.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "95f2c6a1-0000-4000-8000-000000000000", "")
	f.Add(410, "", `{"reason":"Unregistered","timestamp":1469116800000}`)
	f.Add(400, "", `{"reason":"BadDeviceToken"}`)
	f.Add(403, "", `{"reason":"ExpiredProviderToken"}`)
	f.Add(429, "120", `{"reason":"TooManyRequests"}`)
	f.Add(503, "Fri, 23 Jan 2026 14:00:00 GMT", "<html>")
	f.Add(410, "1e400", `{"reason":"","timestamp":-9223372036854775808}`)
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
