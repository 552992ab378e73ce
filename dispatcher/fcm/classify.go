package fcm

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// quotaBackoff is the first pause after a 429 that names none, as FCM's
// documentation asks.
const quotaBackoff = time.Minute

// The codes that the classification tells apart. Those of FCM are in the
// answer's details, those of all Google APIs in its status.
const (
	unregistered       = "UNREGISTERED"
	invalidArgument    = "INVALID_ARGUMENT"
	senderIDMismatch   = "SENDER_ID_MISMATCH"
	unauthenticated    = "UNAUTHENTICATED"
	tokenField         = "message.token"
	invalidTokenPhrase = "registration token"
)

// known are the codes that may become a reason. Others become the HTTP status:
// reasons are labels of metrics and must stay few.
var known = map[string]bool{
	// FCM
	unregistered: true, invalidArgument: true, senderIDMismatch: true, "QUOTA_EXCEEDED": true,
	"UNAVAILABLE": true, "INTERNAL": true, "THIRD_PARTY_AUTH_ERROR": true,
	// Google
	"NOT_FOUND": true, unauthenticated: true, "PERMISSION_DENIED": true, "RESOURCE_EXHAUSTED": true,
	"FAILED_PRECONDITION": true, "DEADLINE_EXCEEDED": true, "UNKNOWN": true, "ABORTED": true,
}

// An answer is FCM's error body.
type answer struct {
	Error struct {
		Message string
		Status  string
		Details []struct {
			ErrorCode       string
			FieldViolations []struct{ Field string }
		}
	}
}

// classify says what an attempt's answer means, by FCM's "REST error codes for the
// HTTP v1 API".
func classify(a *provider.Attempt, now time.Time) push.Result {
	if !a.Answered() {
		return provider.Unanswered(a.Err)
	}
	if a.Status == http.StatusOK {
		return push.Result{Outcome: push.Accepted}
	}
	var said answer
	if json.Unmarshal(a.Body, &said) != nil {
		said = answer{} // a front end's HTML: only the status counts
	}
	r := push.Result{Outcome: said.outcome(a.Status), Reason: said.reason(a.Status)}
	switch r.Outcome {
	case push.Later, push.Broken:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), provider.Backoff
	case push.SlowDown:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), quotaBackoff
	}
	return r
}

func (a *answer) outcome(status int) push.Outcome {
	switch status {
	case http.StatusBadRequest:
		if a.blamesToken() {
			return push.Forget
		}
		return push.Refused
	case http.StatusNotFound:
		if a.code() == unregistered {
			return push.Forget
		}
		return push.Broken // no such project, or the endpoint is not FCM
	case http.StatusForbidden:
		if a.code() == senderIDMismatch {
			return push.Unsendable
		}
		return push.Broken
	case http.StatusUnauthorized:
		return push.Broken
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
		return push.Broken // a redirect or the like: the endpoint is not FCM
	}
}

// code returns FCM's error code, or "" where the answer has none.
func (a *answer) code() string {
	for _, d := range a.Error.Details {
		if d.ErrorCode != "" {
			return d.ErrorCode
		}
	}
	return ""
}

// blamesToken reports whether a 400 is about the device's token and not about
// what we wrote. FCM names the field, or names none and says so in words: its
// documentation has this body, with nothing else to tell it by.
func (a *answer) blamesToken() bool {
	named := false
	for _, d := range a.Error.Details {
		for _, v := range d.FieldViolations {
			if v.Field == tokenField {
				return true
			}
			named = true
		}
	}
	return !named && strings.Contains(a.Error.Message, invalidTokenPhrase)
}

// reason returns the most telling code that is known.
func (a *answer) reason(status int) push.Reason {
	if code := a.code(); known[code] {
		return push.Reason(code)
	}
	if known[a.Error.Status] {
		return push.Reason(a.Error.Status)
	}
	return provider.StatusReason(status)
}
