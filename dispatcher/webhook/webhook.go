// Package webhook delivers reports to services by HTTP POST, signed according to the
// Standard Webhooks specification
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
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

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
)

// SecretPrefix is the prefix of a signing secret; the base64 of its 24 to 64 bytes
// follows.
const SecretPrefix = "whsec_"

const (
	minSecret, maxSecret = 24, 64 // bytes, according to the specification
	dialTimeout          = 5 * time.Second
	idleTimeout          = 90 * time.Second
	maxConns             = 16
	maxBody              = 64 << 10 // bytes of an answer's body that are read, so that the connection can be reused
)

// Options configure a [Client]. URL and Secret are required.
type Options struct {
	// URL is where reports are posted; see [CheckURL].
	URL string
	// Secret signs the reports; see [CheckSecret].
	Secret string
	// AllowPrivate allows http URLs and addresses outside of the public internet, such
	// as private, loopback and link-local ones.
	AllowPrivate bool
	// RootCAs verify the service's certificate; the system's when nil.
	RootCAs *x509.CertPool
	// Log receives the reasons of failed attempts, without secrets, bodies or the paths
	// of URLs; nothing is logged when nil.
	Log *slog.Logger
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Client delivers reports to one service's webhook. It implements [report.Client] and
// is safe for concurrent use. It must be closed.
type Client struct {
	url    string
	host   string // for the log
	signer *standardwebhooks.Webhook
	client *http.Client
	log    *slog.Logger
	now    func() time.Time
}

// New returns a client that has no connection yet. It fails if the URL or the secret is
// invalid; its errors contain neither.
func New(o Options) (*Client, error) {
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
		dialer.Control = provider.PublicOnly
	}
	return &Client{
		url: o.URL, host: u.Host, signer: signer, log: o.Log, now: o.Now,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:               nil, // a proxy would resolve names, unseen by PublicOnly
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

// CheckURL parses the URL of a webhook. It must be absolute, with https, or with http if
// allowPrivate is true. The errors do not contain it.
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

// CheckSecret returns an error unless secret is [SecretPrefix] and the base64 of 24 to 64
// bytes. The error does not contain it.
func CheckSecret(secret string) error {
	text, ok := strings.CutPrefix(secret, SecretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return fmt.Errorf("must be %s and base64 of %d to %d bytes", SecretPrefix, minSecret, maxSecret)
	}
	return nil
}

// Close closes idle connections. Call it when no attempt is in flight.
func (c *Client) Close() { c.client.CloseIdleConnections() }

// Deliver makes one attempt to post a report, until ctx ends; see [report.Client]. A status
// of 2xx is Accepted and 410 is Forget. 429 and 503 with a Retry-After header are
// SlowDown. Everything else, redirects included, is Later.
func (c *Client) Deliver(ctx context.Context, r *report.Report) push.Result {
	at := c.now()
	signature, err := c.signer.Sign(r.ID, at, r.Body)
	if err != nil {
		return c.failed("signature", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(r.Body))
	if err != nil {
		return c.failed("url", errors.New("the URL cannot be used"))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "kabar")
	req.Header.Set(standardwebhooks.HeaderWebhookID, r.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	resp, err := c.client.Do(req)
	if err != nil {
		return c.failed(reason(ctx, err), err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody) // only the status matters
	return c.classify(resp)
}

// classify returns the result of an answer.
func (c *Client) classify(resp *http.Response) push.Result {
	code := resp.StatusCode
	result := push.Result{Outcome: push.Later, RetryAfter: provider.ParseRetryAfter(resp.Header, c.now())}
	switch {
	case code >= 200 && code < 300:
		return push.Result{Outcome: push.Accepted}
	case code == http.StatusGone:
		return push.Result{Outcome: push.Refused, Reason: "gone"}
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
	c.log.Debug("a webhook did not accept a report", "host", c.host, "status", code)
	return result
}

// failed logs an attempt without an answer and returns its result. It unwraps a url.Error,
// whose text contains the whole URL.
func (c *Client) failed(reason push.Reason, err error) push.Result {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	c.log.Warn("a webhook cannot be reached", "host", c.host, "reason", reason, "error", err)
	return push.Result{Outcome: push.Later, Reason: reason}
}

// reason classifies the error of a request without an answer.
func reason(ctx context.Context, err error) push.Reason {
	var timeout net.Error
	var unknown x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, provider.ErrPrivate):
		return "private_address"
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &unknown), errors.As(err, &certificate):
		return "certificate"
	}
	return "connection"
}
