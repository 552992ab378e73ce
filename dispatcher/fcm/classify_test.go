package fcm

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

var now = time.Date(2026, 1, 23, 13, 48, 51, 0, time.UTC)

// fcmError returns the error detail with an FCM error code.
func fcmError(code string) string {
	return `{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}`
}

// badRequest returns the error detail that names a field.
func badRequest(field string) string {
	return `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"` + field + `","description":"Invalid"}]}`
}

// quotaFailure returns the error detail that says which quota was exceeded.
func quotaFailure(subject, description string) string {
	return `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"` + subject + `","description":"` + description + `"}]}`
}

func body(message, status string, details ...string) string {
	list := ""
	for i, d := range details {
		if i > 0 {
			list += ","
		}
		list += d
	}
	return `{"error":{"code":0,"message":"` + message + `","status":"` + status + `","details":[` + list + `]}}`
}

func TestClassify(t *testing.T) {
	const invalid = "Request contains an invalid argument."
	later := func(reason push.Reason, retryAfter time.Duration) push.Result {
		return push.Result{Outcome: push.Later, Reason: reason, RetryAfter: retryAfter, Backoff: 10 * time.Second}
	}
	slow := func(reason push.Reason, retryAfter time.Duration) push.Result {
		return push.Result{Outcome: push.SlowDown, Reason: reason, RetryAfter: retryAfter, Backoff: time.Minute}
	}
	unclear := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.Ambiguous, Reason: reason, Backoff: 10 * time.Second}
	}
	dead := func(reason push.Reason) push.Result { return push.Result{Outcome: push.DeadToken, Reason: reason} }
	scoped := func(s push.Scope) push.Result {
		return push.Result{Outcome: push.SlowDown, Scope: s, Reason: "QUOTA_EXCEEDED", Backoff: time.Minute}
	}
	ends := func(o push.Outcome, reason push.Reason) push.Result {
		return push.Result{Outcome: o, Reason: reason}
	}
	for _, test := range []struct {
		name       string
		status     int
		body       string
		retryAfter string
		want       push.Result
	}{
		{name: "accepted", status: 200, body: `{"name":"x"}`, want: push.Result{ProviderID: "x"}},
		{name: "200 with nothing", status: 200, want: later("no_message_name", 0)},
		{name: "200 without a name", status: 200, body: `{}`, want: later("no_message_name", 0)},
		{name: "200 with HTML", status: 200, body: "<html>Welcome", want: later("no_message_name", 0)},
		{name: "200 with broken JSON", status: 200, body: `{"name":"x`, want: later("no_message_name", 0)},
		{name: "unregistered", status: 404, body: body("Requested entity was not found.", "NOT_FOUND", fcmError("UNREGISTERED")),
			want: dead("UNREGISTERED")},
		{name: "no such project", status: 404, body: body("Requested entity was not found.", "NOT_FOUND"), want: unclear("NOT_FOUND")},
		{name: "not FCM at all", status: 404, body: "<html>", want: unclear("http_404")},
		{name: "the token's field", status: 400, body: body(invalid, "INVALID_ARGUMENT", fcmError("INVALID_ARGUMENT"), badRequest("message.token")),
			want: dead("INVALID_ARGUMENT")},
		{name: "the token in words", status: 400,
			body: body("The registration token is not a valid FCM registration token", "INVALID_ARGUMENT", fcmError("INVALID_ARGUMENT")),
			want: dead("INVALID_ARGUMENT")},
		{name: "the token in the older API's words", status: 400, body: body("InvalidRegistration", "INVALID_ARGUMENT"),
			want: dead("INVALID_ARGUMENT")},
		{name: "in any case", status: 400, body: body("Invalid Registration Token", "INVALID_ARGUMENT"), want: dead("INVALID_ARGUMENT")},
		{name: "and in small letters", status: 400, body: body("the registration token is not a valid fcm registration token", "INVALID_ARGUMENT"),
			want: dead("INVALID_ARGUMENT")},
		{name: "the older API itself", status: 400, body: `{"error":"InvalidRegistration"}`, want: dead("http_400")},
		{name: "unregistered with 400", status: 400, body: body(invalid, "INVALID_ARGUMENT", fcmError("UNREGISTERED")), want: dead("UNREGISTERED")},
		{name: "the installation's field", status: 400, body: body(invalid, "INVALID_ARGUMENT", fcmError("INVALID_ARGUMENT"), badRequest("message.fid")),
			want: dead("INVALID_ARGUMENT")},
		{name: "400 of a proxy", status: 400, body: "<html>Bad Request", want: unclear("http_400")},
		{name: "another field", status: 400, body: body(invalid, "INVALID_ARGUMENT", badRequest("message.data[0].value")),
			want: ends(push.Refused, "INVALID_ARGUMENT")},
		{name: "another field and those words", status: 400,
			body: body("Invalid value, not a registration token", "INVALID_ARGUMENT", badRequest("message.android.ttl")),
			want: ends(push.Refused, "INVALID_ARGUMENT")},
		{name: "too large", status: 400, body: body(invalid, "INVALID_ARGUMENT"), want: ends(push.Refused, "INVALID_ARGUMENT")},
		{name: "another project's token", status: 403, body: body("SenderId mismatch", "PERMISSION_DENIED", fcmError("SENDER_ID_MISMATCH")),
			want: ends(push.Unsendable, "SENDER_ID_MISMATCH")},
		{name: "not permitted", status: 403, body: body("No.", "PERMISSION_DENIED"), want: unclear("PERMISSION_DENIED")},
		{name: "bad access token", status: 401, body: body("No.", "UNAUTHENTICATED"), want: push.Result{
			Outcome: push.CredentialsRefused, Reason: "UNAUTHENTICATED", Backoff: 10 * time.Second}},
		{name: "401 of a proxy", status: 401, body: "<html>", want: unclear("http_401")},
		{name: "third party", status: 401, body: body("No.", "UNAUTHENTICATED", fcmError("THIRD_PARTY_AUTH_ERROR")), want: push.Result{
			Outcome: push.Later, Reason: "THIRD_PARTY_AUTH_ERROR", Backoff: time.Minute}},
		{name: "quota", status: 429, body: body("Quota.", "RESOURCE_EXHAUSTED", fcmError("QUOTA_EXCEEDED")), want: slow("QUOTA_EXCEEDED", 0)},
		{name: "a device's quota", status: 429, body: body("Quota.", "RESOURCE_EXHAUSTED", fcmError("QUOTA_EXCEEDED"),
			quotaFailure("device:d1", "Too many messages to this device")), want: scoped(push.ScopeDevice)},
		{name: "a token's quota", status: 429, body: body("Quota.", "RESOURCE_EXHAUSTED", fcmError("QUOTA_EXCEEDED"),
			quotaFailure("", "Message rate of the registration token exceeded")), want: scoped(push.ScopeDevice)},
		{name: "the project's quota", status: 429, body: body("Quota.", "RESOURCE_EXHAUSTED", fcmError("QUOTA_EXCEEDED"),
			quotaFailure("project:kabar-test", "Messages per minute")), want: scoped(push.ScopeProject)},
		{name: "another quota", status: 429, body: body("Quota.", "RESOURCE_EXHAUSTED", fcmError("QUOTA_EXCEEDED"),
			quotaFailure("x", "y")), want: scoped(push.ScopeUnknown)},
		{name: "quota without details", status: 429, body: body("Quota.", "RESOURCE_EXHAUSTED"), retryAfter: "120", want: slow("RESOURCE_EXHAUSTED", 2*time.Minute)},
		{name: "quota without anything", status: 429, want: slow("http_429", 0)},
		{name: "unavailable", status: 503, body: body("Later.", "UNAVAILABLE", fcmError("UNAVAILABLE")),
			retryAfter: "Fri, 23 Jan 2026 13:49:51 GMT", want: later("UNAVAILABLE", time.Minute)},
		{name: "internal", status: 500, body: body("Oops.", "INTERNAL", fcmError("INTERNAL")), want: later("INTERNAL", 0)},
		{name: "bad gateway", status: 502, body: "<html>", want: later("http_502", 0)},
		{name: "request timeout", status: 408, want: later("http_408", 0)},
		{name: "unknown", status: 418, body: body("?", "TEAPOT", fcmError("TEAPOT")), want: ends(push.Refused, "http_418")},
		{name: "redirect", status: 302, want: unclear("http_302")},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := provider.Attempt{Status: test.status, Body: []byte(test.body), Header: http.Header{}}
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
	want := push.Result{Outcome: push.Later, Reason: "connection", Backoff: 10 * time.Second}
	if got := classify(&provider.Attempt{Err: io.ErrUnexpectedEOF}, now); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
