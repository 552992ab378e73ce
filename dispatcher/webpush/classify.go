package webpush

import (
	"net/http"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	// slowBackoff is the first step of the backoff after a 429 without Retry-After.
	slowBackoff = time.Minute

	maxID = 128 // bytes of an id that a push service gives

	noLocation push.Reason = "no_location"    // after a 200 that does not come from a push service
	mismatch   push.Reason = "vapid_mismatch" // the subscription was made with another VAPID key
)

// mismatchPhrases are what push services say of a subscription that was made with another
// VAPID key, in lower case: Chrome's, Firefox's ("VAPID public key mismatch") and Safari's
// (VapidPkHashMismatch).
var mismatchPhrases = []string{"do not correspond", "key mismatch", "vapidpkhashmismatch"}

// classify returns the result of an attempt. The standards (RFC 8030 and 8292) define the
// statuses; bodies differ between push services.
func classify(a *provider.Attempt, now time.Time) push.Result {
	if !a.Answered() {
		return provider.Unanswered(a)
	}
	id := identify(a.Header)
	switch a.Status {
	case http.StatusCreated, http.StatusAccepted:
		return push.Result{Outcome: push.Accepted, ProviderID: id}
	case http.StatusOK:
		if a.Header.Get("Location") != "" {
			return push.Result{Outcome: push.Accepted, ProviderID: id}
		}
		return push.Result{Outcome: push.Later, Reason: noLocation, Backoff: provider.Backoff, Lost: a.Lost}
	}
	r := push.Result{Outcome: outcome(a.Status), Reason: provider.StatusReason(a.Status)}
	if (a.Status == http.StatusForbidden || a.Status == http.StatusUnauthorized || a.Status == http.StatusBadRequest) && saysMismatch(a.Body) {
		return push.Result{Outcome: push.Unsendable, Reason: mismatch}
	}
	switch r.Outcome {
	case push.SlowDown:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), slowBackoff
	case push.Later, push.Ambiguous:
		r.RetryAfter, r.Backoff = provider.RetryAfter(a.Header, now), provider.Backoff
	}
	return r
}

// outcome maps a status that accepts nothing to an outcome.
func outcome(status int) push.Outcome {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return push.DeadToken // the subscription does not exist (any more)
	case http.StatusUnauthorized, http.StatusForbidden:
		// Nothing of us can be renewed at once: each push has new credentials. Only several
		// browsers can tell whether these are bad.
		return push.Ambiguous
	case http.StatusTooManyRequests, http.StatusNotAcceptable: // the latter is Windows'
		return push.SlowDown
	case http.StatusRequestTimeout:
		return push.Later
	}
	switch {
	case status >= 500:
		return push.Later
	case status >= 400:
		return push.Refused // such as 413, if the reduced payload is still too large
	default:
		return push.Ambiguous // such as a redirect: no push service redirects
	}
}

// saysMismatch reports whether an answer says that the subscription was made with another
// VAPID key.
func saysMismatch(body []byte) bool {
	text := strings.ToLower(string(body))
	for _, phrase := range mismatchPhrases {
		if strings.Contains(text, phrase) {
			return true
		}
	}
	return false
}

// identify returns the id that the push service gave a push: Safari's apns-id, or the last
// part of the address of the message.
func identify(h http.Header) string {
	id := h.Get("apns-id")
	if id == "" {
		location := h.Get("Location")
		id = location[strings.LastIndexByte(location, '/')+1:]
	}
	if len(id) > maxID {
		return id[:maxID]
	}
	return id
}

// classifyProbe returns the result of a probe: whether the service answers.
func classifyProbe(a *provider.Attempt, now time.Time) push.Result {
	r := classify(a, now)
	switch {
	case !a.Answered(), r.Outcome == push.Accepted, r.Outcome == push.Later && a.Status >= 400:
		return r
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return push.Result{Outcome: push.Ambiguous, Reason: provider.StatusReason(a.Status), Backoff: provider.Backoff}
	case r.Outcome == push.SlowDown:
		r.Outcome = push.Later
		return r
	}
	return push.Result{Outcome: push.Accepted}
}
