package apns

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// classify says what an attempt's answer means, by Apple's "Handling notification
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
	case push.Forget:
		if body.Timestamp > 0 {
			r.At = time.UnixMilli(body.Timestamp)
		}
	case push.Later, push.Broken:
		r.RetryAfter = provider.RetryAfter(a.Header, now)
		r.Backoff = provider.Backoff
	}
	return r
}

func outcome(status int, reason string) push.Outcome {
	switch status {
	case http.StatusBadRequest:
		return badRequest(reason)
	case http.StatusUnauthorized, http.StatusForbidden:
		return push.Broken
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return push.Broken // the endpoint is not APNs
	case http.StatusGone:
		return push.Forget
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		// TooManyRequests concerns the device, TooManyProviderTokenUpdates passes
		// while the current token is kept.
		return push.Later
	}
	switch {
	case status >= 500:
		return push.Later
	case status >= 400:
		return push.Refused // 413 above all: the guard failed
	default:
		return push.Broken // a redirect or the like: not APNs either
	}
}

// badRequest is for status 400, which APNs says for faults of three kinds.
func badRequest(reason string) push.Outcome {
	switch reason {
	case apns2.ReasonBadDeviceToken, apns2.ReasonDeviceTokenNotForTopic:
		return push.ForgetIfOthersSucceed
	case apns2.ReasonBadTopic, apns2.ReasonMissingTopic, apns2.ReasonTopicDisallowed:
		return push.Broken // every push would be lost
	case apns2.ReasonIdleTimeout:
		return push.Later // the connection was to blame
	default:
		return push.Refused
	}
}

// known are Apple's reasons. Others become the status: reasons are labels of
// metrics and must stay few.
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
