package apns

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// noAPNsID is the reason after a 200 that does not come from APNs.
const noAPNsID push.Reason = "no_apns_id"

// classify returns the result of an attempt, according to Apple's "Handling notification
// responses from APNs".
func classify(a *provider.Attempt, now time.Time) push.Result {
	if !a.Answered() {
		return provider.Unanswered(a)
	}
	if a.Status == http.StatusOK {
		return accepted(a)
	}
	var body struct {
		Reason    string
		Timestamp int64 // milliseconds since 1970, of a 410
	}
	genuine := json.Unmarshal(a.Body, &body) == nil && body.Reason != ""
	if !genuine || !known[body.Reason] {
		body.Reason = string(provider.StatusReason(a.Status))
	}
	r := push.Result{Outcome: outcome(a.Status, body.Reason), Reason: push.Reason(body.Reason)}
	if a.Status == http.StatusBadRequest && !genuine {
		r.Outcome = push.Ambiguous // no answer of APNs, such as HTML of a proxy
	}
	switch r.Outcome {
	case push.DeadToken:
		if body.Timestamp > 0 {
			r.At = time.UnixMilli(body.Timestamp)
		}
	case push.SlowDown:
		r.Scope = push.ScopeDevice // TooManyRequests is about one device
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), provider.Backoff
	case push.Later, push.Ambiguous, push.CredentialsRefused:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), provider.Backoff
	}
	return r
}

// accepted returns the result of a 200. APNs returns the push's apns-id with every answer;
// one without it comes from something else in between.
func accepted(a *provider.Attempt) push.Result {
	id := a.Header.Get("apns-id")
	if id == "" {
		return push.Result{Outcome: push.Later, Reason: noAPNsID, Backoff: provider.Backoff, Lost: a.Lost}
	}
	return push.Result{Outcome: push.Accepted, ProviderID: id}
}

// outcome maps the status and the reason of an answer to an outcome.
func outcome(status int, reason string) push.Outcome {
	switch status {
	case http.StatusBadRequest:
		return badRequest(reason)
	case http.StatusUnauthorized, http.StatusForbidden:
		if refusesCredentials[reason] {
			return push.CredentialsRefused
		}
		return push.Ambiguous
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return push.Ambiguous // the endpoint is not APNs
	case http.StatusGone:
		if reason == apns2.ReasonUnregistered || reason == apns2.ReasonExpiredToken {
			return push.DeadToken
		}
		return push.Later // only APNs' own words are about the device
	case http.StatusRequestTimeout:
		return push.Later
	case http.StatusTooManyRequests:
		if reason == apns2.ReasonTooManyProviderTokenUpdates {
			return push.Later // it ends while we keep the current token
		}
		return push.SlowDown
	}
	switch {
	case status >= 500:
		return push.Later
	case status >= 400:
		return push.Refused // such as 413, if the reduced payload is still too large
	default:
		return push.Ambiguous // such as a redirect: the endpoint is not APNs
	}
}

// refusesCredentials are the reasons of a 403 that are certainly about our credentials. The
// sender renews the provider token after the first two.
var refusesCredentials = map[string]bool{
	apns2.ReasonExpiredProviderToken:      true,
	apns2.ReasonInvalidProviderToken:      true,
	apns2.ReasonBadCertificate:            true,
	apns2.ReasonBadCertificateEnvironment: true,
}

// badRequest returns the outcome of a 400, whose cause can be the device token, our
// configuration, the connection or the request.
func badRequest(reason string) push.Outcome {
	switch reason {
	case apns2.ReasonBadDeviceToken, apns2.ReasonDeviceTokenNotForTopic:
		return push.DeadToken
	case apns2.ReasonBadTopic, apns2.ReasonMissingTopic, apns2.ReasonTopicDisallowed:
		return push.Ambiguous // our configuration is wrong: every push would fail
	case apns2.ReasonIdleTimeout:
		return push.Later // the fault is the connection's
	default:
		return push.Refused
	}
}

// known are the reasons that Apple documents. For any other, the reason is the HTTP
// status, because reasons are metric labels.
var known = map[string]bool{
	apns2.ReasonBadCollapseID:               true,
	apns2.ReasonBadDeviceToken:              true,
	apns2.ReasonBadExpirationDate:           true,
	apns2.ReasonBadMessageID:                true,
	apns2.ReasonBadPriority:                 true,
	apns2.ReasonBadTopic:                    true,
	apns2.ReasonDeviceTokenNotForTopic:      true,
	apns2.ReasonDuplicateHeaders:            true,
	apns2.ReasonIdleTimeout:                 true,
	apns2.ReasonInvalidPushType:             true,
	apns2.ReasonMissingDeviceToken:          true,
	apns2.ReasonMissingTopic:                true,
	apns2.ReasonPayloadEmpty:                true,
	apns2.ReasonTopicDisallowed:             true,
	apns2.ReasonBadCertificate:              true,
	apns2.ReasonBadCertificateEnvironment:   true,
	apns2.ReasonExpiredProviderToken:        true,
	apns2.ReasonForbidden:                   true,
	apns2.ReasonInvalidProviderToken:        true,
	apns2.ReasonMissingProviderToken:        true,
	"BadEnvironmentKeyIdInToken":            true,
	"UnrelatedKeyIdInToken":                 true,
	apns2.ReasonBadPath:                     true,
	apns2.ReasonMethodNotAllowed:            true,
	apns2.ReasonExpiredToken:                true,
	apns2.ReasonUnregistered:                true,
	apns2.ReasonPayloadTooLarge:             true,
	apns2.ReasonTooManyProviderTokenUpdates: true,
	apns2.ReasonTooManyRequests:             true,
	apns2.ReasonInternalServerError:         true,
	apns2.ReasonServiceUnavailable:          true,
	apns2.ReasonShutdown:                    true,
}
