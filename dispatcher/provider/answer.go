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
	// Backoff is the first pause after a provider's error or a lost connection,
	// where the provider does not name one.
	Backoff = 10 * time.Second
	// MaxRetryAfter bounds the pause that a provider may ask for. A push is
	// worth little after a longer one, and an absurd value must not park it.
	MaxRetryAfter = time.Hour
)

// RetryAfter returns the pause that an answer's Retry-After header asks for, in
// seconds or as a date, between zero and [MaxRetryAfter]. It is zero when the
// header is absent, unreadable or already past.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(v, 64); err == nil {
		// Bounded before the conversion, which overflows. A NaN is not positive.
		if !(seconds > 0) {
			return 0
		}
		return time.Duration(min(seconds, MaxRetryAfter.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), MaxRetryAfter)
	}
	return 0
}

// Unanswered says what it means that an attempt ended with err and no answer:
// the push may or may not have arrived, and is tried again after a backoff. Only
// a provider whose certificate does not verify is Broken, since that is our
// configuration, or somebody between us.
func Unanswered(err error) push.Result {
	r := push.Result{Outcome: push.Later, Reason: "connection", Backoff: Backoff}
	var verification *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		r.Reason = "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		r.Reason = "timeout"
	case errors.As(err, &verification):
		r.Outcome, r.Reason = push.Broken, "tls_certificate"
	case errors.As(err, &network) && network.Timeout():
		r.Reason = "timeout"
	}
	return r
}

// StatusReason is the reason of an answer that names none that we know:
// "http_" and the status.
func StatusReason(status int) push.Reason {
	return push.Reason("http_" + strconv.Itoa(status))
}
