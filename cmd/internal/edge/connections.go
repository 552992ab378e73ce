package edge

import (
	"container/list"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

const (
	maxRefusals = 64          // refused connections that are being told so
	logInterval = time.Minute // between two lines about the same limit
)

// Limits bound the connections of a process. A limit of 0 is none.
type Limits struct {
	// PerAddress is how many connections without a live socket an address may have (see
	// [Network]), trusted proxies excepted.
	PerAddress int
	// Total is how many connections without a live socket there may be.
	Total int
	// Files is how many connections there may be, those of live sockets included. It keeps
	// the other open files of the process for Redis, providers and the operator's address.
	Files int
}

// Options configure [NewConnections].
type Options struct {
	Limits  Limits
	Proxies Proxies
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Connections limits the connections to a server. A connection is idle until the header of
// a request has arrived, and again when the request is answered. When a limit is reached, a
// new connection takes the place of the one that has been idle for the longest time: of its
// own address if that has reached its limit, else of any. Only when none is idle is the new
// one refused.
//
// Connect it to the server: serve the result of Listen, and set ConnState and ConnContext to
// the methods with these names. Its methods are safe for concurrent use.
type Connections struct {
	limits  Limits
	proxies Proxies
	log     *slog.Logger
	closed  *prometheus.CounterVec // idle ones, by limit
	refused *prometheus.CounterVec // by limit

	logClosed, logRefused map[string]*rate.Sometimes // by limit

	mu        sync.Mutex
	all       *line
	addresses map[netip.Prefix]*line
	sockets   int
	refusing  int
}

// The names of the limits in metrics and in the log.
const (
	byAddress = "address"
	byTotal   = "total"
	byFiles   = "files"
)

// NewConnections returns the limits of one server, without connections.
func NewConnections(o Options) *Connections {
	cs := &Connections{
		limits: o.Limits, proxies: o.Proxies, log: o.Log,
		all: newLine(), addresses: make(map[netip.Prefix]*line),
		logClosed: make(map[string]*rate.Sometimes), logRefused: make(map[string]*rate.Sometimes),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kabar_connections_closed_total",
			Help: "Idle connections closed to make room for new ones, by the limit that was reached.",
		}, []string{"by"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kabar_connections_refused_total",
			Help: "Connections refused because a limit was reached and none was idle, by the limit.",
		}, []string{"by"}),
	}
	for _, by := range []string{byAddress, byTotal, byFiles} {
		cs.closed.WithLabelValues(by)
		cs.refused.WithLabelValues(by)
		cs.logClosed[by] = &rate.Sometimes{First: 1, Interval: logInterval}
		cs.logRefused[by] = &rate.Sometimes{First: 1, Interval: logInterval}
	}
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kabar_connections",
		Help: "Open connections to the public address that are not live sockets.",
	}, cs.plain)
	o.Metrics.MustRegister(cs.closed, cs.refused, open)
	return cs
}

func (cs *Connections) plain() float64 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return float64(cs.all.len())
}

// Listen returns l with the limits.
func (cs *Connections) Listen(l net.Listener) net.Listener { return &listener{l, cs} }

type listener struct {
	net.Listener
	connections *Connections
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, victim, by := l.connections.admit(accepted)
		if victim != nil {
			_ = victim.Close() // its client sees the end
		}
		l.connections.report(by, victim != nil, accepted)
		if c != nil {
			return c, nil
		}
		_ = accepted.Close() // too many others are being refused with an answer
	}
}

// A connection is one to the public address.
type connection struct {
	net.Conn
	connections *Connections
	network     netip.Prefix
	refused     string // the limit that refuses it, or ""

	// The following are guarded by connections.mu.
	inAll, inAddress *list.Element // nil: in no line
	socket           bool
	gone             bool
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.connections.leave(c)
	return c.Conn.Close()
}

// admit returns a new connection: one to serve, one whose request is to be refused, or nil
// when it should be closed at once. by is the limit that was reached, or "". The victim, if
// any, has to be closed in favour of the new one.
func (cs *Connections) admit(accepted net.Conn) (admitted, victim *connection, by string) {
	address := parseAddress(accepted.RemoteAddr().String())
	c := &connection{Conn: accepted, connections: cs, network: Network(address)}
	trusted := cs.proxies.Trusts(address)

	cs.mu.Lock()
	defer cs.mu.Unlock()
	by, among := cs.reached(c.network, trusted)
	if by != "" {
		victim = among.longestIdle()
		if victim == nil {
			return cs.refuse(c, by), nil, by
		}
		cs.removeFromLines(victim)
	}
	c.inAll = cs.all.add(c)
	if !trusted {
		mine := cs.addresses[c.network]
		if mine == nil {
			mine = newLine()
			cs.addresses[c.network] = mine
		}
		c.inAddress = mine.add(c)
	}
	return c, victim, by
}

// reached returns the limit that another connection would exceed, and the line in which one
// may make room for it.
func (cs *Connections) reached(network netip.Prefix, trusted bool) (by string, among *line) {
	mine := cs.addresses[network]
	plain := cs.all.len()
	switch l := cs.limits; {
	case l.PerAddress > 0 && !trusted && mine != nil && mine.len() >= l.PerAddress:
		return byAddress, mine
	case l.Total > 0 && plain >= l.Total:
		return byTotal, cs.all
	case l.Files > 0 && plain+cs.sockets+cs.refusing >= l.Files:
		return byFiles, cs.all
	}
	return "", nil
}

// refuse returns the connection if there is room to tell its client that it is refused.
func (cs *Connections) refuse(c *connection, by string) *connection {
	if cs.refusing >= maxRefusals {
		return nil
	}
	cs.refusing++
	c.refused = by
	return c
}

// report counts that a limit was reached, and logs it once a minute.
func (cs *Connections) report(by string, closed bool, accepted net.Conn) {
	if by == "" {
		return
	}
	what, counter, seldom := "connections are refused: the limit is reached, and none is idle", cs.refused, cs.logRefused[by]
	if closed {
		what, counter, seldom = "idle connections are closed to make room for new ones", cs.closed, cs.logClosed[by]
	}
	counter.WithLabelValues(by).Inc()
	seldom.Do(func() {
		cs.log.Warn(what, "by", by, "address", parseAddress(accepted.RemoteAddr().String()).String(), "do", remedies[by])
	})
}

// remedies are what the operator can do about each limit.
var remedies = map[string]string{
	byAddress: "if this is a proxy of yours, name it in trusted_proxies.cidrs; else see connections.per_address",
	byTotal:   "see connections.total",
	byFiles:   "raise the limit on open files (ulimit -n)",
}

// leave forgets a connection that is being closed.
func (cs *Connections) leave(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	cs.removeFromLines(c)
	if c.socket {
		cs.sockets--
	}
	if c.refused != "" {
		cs.refusing--
	}
}

func (cs *Connections) removeFromLines(c *connection) {
	if c.inAll != nil {
		cs.all.remove(c.inAll)
		c.inAll = nil
	}
	if c.inAddress == nil {
		return
	}
	mine := cs.addresses[c.network]
	mine.remove(c.inAddress)
	c.inAddress = nil
	if mine.len() == 0 {
		delete(cs.addresses, c.network)
	}
}

// ConnState notes what a connection does. It is for http.Server.
func (cs *Connections) ConnState(conn net.Conn, state http.ConnState) {
	c := conn.(*connection)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.inAll == nil { // refused, or closed to make room
		return
	}
	switch state {
	case http.StateActive:
		cs.move(c, (*line).busy)
	case http.StateIdle:
		cs.move(c, (*line).idle)
	case http.StateHijacked:
		cs.removeFromLines(c)
		c.socket = true
		cs.sockets++
	}
}

func (cs *Connections) move(c *connection, to func(*line, *list.Element)) {
	to(cs.all, c.inAll)
	if c.inAddress != nil {
		to(cs.addresses[c.network], c.inAddress)
	}
}

type refusedKey struct{}

// ConnContext notes which connections are refused. It is for http.Server.
func (cs *Connections) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if c := conn.(*connection); c.refused != "" {
		return context.WithValue(ctx, refusedKey{}, c.refused)
	}
	return ctx
}

// Refused returns the limit that refuses the connection of a request with this context:
// "address", "total" or "files"; "" when the connection is served. Answer a refused request
// with an error, and close its connection.
func Refused(ctx context.Context) string {
	by, _ := ctx.Value(refusedKey{}).(string)
	return by
}
