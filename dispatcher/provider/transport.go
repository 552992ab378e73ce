package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http2"
)

const (
	// openTimeout bounds the opening of a connection: TCP, a proxy if there is one, TLS,
	// HTTP/2.
	openTimeout = 10 * time.Second
	// A connection that received nothing for pingAfter is sent a PING frame, and
	// closed when it is not answered within pingTimeout.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// writeTimeout closes a connection on which nothing can be written for so long.
	writeTimeout = 10 * time.Second
)

// keepAlive is the interval of TCP's probes on an idle connection.
const keepAlive = 15 * time.Second

// errUnprocessed means that the provider certainly did not process the request.
var errUnprocessed = errors.New("the provider did not process the request")

// newTransport returns the transport that opens the pool's connections.
func newTransport(o Options) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	config := &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}
	if o.Certificate != nil {
		config.Certificates = []tls.Certificate{*o.Certificate}
	}
	h2 := &http.HTTP2Config{
		SendPingTimeout:  pingAfter,
		PingTimeout:      pingTimeout,
		WriteByteTimeout: writeTimeout,
	}
	if o.LiteralHeaders {
		h2.MaxEncoderHeaderTableSize = 1 // 0 is the default; no entry has less than 32 bytes
	}
	dialer := &net.Dialer{KeepAlive: keepAlive}
	proxy := http.ProxyFromEnvironment
	if o.PublicOnly {
		dialer.Control = PublicOnly
		proxy = nil // it would resolve names, unseen by PublicOnly
	}
	return &http.Transport{
		Proxy:              proxy,
		DialContext:        greetedBy(dialer),
		TLSClientConfig:    config,
		DisableCompression: true,
		Protocols:          &protocols,
		HTTP2:              h2,
	}
}

// opener returns a function that opens a connection to the provider, through the
// environment's proxy if there is one, and waits until the provider has answered the HTTP/2
// preface. No request is sent on it.
func opener(o Options) func(context.Context) (*http.ClientConn, error) {
	transport := newTransport(o)
	return func(ctx context.Context) (*http.ClientConn, error) {
		u, err := url.Parse(o.URL)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		port := u.Port()
		if port == "" {
			port = "443"
		}
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		var g greeting
		cc, err := transport.NewClientConn(g.with(ctx), "https", net.JoinHostPort(u.Hostname(), port))
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		if err := g.wait(ctx); err != nil {
			cc.Close()
			return nil, fmt.Errorf("connect: no answer over HTTP/2: %w", err)
		}
		return cc, nil
	}
}

// endings are the errors of net/http for a request that the provider did not process since
// its connection got a GOAWAY with a lower stream, or could not be used any more. net/http
// exports neither these errors nor a way to tell them from others; TestGoAway fails if a new
// Go version changes them.
var endings = map[string]bool{
	"http2: Transport received Server's graceful shutdown GOAWAY": true,
	"http2: client conn not usable":                               true,
	"http2: client conn could not be established":                 true,
}

// resultOf returns what the error of a request showed about its connection: refused or gone
// if the provider certainly did not process the request (RFC 9113, section 8.7).
func resultOf(err error) connResult {
	var stream http2.StreamError
	switch {
	case err == nil:
		return answered
	case errors.As(err, &stream) && stream.Code == http2.ErrCodeRefusedStream:
		return refused
	case endings[err.Error()]:
		return gone
	}
	return lost
}
