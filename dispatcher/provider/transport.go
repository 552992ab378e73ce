package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	// A connection that received nothing for pingAfter is sent a PING frame, and
	// closed when it is not answered within pingTimeout. Both together are no longer
	// than an attempt's deadline.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// writeTimeout closes a connection on which nothing can be written for so long.
	writeTimeout = 10 * time.Second
)

var (
	// errNoConnection means that the request needed a new connection and had no
	// permit to dial one. Nothing was sent.
	errNoConnection = errors.New("the connection takes no more requests")
	// errUnprocessed means that the provider certainly did not process the request.
	errUnprocessed = errors.New("the provider did not process the request")
)

// newTransport returns a transport for one slot's connection. It dials only for requests
// with a permit, which are the slot's probes. (If a provider allows fewer streams than
// the slot's bound, another probe adds a second connection, and so on until there are
// enough streams.)
func (p *Pool) newTransport(o Options) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	config := &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}
	if o.Certificate != nil {
		config.Certificates = []tls.Certificate{*o.Certificate}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         p.dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: handshakeTimeout,
		DisableCompression:  true,
		Protocols:           &protocols,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  pingAfter,
			PingTimeout:      pingTimeout,
			WriteByteTimeout: writeTimeout,
		},
	}
}

// A dialPermit lets a request dial one connection.
type dialPermit struct{ used atomic.Bool }

type dialPermitKey struct{}

func withDialPermit(ctx context.Context) context.Context {
	return context.WithValue(ctx, dialPermitKey{}, new(dialPermit))
}

// dial opens a connection for a request that has a permit. The transport gives it the
// values of the request's context but not its cancellation, so that the connection can
// serve the next request; Close cancels it.
func (p *Pool) dial(ctx context.Context, network, address string) (net.Conn, error) {
	permit, _ := ctx.Value(dialPermitKey{}).(*dialPermit)
	if permit == nil || !permit.used.CompareAndSwap(false, true) {
		return nil, errNoConnection
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.closed, cancel)()
	return p.dialer.DialContext(ctx, network, address)
}

// refuseReplay is the GetBody of every request. The HTTP/2 transport calls GetBody
// exactly when it knows that the provider did not process the request (GOAWAY with a
// lower stream id, or REFUSED_STREAM), to send it again without asking the limiter. The
// error makes it return errUnprocessed instead.
func refuseReplay() (io.ReadCloser, error) { return nil, errUnprocessed }
