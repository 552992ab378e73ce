package edge

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

const waitTimeout = time.Minute

// A gate is a server with limited connections. /wait answers when the test says go, /socket
// takes the connection over and echoes.
type gate struct {
	t           *testing.T
	connections *Connections
	address     string
	goOn        chan bool
	registry    *prometheus.Registry
	log         *strings.Builder
	accepting   atomic.Int64 // calls of Accept: one more than connections that were dealt with
}

// A counted listener counts the calls of Accept.
type counted struct {
	net.Listener
	accepting *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	l.accepting.Add(1)
	return l.Listener.Accept()
}

func newGate(t *testing.T, limits Limits, trusted ...string) *gate {
	t.Helper()
	if l, err := net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Skipf("this machine has no further loopback addresses to connect from: %v", err)
	} else {
		l.Close()
	}
	g := &gate{t: t, goOn: make(chan bool), registry: prometheus.NewRegistry(), log: &strings.Builder{}}
	var proxies Proxies
	for _, text := range trusted {
		proxies.Networks = append(proxies.Networks, netip.MustParsePrefix(text))
	}
	g.connections = NewConnections(Options{
		Limits: limits, Proxies: proxies, Metrics: g.registry, Log: slog.New(slog.NewTextHandler(g.log, nil)),
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	mux.HandleFunc("/wait", func(http.ResponseWriter, *http.Request) { <-g.goOn })
	mux.HandleFunc("/socket", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		_, _ = io.Copy(conn, conn)
	})
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if by := Refused(r.Context()); by != "" {
				w.Header().Set("Connection", "close")
				http.Error(w, by, http.StatusTooManyRequests)
				return
			}
			mux.ServeHTTP(w, r)
		}),
		ConnState: g.connections.ConnState, ConnContext: g.connections.ConnContext,
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.address = l.Addr().String()
	served := make(chan bool)
	go func() { _ = server.Serve(g.connections.Listen(counted{l, &g.accepting})); close(served) }()
	g.until("it accepts", func(*Connections) bool { return g.accepting.Load() > 0 })
	t.Cleanup(func() {
		close(g.goOn)
		server.Close()
		<-served
		g.until("nobody is left", func(cs *Connections) bool {
			return cs.all.len() == 0 && len(cs.addresses) == 0 && cs.sockets == 0 && cs.refusing == 0
		})
	})
	return g
}

// until waits until the connections are as met says.
func (g *gate) until(what string, met func(cs *Connections) bool) {
	g.t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(waitTimeout)
	defer tick.Stop()
	for {
		g.connections.mu.Lock()
		is := met(g.connections)
		g.connections.mu.Unlock()
		if is {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			g.t.Fatal(what, ": not after ", waitTimeout)
		}
	}
}

// idle counts the idle connections.
func idle(cs *Connections) int {
	n := 0
	for e := cs.all.all.Front(); e != cs.all.mark; e = e.Next() {
		n++
	}
	return n
}

// A client is one connection.
type client struct {
	net.Conn
	g  *gate
	in *bufio.Reader
}

// connect connects from an address of this machine, and waits until the server knows.
func (g *gate) connect(from string) *client {
	g.t.Helper()
	before := g.accepting.Load()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: waitTimeout}
	conn, err := d.DialContext(g.t.Context(), "tcp", g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(waitTimeout)); err != nil {
		g.t.Fatal(err)
	}
	g.until("the connection is accepted", func(*Connections) bool { return g.accepting.Load() > before })
	return &client{Conn: conn, g: g, in: bufio.NewReader(conn)}
}

func (c *client) send(path string) {
	c.g.t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: kabar\r\n\r\n", path); err != nil {
		c.g.t.Fatal(err)
	}
}

// get returns the status and the body of an answer.
func (c *client) get(path string) (int, string) {
	c.g.t.Helper()
	c.send(path)
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.g.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.g.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

// ended reports that the server has closed the connection.
func (c *client) ended() bool {
	_, err := c.in.ReadByte()
	return err != nil
}

// count returns a metric.
func (g *gate) count(name, by string) float64 {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (by == "" || m.GetLabel()[0].GetValue() == by) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// An address that opens one connection too many loses the one that has been idle for the
// longest time, and nobody else loses any.
func TestIdleConnectionsOfAnAddress(t *testing.T) {
	g := newGate(t, Limits{PerAddress: 3})
	other := g.connect("127.0.0.2")
	first, second, third := g.connect("127.0.0.3"), g.connect("127.0.0.3"), g.connect("127.0.0.3")
	if status, _ := first.get("/"); status != 200 { // so that the second has been idle for the longest time
		t.Fatal(status)
	}
	g.until("the first is idle again", func(cs *Connections) bool {
		return cs.all.mark.Prev().Value.(*connection).RemoteAddr().String() == first.LocalAddr().String()
	})
	fourth := g.connect("127.0.0.3")
	if !second.ended() {
		t.Error("the second is open")
	}
	for name, c := range map[string]*client{"other": other, "first": first, "third": third, "fourth": fourth} {
		if status, body := c.get("/"); status != 200 || body != "fine" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if n := g.count("kabar_connections_closed_total", "address"); n != 1 {
		t.Errorf("%v were closed", n)
	}
	if n := g.count("kabar_connections", ""); n != 4 {
		t.Errorf("%v are open", n)
	}
	if !strings.Contains(g.log.String(), "trusted_proxies.cidrs") || strings.Count(g.log.String(), "\n") != 1 {
		t.Errorf("log %s", g.log)
	}
}

// A request under way is never cut off: while there is nothing idle to close, a new
// connection is refused, and told so.
func TestBusyConnectionsStay(t *testing.T) {
	g := newGate(t, Limits{PerAddress: 2})
	one, two := g.connect("127.0.0.3"), g.connect("127.0.0.3")
	one.send("/wait")
	two.send("/wait")
	g.until("both are busy", func(cs *Connections) bool { return idle(cs) == 0 })
	late := g.connect("127.0.0.3")
	if status, body := late.get("/"); status != 429 || body != "address" || !late.ended() {
		t.Errorf("one too many: %d %s", status, body)
	}
	if status, _ := g.connect("127.0.0.2").get("/"); status != 200 {
		t.Errorf("another address: %d", status)
	}
	g.goOn <- true
	g.goOn <- true
	g.until("all are idle again", func(cs *Connections) bool { return idle(cs) == 3 })
	if status, _ := g.connect("127.0.0.3").get("/"); status != 200 {
		t.Errorf("later: %d", status)
	}
	if n := g.count("kabar_connections_refused_total", "address"); n != 1 {
		t.Errorf("%v were refused", n)
	}
}

// The connections of a trusted proxy are those of everybody.
func TestTrustedProxiesAreNotLimited(t *testing.T) {
	g := newGate(t, Limits{PerAddress: 1, Total: 4}, "127.0.0.9/32")
	var all []*client
	for range 4 {
		all = append(all, g.connect("127.0.0.9"))
	}
	for _, c := range all {
		if status, _ := c.get("/"); status != 200 {
			t.Error(status)
		}
	}
	g.until("all are idle", func(cs *Connections) bool { return idle(cs) == 4 })
	g.connect("127.0.0.9")
	if n := g.count("kabar_connections_closed_total", "total"); n != 1 {
		t.Errorf("%v were closed", n)
	}
}

func TestIdleConnectionsInAll(t *testing.T) {
	g := newGate(t, Limits{Total: 2})
	first, second := g.connect("127.0.0.2"), g.connect("127.0.0.3")
	third := g.connect("127.0.0.4")
	if !first.ended() {
		t.Error("the first is open")
	}
	for _, c := range []*client{second, third} {
		if status, _ := c.get("/"); status != 200 {
			t.Error(status)
		}
	}
}

// Live sockets count for the open files alone, and are never closed to make room.
func TestOpenFiles(t *testing.T) {
	g := newGate(t, Limits{PerAddress: 1, Total: 1, Files: 2})
	socket := g.connect("127.0.0.3")
	if status, _ := socket.get("/socket"); status != 101 {
		t.Fatal(status)
	}
	idleOne := g.connect("127.0.0.3")
	if status, _ := idleOne.get("/socket"); status != 101 {
		t.Fatal(status)
	}
	late := g.connect("127.0.0.4")
	if status, body := late.get("/"); status != 429 || body != "files" {
		t.Errorf("with two sockets: %d %s", status, body)
	}
	idleOne.Close()
	g.until("one socket is left", func(cs *Connections) bool { return cs.sockets == 1 })
	g.until("nobody is refused any more", func(cs *Connections) bool { return cs.refusing == 0 })
	if status, _ := g.connect("127.0.0.4").get("/"); status != 200 {
		t.Errorf("with one socket: %d", status)
	}
	if _, err := fmt.Fprint(socket, "x"); err != nil || socket.ended() {
		t.Errorf("the socket was closed: %v", err)
	}
}

// So many connections can be refused at once with an answer; more are closed.
func TestManyRefusals(t *testing.T) {
	g := newGate(t, Limits{Total: 1})
	g.connect("127.0.0.2").send("/wait")
	g.until("it is busy", func(cs *Connections) bool { return cs.all.len() == 1 && idle(cs) == 0 })
	for range maxRefusals {
		g.connect("127.0.0.3")
	}
	if last := g.connect("127.0.0.3"); !last.ended() {
		t.Error("the last is open")
	}
	g.until("the others wait for their answer", func(cs *Connections) bool { return cs.refusing == maxRefusals })
	if n := g.count("kabar_connections_refused_total", "total"); n != maxRefusals+1 {
		t.Errorf("%v were refused", n)
	}
}

func TestReserve(t *testing.T) {
	for files, want := range map[uint64]uint64{128: 128, 256: 128, 1024: 256, 4096: 1024, 1 << 20: 4096} {
		if got := reserve(files); got != want {
			t.Errorf("of %d: %d, want %d", files, got, want)
		}
	}
	if n := FileLimit(); n < 0 {
		t.Error(n)
	}
}
