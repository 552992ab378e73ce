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
	// DefaultInFlight is the bound of requests under way in a pool.
	DefaultInFlight = 500
	// DefaultPerConn is the bound of requests under way on one connection. It is
	// a little less than the 100 streams that FCM allows, since a stream that was
	// reset counts until the provider confirms that.
	DefaultPerConn = 90

	// maxTries bounds how often one request is sent anew because the provider
	// did not process it.
	maxTries = 5
)

// ErrClosed is the error of a request to a closed pool.
var ErrClosed = errors.New("the provider's connections are closed")

// Options describe a Pool.
type Options struct {
	// URL is the provider's address. Only Warm uses it, and of it only scheme,
	// host and port: requests name their own.
	URL string
	// InFlight bounds the requests under way; DefaultInFlight when zero.
	InFlight int
	// PerConn bounds the requests under way on one connection; DefaultPerConn
	// when zero.
	PerConn int
	// RootCAs verify the provider; the system's when nil.
	RootCAs *x509.CertPool
	// Certificate, unless nil, is what the provider knows us by.
	Certificate *tls.Certificate
}

// A Pool carries one lane's requests to one provider over HTTP/2, on as few
// connections as the load needs, at most InFlight / PerConn. It is an
// [http.RoundTripper] for an SDK, safe for concurrent use, and differs from an
// [http.Transport] in that
//
//   - requests in flight are bounded, and a request that finds no room waits
//     until its context ends;
//   - a new connection takes one request, and more only when that was answered;
//   - what the provider did not process (GOAWAY, REFUSED_STREAM) is sent again at
//     once, within the same bounds, and nothing else is;
//   - answers are read whole before they are handed on, so that their bodies need
//     no closing, and recorded in the request's [Attempt].
type Pool struct {
	url    string
	gate   *gate
	conns  []*http.Transport
	dialer net.Dialer
	closed context.Context
	close  context.CancelFunc
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
	p.gate = newGate(slots, o.InFlight, o.PerConn)
	return p
}

// Close closes the connections and ends dials. Requests under way are left to
// their contexts: call it when there are none.
func (p *Pool) Close() {
	p.close()
	for _, t := range p.conns {
		t.CloseIdleConnections()
	}
}

// Warm opens all connections, with the TLS and HTTP/2 handshakes that a first
// push would otherwise wait for, by asking for the provider's root page. The
// answer does not matter, and does not count as the first answer of a
// connection.
func (p *Pool) Warm(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.url, nil)
	if err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	req.URL.Path, req.URL.RawQuery = "/", ""

	errs := make(chan error, len(p.conns))
	for _, t := range p.conns {
		go func() {
			resp, err := t.RoundTrip(req.WithContext(withPermit(ctx)))
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

// RoundTrip sends the request and reads the whole answer. Its error is the
// context's when that ended first.
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

// send tries until the provider has processed the request, or may have. The
// response it returns with an error is one whose body broke off.
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
		e, err := p.gate.enter(ctx)
		if err != nil {
			closeBody(out)
			return nil, nil, err
		}
		resp, body, err := e.roundTrip(out)
		switch {
		case resp != nil:
			p.gate.leave(e, answered)
		case ctx.Err() != nil:
			p.gate.leave(e, undecided)
			err = ctx.Err()
		default:
			p.gate.leave(e, lost)
		}
		turnedAway := errors.Is(err, errNoConnection)
		if !turnedAway || e.probe {
			tries++ // it used the connection, or dialled one
		}
		again := turnedAway || errors.Is(err, errUnprocessed)
		if !again || tries == maxTries || ctx.Err() != nil {
			return resp, body, err
		}
		if out, err = rewind(out, req); err != nil {
			return nil, nil, err
		}
	}
}

// roundTrip sends the request on the entry's connection.
func (e entry) roundTrip(req *http.Request) (*http.Response, []byte, error) {
	if e.probe {
		req = req.WithContext(withPermit(req.Context()))
	}
	resp, err := e.slot.conn.RoundTrip(req)
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

// rewind returns sent with a fresh body of the original.
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
