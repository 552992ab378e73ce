package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 23, 13, 48, 51, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"30":                            30 * time.Second,
		" 30 ":                          30 * time.Second,
		"-5":                            0,
		"86400":                         time.Hour,
		"99999999999999999999999999999": time.Hour,
		"NaN":                           0,
		"soon":                          0,
		"Fri, 23 Jan 2026 13:50:51 GMT": 2 * time.Minute,
		"Fri, 23 Jan 2026 13:48:50 GMT": 0,
		"Sat, 23 Jan 2027 13:50:51 GMT": time.Hour,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", value, got, want)
		}
	}
	if got := RetryAfter(nil, now); got != 0 {
		t.Errorf("without a header: %v", got)
	}
}

func TestUnanswered(t *testing.T) {
	later := func(reason push.Reason) push.Result {
		return push.Result{Outcome: push.Later, Reason: reason, Backoff: Backoff}
	}
	for _, test := range []struct {
		err  error
		want push.Result
	}{
		{context.Canceled, later("canceled")},
		{fmt.Errorf("send: %w", context.DeadlineExceeded), later("timeout")},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, later("timeout")},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, later("connection")},
		{ErrClosed, later("connection")},
		{&tls.CertificateVerificationError{Err: errors.New("unknown authority")},
			push.Result{Outcome: push.Ambiguous, Reason: "tls_certificate", Backoff: Backoff}},
	} {
		if got := Unanswered(&Attempt{Err: test.err}); got != test.want {
			t.Errorf("%v: got %+v, want %+v", test.err, got, test.want)
		}
	}
}
