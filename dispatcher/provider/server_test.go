package provider

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A server speaks HTTP/2 frame by frame, so that a test decides when streams are refused,
// limits rise, and connections get GOAWAY.
type server struct {
	url         string
	roots       *x509.CertPool
	certificate tls.Certificate // its own certificate

	t       *testing.T
	streams uint32        // how many streams a new connection allows
	greet   chan struct{} // no connection gets anything over HTTP/2 until it is closed; unless nil
	serve   func(*conn, uint32)

	accepted atomic.Int32 // number of connections, including those that sent nothing
	mu       sync.Mutex
	conns    []*conn
	wg       sync.WaitGroup
}

// newServer starts a server. A new connection allows the given number of streams. serve is
// called for every request, in one goroutine per connection.
func newServer(t *testing.T, streams uint32, serve func(c *conn, stream uint32)) *server {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil) // only its certificate is used
	borrowed.Close()
	s := &server{t: t, streams: streams, serve: serve, roots: x509.NewCertPool()}
	s.roots.AddCert(borrowed.Certificate())
	s.certificate = borrowed.TLS.Certificates[0]
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: borrowed.TLS.Certificates,
		NextProtos:   []string{"h2"},
		ClientAuth:   tls.RequestClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.url = "https://" + l.Addr().String()
	s.wg.Go(func() {
		for n := 1; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			s.wg.Go(func() { s.talk(nc, n) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		for _, c := range s.connections() {
			c.nc.Close()
		}
		s.wg.Wait()
	})
	return s
}

// connections returns all connections that were ever opened.
func (s *server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*conn(nil), s.conns...)
}

func (s *server) talk(nc net.Conn, n int) {
	defer nc.Close()
	c := &conn{n: n, nc: nc, fr: http2.NewFramer(nc, nc)}
	c.enc = hpack.NewEncoder(&c.block)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil {
		return
	}
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	if s.greet != nil {
		<-s.greet
	}
	c.allow(s.streams)
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.write(func() { c.fr.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			c.write(func() { c.fr.WritePing(true, f.Data) })
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				s.serve(c, f.StreamID)
			}
		case *http2.DataFrame:
			c.mu.Lock()
			c.body = append([]byte(nil), f.Data()...)
			c.mu.Unlock()
			if f.StreamEnded() {
				s.serve(c, f.StreamID)
			}
		}
	}
}

// A conn is the server's end of a connection. Its methods may be called by any
// goroutine.
type conn struct {
	n  int // 1 for the first connection
	nc net.Conn

	mu    sync.Mutex
	fr    *http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
	body  []byte // body of the last request
}

func (c *conn) write(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// answer ends a stream with a status and a body.
func (c *conn) answer(stream uint32, status int, body string) {
	c.write(func() {
		c.block.Reset()
		c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
		c.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: stream, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: body == "",
		})
		if body != "" {
			c.fr.WriteData(stream, true, []byte(body))
		}
	})
}

// allow announces how many concurrent streams the connection allows.
func (c *conn) allow(streams uint32) {
	c.write(func() {
		c.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: streams})
	})
}

// everything is the last stream of a GOAWAY that leaves no request unprocessed.
const everything = 1<<31 - 1

// goAway announces that no stream after last was or will be processed.
func (c *conn) goAway(last uint32) {
	c.write(func() { c.fr.WriteGoAway(last, http2.ErrCodeNo, nil) })
}

// reset ends a stream with an error.
func (c *conn) reset(stream uint32, code http2.ErrCode) {
	c.write(func() { c.fr.WriteRSTStream(stream, code) })
}
