package live

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

// BenchmarkIdleSocket reports the heap and stack memory that an idle socket uses in this
// process, and the same for a bare coder/websocket server. The clients are plain
// connections, which use almost none of it. kabar-bench measures resident memory, with the
// clients in a separate process.
func BenchmarkIdleSocket(b *testing.B) {
	b.Run("kabar", func(b *testing.B) {
		p := newWorld(b).start()
		measureIdle(b, p.url, p.sockets.Load)
	})
	b.Run("bare", func(b *testing.B) {
		var open atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}})
			if err != nil {
				b.Error(err)
				return
			}
			open.Add(1)
			go func() {
				defer ws.CloseNow()
				_, _, _ = ws.Read(context.Background()) // returns when the connection ends
				open.Add(-1)
			}()
		}))
		b.Cleanup(s.Close)
		measureIdle(b, s.URL, open.Load)
	})
}

func measureIdle(b *testing.B, address string, open func() int64) {
	const sockets = 2000
	for b.Loop() {
		before := kept()
		var conns []net.Conn
		for i := range sockets {
			conns = append(conns, dialPlain(b, address, i+1))
		}
		eventually(b, "open", func() bool { return open() == sockets })
		b.ReportMetric(float64(kept()-before)/sockets/1024, "KiB/socket")
		for _, c := range conns {
			c.Close()
		}
		eventually(b, "closed", func() bool { return open() == 0 })
	}
}

// kept returns the bytes of heap and stacks in use.
func kept() int64 {
	runtime.GC()
	runtime.GC() // frees what finalizers and pools have released
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// dialPlain opens a websocket over a connection without buffers and reads the first data.
func dialPlain(b *testing.B, address string, user int) net.Conn {
	b.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		b.Fatal(err)
	}
	_, err = fmt.Fprintf(c, "GET /?user=%d HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
		user, u.Host, Subprotocol)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 4096)); err != nil {
		b.Fatal(err)
	}
	return c
}
