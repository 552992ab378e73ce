package webpush

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

var now = time.Date(2026, 1, 23, 13, 48, 51, 0, time.UTC)

func TestClassify(t *testing.T) {
	later := func(reason push.Reason, retryAfter time.Duration) push.Result {
		return push.Result{Outcome: push.Later, Reason: reason, RetryAfter: retryAfter, Backoff: 10 * time.Second}
	}
	slow := func(reason push.Reason, retryAfter time.Duration) push.Result {
		return push.Result{Outcome: push.SlowDown, Reason: reason, RetryAfter: retryAfter, Backoff: time.Minute}
	}
	unclear := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.Ambiguous, Reason: reason, Backoff: 10 * time.Second}
	}
	refused := func(reason push.Reason) push.Result { return push.Result{Outcome: push.Refused, Reason: reason} }
	dead := func(reason push.Reason) push.Result { return push.Result{Outcome: push.DeadToken, Reason: reason} }
	otherKey := push.Result{Outcome: push.Unsendable, Reason: "vapid_mismatch"}
	for _, test := range []struct {
		name                       string
		status                     int
		location, body, retryAfter string
		want                       push.Result
	}{
		{name: "accepted", status: 201, location: "https://fcm.googleapis.com/0:17%21", want: push.Result{ProviderID: "0:17%21"}},
		{name: "without a location", status: 201, want: push.Result{}},
		{name: "accepted for a receipt", status: 202, location: "/message/1", want: push.Result{ProviderID: "1"}},
		{name: "200 with a location", status: 200, location: "/message/1", want: push.Result{ProviderID: "1"}},
		{name: "a long location", status: 201, location: "/m/" + strings.Repeat("x", 1000), want: push.Result{ProviderID: strings.Repeat("x", maxID)}},
		{name: "200 of a portal", status: 200, body: "<html>Welcome", want: later("no_location", 0)},
		{name: "204", status: 204, want: unclear("http_204")},
		{name: "gone", status: 410, want: dead("http_410")},
		{name: "not found", status: 404, want: dead("http_404")},
		{name: "Chrome, another key", status: 403,
			body: "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n", want: otherKey},
		{name: "Firefox, another key", status: 401, body: `{"code":401,"errno":109,"error":"Unauthorized","message":"VAPID public key mismatch"}`, want: otherKey},
		{name: "Safari, another key", status: 400, body: `{"reason":"VapidPkHashMismatch"}`, want: otherKey},
		{name: "bad token", status: 403, body: `{"reason":"BadJwtToken"}`, want: unclear("http_403")},
		{name: "no credentials", status: 401, want: unclear("http_401")},
		{name: "our request", status: 400, body: `{"reason":"BadWebPushTopic"}`, want: refused("http_400")},
		{name: "too large", status: 413, want: refused("http_413")},
		{name: "too many", status: 429, want: slow("http_429", 0)},
		{name: "too many, with a time", status: 429, retryAfter: "30", want: slow("http_429", 30*time.Second)},
		{name: "too many of Windows", status: 406, want: slow("http_406", 0)},
		{name: "timeout", status: 408, want: later("http_408", 0)},
		{name: "internal", status: 500, want: later("http_500", 0)},
		{name: "unavailable", status: 503, retryAfter: "Fri, 23 Jan 2026 13:49:51 GMT", want: later("http_503", time.Minute)},
		{name: "redirect", status: 307, location: "https://elsewhere.example/", want: unclear("http_307")},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := provider.Attempt{Status: test.status, Body: []byte(test.body), Header: http.Header{}}
			a.Header.Set("Retry-After", test.retryAfter)
			if test.location != "" {
				a.Header.Set("Location", test.location)
			}
			if got := classify(&a, now); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
	apple := provider.Attempt{Status: 201, Header: http.Header{"Apns-Id": {"an-id"}}}
	if got := classify(&apple, now); got != (push.Result{ProviderID: "an-id"}) {
		t.Errorf("got %+v", got)
	}
}

// FuzzAnswer classifies answers. Whatever comes, the reason is a known one, since reasons are
// labels of metrics, and a wait is bounded.
func FuzzAnswer(f *testing.F) {
	f.Add(201, "", "https://push.example/m/1", "")
	f.Add(403, "", "", "do not correspond")
	f.Add(429, "120", "", "")
	f.Add(200, "-1e400", "/", "<html>")
	f.Fuzz(func(t *testing.T, status int, retryAfter, location, body string) {
		if status < 100 || status > 999 {
			return // no answer; net/http refuses it
		}
		h := http.Header{}
		h.Set("Retry-After", retryAfter)
		h.Set("Location", location)
		for _, r := range []push.Result{
			classify(&provider.Attempt{Status: status, Header: h, Body: []byte(body)}, now),
			classifyProbe(&provider.Attempt{Status: status, Header: h, Body: []byte(body)}, now),
		} {
			if r.Outcome < push.Accepted || r.Outcome >= push.Unsent || r.Outcome == push.CredentialsRefused {
				t.Errorf("%d %q: outcome %d", status, body, r.Outcome)
			}
			if r.Reason != "" && r.Reason != mismatch && r.Reason != noLocation && r.Reason != provider.StatusReason(status) {
				t.Errorf("%d %q: reason %q", status, body, r.Reason)
			}
			if r.RetryAfter < 0 || r.RetryAfter > provider.MaxRetryAfter || len(r.ProviderID) > maxID {
				t.Errorf("%q, %q: %+v", retryAfter, location, r)
			}
		}
	})
}
