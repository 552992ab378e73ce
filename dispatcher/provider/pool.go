package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// DefaultInFlight is the default of [Options.InFlight].
	DefaultInFlight = 500
	// DefaultPerConn is the default of [Options.PerConn]. It is a little less than
	// the 100 concurrent streams that FCM allows (its SETTINGS frame), since a stream
	// that we reset still counts until the provider has processed the reset.
	DefaultPerConn = 90

	// DefaultTimeout is the default of [Options.Timeout].
	DefaultTimeout = 10 * time.Second

	// maxTries bounds how often one request is sent when the provider does not
	// process it.
	maxTries = 5
)

// ErrClosed is the error of a request through a closed pool.
var ErrClosed = errors.New("the provider's connections are closed")

// Options configure a [Pool]. URL is required.
type Options struct {
	// URL is the provider's address. All requests go to its host and port.
	URL string
	// InFlight bounds the requests in flight; DefaultInFlight when zero.
	InFlight int
	// PerConn bounds the requests in flight on one connection; DefaultPerConn when
	// zero.
	PerConn int
	// Timeout bounds one request on the wire, from its start to the end of the answer;
	// DefaultTimeout when zero. It does not depend on how long the request waited before.
	Timeout time.Duration
	// RootCAs verify the provider's certificate; the system's when nil.
	RootCAs *x509.CertPool
	// Certificate is the client certificate; none when nil.
	Certificate *tls.Certificate
	// PublicOnly refuses addresses outside of the public internet, and uses no proxy. It is
	// for hosts that others choose.
	PublicOnly bool
	// LiteralHeaders sends all headers in full, instead of keeping them in HPACK's dynamic
	// table for later requests. It is for providers whose requests have mostly new headers:
	// each of them would push another one out of the table.
	LiteralHeaders bool
}

// A Pool carries one lane's requests to one provider over HTTP/2, on as few
// connections as the load needs, at most InFlight / PerConn. It is an
// [http.RoundTripper] for an SDK, safe for concurrent use, and differs from an
// [http.Transport] in that
//
//   - a request waits, as long as its context allows, for a place and for a connection that
//     is open and has a free stream; only then [Attempt.Check] is called, and the request is
//     sent with a timeout of its own;
//   - a new connection carries one request until that was answered;
//   - a connection on which a request got no answer, and no other request either in that
//     time, takes no more requests;
//   - a request that the provider did not process (GOAWAY, REFUSED_STREAM; RFC 9113,
//     section 8.7) is sent again at once, after the same wait and check, and no other
//     request is;
//   - the whole answer is read before RoundTrip returns it, so that its body needs no
//     closing, and recorded in the request's [Attempt].
type Pool struct {
	limiter *limiter
	timeout time.Duration
	close   context.CancelFunc
}

// NewPool returns a pool that has no connection yet.
func NewPool(o Options) *Pool {
	if o.InFlight <= 0 {
		o.InFlight = DefaultInFlight
	}
	if o.PerConn <= 0 {
		o.PerConn = DefaultPerConn
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	closed, cancel := context.WithCancel(context.Background())
	return &Pool{limiter: newLimiter(closed, opener(o), o.InFlight, o.PerConn), timeout: o.Timeout, close: cancel}
}

// Close ends waits for a connection, and later requests, with [ErrClosed]. It waits for
// requests in flight, and closes the connections.
func (p *Pool) Close() {
	p.close()
	p.limiter.close()
}

// Warm opens all connections, so that the first pushes need not wait for the handshakes. A
// connection still carries a single push until that was answered. The error joins those of
// the connections that could not be opened.
func (p *Pool) Warm(ctx context.Context) error { return p.limiter.warm(ctx) }

// RoundTrip implements [http.RoundTripper]: it sends the request and reads the whole
// answer, up to 64 KiB of it. Its error is the context's if that ended before the request
// was sent, that of [Attempt.Check], and [ErrClosed] after Close.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	attempt := attemptOf(req.Context())
	attempt.Lost, attempt.Unsent = false, nil
	resp, body, err := p.send(req, attempt)
	attempt.record(resp, body, err)
	if err != nil {
		return nil, err
	}
	resp.Body = http.NoBody
	if len(body) > 0 {
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	return resp, nil
}

// send sends the request until the provider has, or may have, processed it. When it
// returns both a response and an error, the body broke off.
func (p *Pool) send(req *http.Request, attempt *Attempt) (*http.Response, []byte, error) {
	ctx := req.Context()
	header := attempt.authorize(req.Header)
	body := req.Body
	for tries := 1; ; tries++ {
		permission, err := p.limiter.acquire(ctx)
		if err == nil {
			if err = attempt.check(ctx); err != nil {
				p.limiter.release(permission, unused)
			}
		}
		if err != nil {
			if body != nil {
				body.Close()
			}
			return nil, nil, err
		}
		resp, answer, err := p.roundTrip(permission, req, header, body, attempt.Cancel)
		result := resultOf(err)
		p.limiter.release(permission, result)
		if result == answered || result == lost {
			attempt.Lost = result == lost
			return resp, answer, err
		}
		if tries == maxTries {
			return nil, nil, errUnprocessed
		}
		if body, err = rewind(req); err != nil {
			return nil, nil, err
		}
	}
}

// roundTrip sends the request on the permission's connection and reads the answer's body.
// It has the pool's timeout, and ends with the request's context only if cancel is set.
func (p *Pool) roundTrip(to permission, req *http.Request, header http.Header, body io.ReadCloser, cancel bool) (*http.Response, []byte, error) {
	ctx := req.Context()
	if !cancel {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, end := context.WithTimeout(ctx, p.timeout)
	defer end()
	out := req.WithContext(ctx)
	out.Header, out.Body = header, body
	resp, err := to.conn.cc.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.ContentLength == 0 {
		return resp, nil, nil
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp, answer, err
}

// rewind returns the request's body from the start again.
func rewind(req *http.Request) (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, nil
	}
	if req.GetBody == nil {
		return nil, errUnprocessed
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("send again: %w", err)
	}
	return body, nil
}
