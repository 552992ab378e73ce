package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
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

	// maxTries bounds how often one request is sent when the provider does not
	// process it.
	maxTries = 5
)

// ErrClosed is the error of a request through a closed pool.
var ErrClosed = errors.New("the provider's connections are closed")

// Options configure a [Pool]. URL is required.
type Options struct {
	// URL is the provider's address. Only Warm uses it, and only its scheme, host
	// and port: requests bring their own URL.
	URL string
	// InFlight bounds the requests in flight; DefaultInFlight when zero.
	InFlight int
	// PerConn bounds the requests in flight on one connection; DefaultPerConn when
	// zero.
	PerConn int
	// RootCAs verify the provider's certificate; the system's when nil.
	RootCAs *x509.CertPool
	// Certificate is the client certificate; none when nil.
	Certificate *tls.Certificate
}

// A Pool carries one lane's requests to one provider over HTTP/2, on as few
// connections as the load needs, at most InFlight / PerConn. It is an
// [http.RoundTripper] for an SDK, safe for concurrent use, and differs from an
// [http.Transport] in that
//
//   - requests in flight are bounded, and a request above the bound waits until
//     another one ends or its context does;
//   - a new connection carries one request until that was answered;
//   - a request that the provider did not process (GOAWAY, REFUSED_STREAM; RFC 9113,
//     section 8.7) is sent again at once, within the same bounds, and no other
//     request is;
//   - the whole answer is read before RoundTrip returns it, so that its body needs no
//     closing, and recorded in the request's [Attempt].
type Pool struct {
	url     string
	limiter *limiter
	conns   []*http.Transport
	dialer  net.Dialer
	closed  context.Context
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
	p := &Pool{url: o.URL, dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}}
	p.closed, p.close = context.WithCancel(context.Background())

	var slots []http.RoundTripper
	for range (o.InFlight + o.PerConn - 1) / o.PerConn {
		t := p.newTransport(o)
		p.conns = append(p.conns, t)
		slots = append(slots, t)
	}
	p.limiter = newLimiter(slots, o.InFlight, o.PerConn)
	return p
}

// Close closes the idle connections and cancels dials; later requests fail with
// [ErrClosed]. It does not end requests in flight: call it when there are none.
func (p *Pool) Close() {
	p.close()
	for _, t := range p.conns {
		t.CloseIdleConnections()
	}
}

// Warm opens all connections with a HEAD request for the provider's root, so that the
// first pushes need not wait for the TLS and HTTP/2 handshakes. The answers do not
// matter: a connection still carries a single push until that was answered. The error
// joins those of the connections that could not be opened.
func (p *Pool) Warm(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.url, nil)
	if err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	req.URL.Path, req.URL.RawQuery = "/", ""

	errs := make(chan error, len(p.conns))
	for _, t := range p.conns {
		go func() {
			resp, err := t.RoundTrip(req.WithContext(withDialPermit(ctx)))
			if err == nil {
				resp.Body.Close()
			}
			errs <- err
		}()
	}
	for range p.conns {
		err = errors.Join(err, <-errs)
	}
	return err
}

// RoundTrip implements [http.RoundTripper]: it sends the request and reads the whole
// answer, up to 64 KiB of it. Its error is the context's if that ended first, and
// [ErrClosed] after Close.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	attempt := attemptOf(req.Context())
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
	out := req.WithContext(ctx)
	out.Header = attempt.authorize(req.Header)
	out.GetBody = refuseReplay
	for tries := 0; ; {
		if p.closed.Err() != nil {
			closeBody(out)
			return nil, nil, ErrClosed
		}
		permission, err := p.limiter.acquire(ctx)
		if err != nil {
			closeBody(out)
			return nil, nil, err
		}
		resp, body, err := permission.roundTrip(out)
		switch {
		case resp != nil:
			p.limiter.release(permission, answered)
		case ctx.Err() != nil:
			p.limiter.release(permission, unknown)
			err = ctx.Err()
		default:
			p.limiter.release(permission, lost)
		}
		unsent := errors.Is(err, errNoConnection)
		if !unsent || permission.probe {
			tries++ // the request used the connection, or dialled one
		}
		again := unsent || errors.Is(err, errUnprocessed)
		if !again || tries == maxTries || ctx.Err() != nil {
			return resp, body, err
		}
		if out, err = rewind(out, req); err != nil {
			return nil, nil, err
		}
	}
}

// roundTrip sends the request on the permission's connection and reads the answer's
// body.
func (p permission) roundTrip(req *http.Request) (*http.Response, []byte, error) {
	if p.probe {
		req = req.WithContext(withDialPermit(req.Context()))
	}
	resp, err := p.slot.conn.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	if resp.ContentLength == 0 {
		resp.Body.Close()
		return resp, nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	resp.Body.Close()
	return resp, body, err
}

// rewind returns the request with its body from the start again.
func rewind(sent, original *http.Request) (*http.Request, error) {
	if original.Body == nil || original.Body == http.NoBody {
		return sent, nil
	}
	if original.GetBody == nil {
		return nil, errUnprocessed
	}
	body, err := original.GetBody()
	if err != nil {
		return nil, fmt.Errorf("send again: %w", err)
	}
	fresh := sent.WithContext(sent.Context())
	fresh.Body = body
	return fresh, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
