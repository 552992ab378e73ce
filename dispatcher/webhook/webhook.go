// Package webhook delivers reports to services over HTTP, signed as the Standard
// Webhooks specification says (https://www.standardwebhooks.com).
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
)

// SecretPrefix starts a secret. The rest is 24 to 64 bytes in base64.
const SecretPrefix = "whsec_"

const (
	minSecret, maxSecret = 24, 64 // bytes, as the specification says
	dialTimeout          = 5 * time.Second
	idleTimeout          = 90 * time.Second
	maxConns             = 16
	maxAnswer            = 64 << 10 // bytes read of an answer's body, so that the connection can be reused
)

// Options configure an Endpoint. URL and Secret are required.
type Options struct {
	URL    string
	Secret string
	// AllowPrivate allows http URLs, and addresses that are not on the public
	// internet: private, loopback, link-local and the like.
	AllowPrivate bool
	// RootCAs are the trusted authorities: those of the system when nil.
	RootCAs *x509.CertPool
	// Log gets the causes of failed attempts, without secrets, bodies and paths of URLs.
	Log *slog.Logger
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// An Endpoint is the client of one service's webhook. It implements report.Client and is
// safe for concurrent use. Close it.
type Endpoint struct {
	url    string
	host   string // for the log
	signer *standardwebhooks.Webhook
	client *http.Client
	log    *slog.Logger
	now    func() time.Time
}

// New returns an endpoint. It does not connect yet. Its errors are faults of the options;
// they contain neither the URL nor the secret.
func New(o Options) (*Endpoint, error) {
	u, err := CheckURL(o.URL, o.AllowPrivate)
	if err != nil {
		return nil, fmt.Errorf("webhook: url %w", err)
	}
	if err := CheckSecret(o.Secret); err != nil {
		return nil, fmt.Errorf("webhook: secret %w", err)
	}
	signer, err := standardwebhooks.NewWebhook(o.Secret)
	if err != nil {
		return nil, errors.New("webhook: secret is not base64")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !o.AllowPrivate {
		dialer.Control = publicOnly
	}
	return &Endpoint{
		url: o.URL, host: u.Host, signer: signer, log: o.Log, now: o.Now,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:               nil, // a proxy would resolve the name, and publicOnly would see the proxy's address
				DialContext:         dialer.DialContext,
				TLSClientConfig:     &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout: dialTimeout,
				ForceAttemptHTTP2:   true,
				MaxConnsPerHost:     maxConns,
				MaxIdleConnsPerHost: maxConns,
				IdleConnTimeout:     idleTimeout,
				DisableCompression:  true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// CheckURL parses and checks the URL of a webhook. Its errors do not contain the URL.
func CheckURL(text string, allowPrivate bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must be a URL with a host that starts with https://")
	case u.Scheme == "http" && !allowPrivate:
		return nil, errors.New("must start with https://")
	}
	return u, nil
}

// CheckSecret checks a secret. Its errors do not contain the secret.
func CheckSecret(secret string) error {
	text, ok := strings.CutPrefix(secret, SecretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return fmt.Errorf("must be %s and base64 of %d to %d bytes", SecretPrefix, minSecret, maxSecret)
	}
	return nil
}

// Close closes idle connections.
func (e *Endpoint) Close() { e.client.CloseIdleConnections() }

// Deliver makes one attempt; see report.Client. The status 2xx means that the service has
// the report, 410 that it wants no more reports. 429 and 503 with a Retry-After pause all
// reports of the service. Redirects are not followed.
func (e *Endpoint) Deliver(ctx context.Context, r *report.Report) push.Result {
	at := e.now()
	signature, err := e.signer.Sign(r.ID, at, r.Body)
	if err != nil {
		return e.failed("signature", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(r.Body))
	if err != nil {
		return e.failed("url", errors.New("the URL cannot be used"))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "kabar")
	req.Header.Set(standardwebhooks.HeaderWebhookID, r.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	resp, err := e.client.Do(req)
	if err != nil {
		return e.failed(reason(ctx, err), err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // only the status matters
	return e.classify(resp)
}

// classify returns the result of an attempt that was answered.
func (e *Endpoint) classify(resp *http.Response) push.Result {
	code := resp.StatusCode
	result := push.Result{Outcome: push.Later, RetryAfter: e.retryAfter(resp.Header)}
	switch {
	case code >= 200 && code < 300:
		return push.Result{Outcome: push.Accepted}
	case code == http.StatusGone:
		return push.Result{Outcome: push.Forget, Reason: "gone"}
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		result.Reason = "slow_down"
		if result.RetryAfter > 0 {
			result.Outcome = push.SlowDown
		}
	case code < 400:
		result.Reason = "redirect"
	case code < 500:
		result.Reason = "http_4xx"
	default:
		result.Reason = "http_5xx"
	}
	e.log.Debug("a webhook did not take a report", "host", e.host, "status", code)
	return result
}

// retryAfter reads the header Retry-After, in seconds or as a date. It returns 0 when the
// header is missing or malformed, or the date has passed.
func (e *Endpoint) retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(e.now()))
	}
	return 0
}

// failed logs and returns the result of an attempt without an answer. It unwraps a
// url.Error, whose text has the whole URL.
func (e *Endpoint) failed(reason push.Reason, err error) push.Result {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	e.log.Warn("a webhook cannot be reached", "host", e.host, "reason", reason, "error", err)
	return push.Result{Outcome: push.Later, Reason: reason}
}

// reason classifies the error of an attempt without an answer.
func reason(ctx context.Context, err error) push.Reason {
	var timeout net.Error
	var unknown x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errPrivate):
		return "private_address"
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &unknown), errors.As(err, &certificate):
		return "certificate"
	}
	return "connection"
}
