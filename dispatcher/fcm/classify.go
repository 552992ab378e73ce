package fcm

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// quotaBackoff is the first step of the backoff after a 429 without Retry-After: FCM asks
// for at least one minute (QUOTA_EXCEEDED in "REST error codes for the HTTP v1 API").
const quotaBackoff = time.Minute

// Error codes. Those of FCM are in the details of an answer, those common to all Google
// APIs (google.rpc.Code) in its status.
const (
	unregistered       = "UNREGISTERED"
	invalidArgument    = "INVALID_ARGUMENT"
	senderIDMismatch   = "SENDER_ID_MISMATCH"
	unauthenticated    = "UNAUTHENTICATED"
	tokenField         = "message.token"
	invalidTokenPhrase = "registration token"
)

// known are the error codes that become reasons. For any other, the reason is the HTTP
// status, because reasons are metric labels.
var known = map[string]bool{
	// FCM
	unregistered: true, invalidArgument: true, senderIDMismatch: true, "QUOTA_EXCEEDED": true,
	"UNAVAILABLE": true, "INTERNAL": true, "THIRD_PARTY_AUTH_ERROR": true,
	// Google
	"NOT_FOUND": true, unauthenticated: true, "PERMISSION_DENIED": true, "RESOURCE_EXHAUSTED": true,
	"FAILED_PRECONDITION": true, "DEADLINE_EXCEEDED": true, "UNKNOWN": true, "ABORTED": true,
}

// An errorBody is the body of an answer with an error.
type errorBody struct {
	Error struct {
		Message string
		Status  string
		Details []struct {
			ErrorCode       string
			FieldViolations []struct{ Field string }
		}
	}
}

// classify returns the result of an attempt, according to FCM's "REST error codes for the
// HTTP v1 API" (the ErrorCode reference).
func classify(a *provider.Attempt, now time.Time) push.Result {
	if !a.Answered() {
		return provider.Unanswered(a.Err)
	}
	if a.Status == http.StatusOK {
		return push.Result{Outcome: push.Accepted}
	}
	var body errorBody
	if json.Unmarshal(a.Body, &body) != nil {
		body = errorBody{} // HTML of Google's front end: there is only the status
	}
	r := push.Result{Outcome: body.outcome(a.Status), Reason: body.reason(a.Status)}
	switch r.Outcome {
	case push.Later, push.Ambiguous:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), provider.Backoff
	case push.SlowDown:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), quotaBackoff
	}
	return r
}

// outcome maps the status and the error code to an outcome.
func (b *errorBody) outcome(status int) push.Outcome {
	switch status {
	case http.StatusBadRequest:
		if b.blamesToken() {
			return push.DeadToken
		}
		return push.Refused
	case http.StatusNotFound:
		if b.code() == unregistered {
			return push.DeadToken
		}
		return push.Ambiguous // the project does not exist, or the endpoint is not FCM
	case http.StatusForbidden:
		if b.code() == senderIDMismatch {
			return push.Unsendable
		}
		return push.Ambiguous
	case http.StatusUnauthorized:
		return push.Ambiguous
	case http.StatusTooManyRequests:
		return push.SlowDown
	case http.StatusRequestTimeout:
		return push.Later
	}
	switch {
	case status >= 500:
		return push.Later
	case status >= 400:
		return push.Refused
	default:
		return push.Ambiguous // such as a redirect: the endpoint is not FCM
	}
}

// code returns FCM's error code, or "" if the answer has none.
func (b *errorBody) code() string {
	for _, d := range b.Error.Details {
		if d.ErrorCode != "" {
			return d.ErrorCode
		}
	}
	return ""
}

// blamesToken reports whether a 400 means an invalid device token rather than an invalid
// message. FCM names the field that it rejects. If it names none, only the text of the
// error tells: FCM's documentation shows such a body.
func (b *errorBody) blamesToken() bool {
	otherField := false
	for _, d := range b.Error.Details {
		for _, v := range d.FieldViolations {
			if v.Field == tokenField {
				return true
			}
			otherField = true
		}
	}
	return !otherField && strings.Contains(b.Error.Message, invalidTokenPhrase)
}

// reason returns FCM's error code if it is known, else that of Google's APIs, else the
// HTTP status.
func (b *errorBody) reason(status int) push.Reason {
	if code := b.code(); known[code] {
		return push.Reason(code)
	}
	if known[b.Error.Status] {
		return push.Reason(b.Error.Status)
	}
	return provider.StatusReason(status)
}
