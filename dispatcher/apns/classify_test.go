package apns

import (
	"context"
	"io"
	"net/http"
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
	slow := func(retryAfter time.Duration) push.Result {
		return push.Result{Outcome: push.SlowDown, Scope: push.ScopeDevice, Reason: "TooManyRequests", RetryAfter: retryAfter, Backoff: 10 * time.Second}
	}
	unclear := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.Ambiguous, Reason: reason, Backoff: 10 * time.Second}
	}
	credentials := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.CredentialsRefused, Reason: reason, Backoff: 10 * time.Second}
	}
	refused := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.Refused, Reason: reason}
	}
	dead := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.DeadToken, Reason: reason}
	}
	for _, test := range []struct {
		name       string
		status     int
		body       string
		retryAfter string
		want       push.Result
	}{
		{name: "accepted", status: 200, want: push.Result{ProviderID: "an-id"}},
		{name: "unregistered", status: 410, body: `{"reason":"Unregistered","timestamp":1769176131123}`,
			want: push.Result{Outcome: push.DeadToken, Reason: "Unregistered", At: time.UnixMilli(1769176131123)}},
		{name: "expired token", status: 410, body: `{"reason":"ExpiredToken","timestamp":1769176131123}`,
			want: push.Result{Outcome: push.DeadToken, Reason: "ExpiredToken", At: time.UnixMilli(1769176131123)}},
		{name: "410 without a time", status: 410, body: `{"reason":"Unregistered"}`,
			want: push.Result{Outcome: push.DeadToken, Reason: "Unregistered"}},
		{name: "410 of a proxy", status: 410, body: "<html>Gone", want: later("http_410", 0)},
		{name: "410 with nothing", status: 410, want: later("http_410", 0)},
		{name: "410 with another word", status: 410, body: `{"reason":"Novel","timestamp":1769176131123}`, want: later("http_410", 0)},
		{name: "bad token", status: 400, body: `{"reason":"BadDeviceToken"}`, want: dead("BadDeviceToken")},
		{name: "another app's token", status: 400, body: `{"reason":"DeviceTokenNotForTopic"}`, want: dead("DeviceTokenNotForTopic")},
		{name: "our payload", status: 400, body: `{"reason":"PayloadEmpty"}`, want: refused("PayloadEmpty")},
		{name: "our header", status: 400, body: `{"reason":"BadCollapseId"}`, want: refused("BadCollapseId")},
		{name: "our topic", status: 400, body: `{"reason":"TopicDisallowed"}`, want: unclear("TopicDisallowed")},
		{name: "bad topic", status: 400, body: `{"reason":"BadTopic"}`, want: unclear("BadTopic")},
		{name: "no topic", status: 400, body: `{"reason":"MissingTopic"}`, want: unclear("MissingTopic")},
		{name: "400 of a proxy", status: 400, body: "<html>Bad Request", want: unclear("http_400")},
		{name: "idle", status: 400, body: `{"reason":"IdleTimeout"}`, want: later("IdleTimeout", 0)},
		{name: "unknown 400", status: 400, body: `{"reason":"Novel"}`, want: refused("http_400")},
		{name: "expired provider token", status: 403, body: `{"reason":"ExpiredProviderToken"}`, want: credentials("ExpiredProviderToken")},
		{name: "bad provider token", status: 403, body: `{"reason":"InvalidProviderToken"}`, want: credentials("InvalidProviderToken")},
		{name: "another environment's certificate", status: 403, body: `{"reason":"BadCertificateEnvironment"}`, want: credentials("BadCertificateEnvironment")},
		{name: "bad certificate", status: 403, body: `{"reason":"BadCertificate"}`, want: credentials("BadCertificate")},
		{name: "forbidden", status: 403, body: `{"reason":"Forbidden"}`, want: unclear("Forbidden")},
		{name: "no provider token", status: 403, body: `{"reason":"MissingProviderToken"}`, want: unclear("MissingProviderToken")},
		{name: "403 of a proxy", status: 403, body: "<html>", want: unclear("http_403")},
		{name: "404 of a proxy", status: 404, body: "<html>", want: unclear("http_404")},
		{name: "bad path", status: 404, body: `{"reason":"BadPath"}`, want: unclear("BadPath")},
		{name: "bad method", status: 405, body: `{"reason":"MethodNotAllowed"}`, want: unclear("MethodNotAllowed")},
		{name: "too large", status: 413, body: `{"reason":"PayloadTooLarge"}`, want: refused("PayloadTooLarge")},
		{name: "device asked too often", status: 429, body: `{"reason":"TooManyRequests"}`, want: slow(0)},
		{name: "and says for how long", status: 429, body: `{"reason":"TooManyRequests"}`, retryAfter: "30", want: slow(30 * time.Second)},
		{name: "token renewed too often", status: 429, body: `{"reason":"TooManyProviderTokenUpdates"}`, want: later("TooManyProviderTokenUpdates", 0)},
		{name: "internal", status: 500, body: `{"reason":"InternalServerError"}`, want: later("InternalServerError", 0)},
		{name: "unavailable", status: 503, body: `{"reason":"ServiceUnavailable"}`, retryAfter: "Fri, 23 Jan 2026 13:49:51 GMT", want: later("ServiceUnavailable", time.Minute)},
		{name: "shutting down", status: 503, body: `{"reason":"Shutdown"}`, want: later("Shutdown", 0)},
		{name: "a proxy's 502", status: 502, body: `<html>`, want: later("http_502", 0)},
		{name: "unknown", status: 418, want: refused("http_418")},
		{name: "429 of a proxy", status: 429, body: "<html>", want: push.Result{
			Outcome: push.SlowDown, Scope: push.ScopeDevice, Reason: "http_429", Backoff: 10 * time.Second}},
		{name: "redirect", status: 302, want: unclear("http_302")},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := provider.Attempt{Status: test.status, Body: []byte(test.body), Header: http.Header{"Apns-Id": {"an-id"}}}
			if test.retryAfter != "" {
				a.Header.Set("Retry-After", test.retryAfter)
			}
			if got := classify(&a, now); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestClassifyWithoutAnswer(t *testing.T) {
	for err, reason := range map[error]string{
		io.ErrUnexpectedEOF:      "connection",
		context.DeadlineExceeded: "timeout",
		context.Canceled:         "canceled",
	} {
		want := push.Result{Outcome: push.Later, Reason: push.Reason(reason), Backoff: 10 * time.Second}
		if got := classify(&provider.Attempt{Err: err}, now); got != want {
			t.Errorf("%v: got %+v, want %+v", err, got, want)
		}
	}
	// APNs has accepted the push, because the status arrived and only the rest is missing.
	a := provider.Attempt{Status: 200, Header: http.Header{"Apns-Id": {"an-id"}}, Err: io.ErrUnexpectedEOF}
	if got := classify(&a, now); got.Outcome != push.Accepted {
		t.Errorf("got %+v, want accepted", got)
	}
}

// A 200 that does not come from APNs, such as a proxy's, accepts nothing.
func TestClassifyAcceptanceOfOthers(t *testing.T) {
	a := provider.Attempt{Status: 200, Header: http.Header{}, Body: []byte("<html>Welcome")}
	want := push.Result{Outcome: push.Later, Reason: "no_apns_id", Backoff: 10 * time.Second}
	if got := classify(&a, now); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
