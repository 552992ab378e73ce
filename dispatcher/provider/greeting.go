package provider

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync/atomic"
)

// A greeting notices when the provider answers the HTTP/2 preface of a new connection, which
// net/http does not tell. The provider must acknowledge our SETTINGS (RFC 9113, section
// 6.5.3), so that something arrives after the TLS handshake before any request is sent.
type greeting struct {
	state atomic.Int32  // one of the constants below
	heard chan struct{} // has room for one; gets one when the state becomes heard
}

const (
	handshaking int32 = iota // TCP, a proxy or TLS
	greeted                  // TLS is done; what arrives now is HTTP/2
	heard                    // something has arrived
)

type greetingKey struct{}

// with returns a context for opening a connection whose greeting is g.
func (g *greeting) with(ctx context.Context) context.Context {
	g.heard = make(chan struct{}, 1)
	ctx = context.WithValue(ctx, greetingKey{}, g)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() { g.state.Store(handshaking) }, // a second time within a proxy's TLS
		TLSHandshakeDone:  func(tls.ConnectionState, error) { g.state.Store(greeted) },
	})
}

// wait returns when the provider has answered, or with the error of ctx. Call it when
// net/http has sent the preface.
func (g *greeting) wait(ctx context.Context) error {
	for g.state.Load() != heard {
		select {
		case <-g.heard:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// read notes that something has arrived.
func (g *greeting) read() {
	if g.state.CompareAndSwap(greeted, heard) {
		select {
		case g.heard <- struct{}{}:
		default:
		}
	}
}

// greetedBy returns a function that opens the TCP connection of a greeting with a dialer.
func greetedBy(dialer *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if g, ok := ctx.Value(greetingKey{}).(*greeting); ok && err == nil {
			return &watchedConn{gather(c), g}, nil
		}
		return c, err
	}
}

// A watchedConn tells its greeting what arrives.
type watchedConn struct {
	net.Conn
	greeting *greeting
}

// Read implements [net.Conn].
func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.greeting.read()
	}
	return n, err
}
