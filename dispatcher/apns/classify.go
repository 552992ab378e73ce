package apns

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// classify returns the result of an attempt, according to Apple's "Handling notification
// responses from APNs".
func classify(a *provider.Attempt, now time.Time) push.Result {
	if !a.Answered() {
		return provider.Unanswered(a.Err)
	}
	if a.Status == http.StatusOK {
		return push.Result{Outcome: push.Accepted, ProviderID: a.Header.Get("apns-id")}
	}
	var body struct {
		Reason    string
		Timestamp int64 // milliseconds since 1970, of a 410
	}
	if json.Unmarshal(a.Body, &body) != nil || !known[body.Reason] {
		body.Reason = string(provider.StatusReason(a.Status))
	}
	r := push.Result{Outcome: outcome(a.Status, body.Reason), Reason: push.Reason(body.Reason)}
	switch r.Outcome {
	case push.DeadToken:
		if body.Timestamp > 0 {
			r.At = time.UnixMilli(body.Timestamp)
		}
	case push.Later, push.Ambiguous:
		r.RetryAfter = provider.RetryAfter(a.Header, now)
		r.Backoff = provider.Backoff
	}
	return r
}

// outcome maps the status and the reason of an answer to an outcome.
func outcome(status int, reason string) push.Outcome {
	switch status {
	case http.StatusBadRequest:
		return badRequest(reason)
	case http.StatusUnauthorized, http.StatusForbidden:
		return push.Ambiguous
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return push.Ambiguous // the endpoint is not APNs
	case http.StatusGone:
		return push.DeadToken
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		// TooManyRequests is about one device, and TooManyProviderTokenUpdates ends
		// while we keep the current token: neither slows down other pushes.
		return push.Later
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
