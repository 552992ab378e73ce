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
	// A connection that has been silent for pingAfter is asked whether it is
	// alive, and closed when it does not say so within pingTimeout. Both together
	// are no longer than an attempt's deadline.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// writeTimeout closes a connection that takes no more bytes.
	writeTimeout = 10 * time.Second
)

var (
	// errNoConnection: the request would have needed a new connection, and had no
	// permit to dial one. Nothing of it was sent.
	errNoConnection = errors.New("the connection takes no more requests")
	// errUnprocessed: the provider certainly did not process the request.
	errUnprocessed = errors.New("the provider did not process the request")
)

// newTransport returns a transport that keeps to one connection: it dials none
// unless the request has a permit, so that only a slot's probe opens one. (If a
// provider allows fewer streams than the slot's bound, a probe adds a second
// connection to the first, and so on until the streams suffice.)
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

// A permit lets a request dial one connection.
type permit struct{ used atomic.Bool }

type permitKey struct{}

func withPermit(ctx context.Context) context.Context {
	return context.WithValue(ctx, permitKey{}, new(permit))
}

// dial opens a connection for a request that has a permit. The transport calls
// it with the values of the request's context but without its end, so that a
// connection that one request gave up on serves the next; Close ends it.
func (p *Pool) dial(ctx context.Context, network, address string) (net.Conn, error) {
	permit, _ := ctx.Value(permitKey{}).(*permit)
	if permit == nil || !permit.used.CompareAndSwap(false, true) {
		return nil, errNoConnection
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.closed, cancel)()
	return p.dialer.DialContext(ctx, network, address)
}

// refuseReplay is the GetBody of every request. The HTTP/2 transport asks for the
// body again exactly when it knows that the provider did not process the request
// (a GOAWAY before it, REFUSED_STREAM), and would send it again at once, past the
// gate. This makes it return errUnprocessed instead.
func refuseReplay() (io.ReadCloser, error) { return nil, errUnprocessed }
