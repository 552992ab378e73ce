package fcm

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	// quotaBackoff is the first step of the backoff after a 429 without Retry-After: FCM asks
	// for at least one minute (QUOTA_EXCEEDED in "REST error codes for the HTTP v1 API").
	quotaBackoff = time.Minute
	// thirdPartyBackoff is the first step of the backoff after THIRD_PARTY_AUTH_ERROR, which
	// ends when somebody uploads another key or certificate to Firebase.
	thirdPartyBackoff = time.Minute
)

// Error codes. Those of FCM are in the details of an answer, those common to all Google
// APIs (google.rpc.Code) in its status.
const (
	unregistered     = "UNREGISTERED"
	invalidArgument  = "INVALID_ARGUMENT"
	senderIDMismatch = "SENDER_ID_MISMATCH"
	thirdPartyAuth   = "THIRD_PARTY_AUTH_ERROR"
	unauthenticated  = "UNAUTHENTICATED"
)

// noMessageName is the reason after a 200 that does not name the accepted message.
const noMessageName push.Reason = "no_message_name"

// tokenFields are the fields of a message that hold the device token. The installation id
// (fid) takes the token's place in newer versions of the API.
var tokenFields = map[string]bool{"message.token": true, "message.fid": true}

// tokenPhrases are what FCM calls a device token that it rejects, in lower case.
var tokenPhrases = []string{"registration token", "invalidregistration", "installation id"}

// known are the error codes that become reasons. For any other, the reason is the HTTP
// status, because reasons are metric labels.
var known = map[string]bool{
	// FCM
	unregistered: true, invalidArgument: true, senderIDMismatch: true, "QUOTA_EXCEEDED": true,
	"UNAVAILABLE": true, "INTERNAL": true, thirdPartyAuth: true,
	// Google
	"NOT_FOUND": true, unauthenticated: true, "PERMISSION_DENIED": true, "RESOURCE_EXHAUSTED": true,
	"FAILED_PRECONDITION": true, "DEADLINE_EXCEEDED": true, "UNKNOWN": true, "ABORTED": true,
}

// An errorBody is the body of an answer with an error.
type errorBody struct {
	Error apiError
}

type apiError struct {
	Message string
	Status  string
	Details []detail
}

// A detail is one entry of an error's details. It holds the members of all kinds that are
// read; those of other kinds stay empty.
type detail struct {
	ErrorCode       string                                  // of google.firebase.fcm.v1.FcmError
	FieldViolations []struct{ Field string }                // of google.rpc.BadRequest
	Violations      []struct{ Subject, Description string } // of google.rpc.QuotaFailure
}

// UnmarshalJSON implements [json.Unmarshaler]. In FCM's older answers, such as
// {"error":"InvalidRegistration"}, the error is only a text.
func (e *apiError) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &e.Message)
	}
	type plain apiError // without this method
	return json.Unmarshal(b, (*plain)(e))
}

// classify returns the result of an attempt, according to FCM's "REST error codes for the
// HTTP v1 API" (the ErrorCode reference).
func classify(a *provider.Attempt, now time.Time) push.Result {
	if !a.Answered() {
		return provider.Unanswered(a)
	}
	if a.Status == http.StatusOK {
		return accepted(a)
	}
	var body errorBody
	if json.Unmarshal(a.Body, &body) != nil {
		body = errorBody{} // HTML of Google's front end: there is only the status
	}
	r := push.Result{Outcome: body.outcome(a.Status), Reason: body.reason(a.Status)}
	switch r.Outcome {
	case push.Later, push.Ambiguous, push.CredentialsRefused:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), provider.Backoff
		if r.Reason == thirdPartyAuth {
			r.Backoff = thirdPartyBackoff
		}
	case push.SlowDown:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), quotaBackoff
		r.Scope = body.scope()
	}
	return r
}

// accepted returns the result of a 200. FCM names the message that it accepted; an answer
// without a name comes from something else in between, or has broken off.
func accepted(a *provider.Attempt) push.Result {
	var body struct{ Name string }
	if json.Unmarshal(a.Body, &body) != nil || body.Name == "" {
		return push.Result{Outcome: push.Later, Reason: noMessageName, Backoff: provider.Backoff, Lost: a.Lost}
	}
	return push.Result{Outcome: push.Accepted, ProviderID: body.Name}
}

// outcome maps the status and the error code to an outcome.
func (b *errorBody) outcome(status int) push.Outcome {
	code := b.code()
	switch status {
	case http.StatusBadRequest:
		switch {
		case b.blamesToken():
			return push.DeadToken
		case b.Error.Status == "" && b.Error.Message == "":
			return push.Ambiguous // no answer of FCM, such as HTML of a proxy
		}
		return push.Refused
	case http.StatusNotFound:
		if code == unregistered {
			return push.DeadToken
		}
		return push.Ambiguous // the project does not exist, or the endpoint is not FCM
	case http.StatusForbidden:
		if code == senderIDMismatch {
			return push.Unsendable
		}
		return push.Ambiguous
	case http.StatusUnauthorized:
		switch {
		case code == thirdPartyAuth:
			// FCM's own key for APNs or web push is bad. It says nothing about us or
			// about Android.
			return push.Later
		case code == unauthenticated, b.Error.Status == unauthenticated:
			return push.CredentialsRefused
		}
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
// message. FCM has several wordings for it. It names the field that it rejects, or calls the
// token UNREGISTERED; if it does neither, only the text of the error tells.
func (b *errorBody) blamesToken() bool {
	if b.code() == unregistered {
		return true
	}
	otherField := false
	for _, d := range b.Error.Details {
		for _, v := range d.FieldViolations {
			if tokenFields[v.Field] {
				return true
			}
			otherField = true
		}
	}
	return !otherField && containsAny(b.Error.Message+" "+b.code(), tokenPhrases...)
}

// scope returns what a 429 limits, according to its QuotaFailure. FCM limits both the pushes
// to a device and those of a project, with the same code.
func (b *errorBody) scope() push.Scope {
	scope := push.ScopeUnknown
	for _, d := range b.Error.Details {
		for _, v := range d.Violations {
			switch text := v.Subject + " " + v.Description; {
			case containsAny(text, "device", "token"):
				return push.ScopeDevice
			case containsAny(text, "project"):
				scope = push.ScopeProject
			}
		}
	}
	return scope
}

// containsAny reports whether a text contains any of the words, which are in lower case.
func containsAny(text string, words ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
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
