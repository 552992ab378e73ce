package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	// Backoff is the first step of the backoff after a provider's error or a lost
	// connection, if the provider sent no Retry-After.
	Backoff = 10 * time.Second
	// MaxRetryAfter bounds what [RetryAfter] returns. A push is worth little after a
	// longer delay, and a wrong value must not hold it back for days.
	MaxRetryAfter = time.Hour

	// maxSeconds is a number of seconds that a time.Duration can hold.
	maxSeconds = 1 << 32
)

// RetryAfter returns the delay that a push provider asks for in an answer's Retry-After
// header, bounded by [MaxRetryAfter]; see [ParseRetryAfter].
func RetryAfter(h http.Header, now time.Time) time.Duration {
	return min(ParseRetryAfter(h, now), MaxRetryAfter)
}

// ParseRetryAfter returns the delay of a Retry-After header, which is a number of seconds
// or an HTTP date (RFC 9110, section 10.2.3). It is zero when the header is missing or
// malformed, or its date has passed. It has no upper bound.
func ParseRetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(v, 64); err == nil {
		if !(seconds > 0) { // NaN included
			return 0
		}
		// Bounded before the conversion to an integer, which would overflow.
		return time.Duration(min(seconds, maxSeconds) * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// Unanswered returns the result of an attempt that got no answer. If a request was made, the
// push may have arrived (Lost). A certificate that does not verify is Ambiguous: our
// configuration is wrong, or somebody intercepts the connection.
func Unanswered(a *Attempt) push.Result {
	if a.Unsent != nil {
		return push.Result{Outcome: push.Unsent, Err: a.Unsent}
	}
	r := push.Result{Outcome: push.Later, Reason: "connection", Backoff: Backoff, Lost: a.Lost}
	var verification *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.Is(a.Err, context.Canceled):
		r.Reason = "canceled"
	case errors.Is(a.Err, context.DeadlineExceeded):
		r.Reason = "timeout"
	case errors.Is(a.Err, ErrPrivate):
		r.Reason = "private_address"
	case errors.As(a.Err, &verification):
		r.Outcome, r.Reason = push.Ambiguous, "tls_certificate"
	case errors.As(a.Err, &network) && network.Timeout():
		r.Reason = "timeout"
	}
	return r
}

// StatusReason returns the reason for an answer without a known error code: "http_" and
// the status code.
func StatusReason(status int) push.Reason {
	return push.Reason("http_" + strconv.Itoa(status))
}
