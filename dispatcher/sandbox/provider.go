package sandbox

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// A Provider is one running fake service. Its methods are safe for concurrent use and do
// not wait for requests in flight.
type Provider struct {
	*port
	script

	platform string
	root     string // path of the endpoint
	api      api
	journal  *journal

	streams  atomic.Uint32                 // concurrent streams on a new connection
	latency  atomic.Int64                  // nanoseconds
	hanging  atomic.Pointer[chan struct{}] // closed to release hanging requests; nil when none hang
	pending  atomic.Int64
	answered atomic.Int64
	accepted atomic.Int64
}

// An api is the protocol of one service.
type api interface {
	// read parses and validates a request. The answer is the zero value if the real
	// service would accept the push, and its error otherwise. The push is nil if the
	// request does not send one. The error means that the request was incomplete.
	read(r *http.Request) (*Push, answer, error)
	// accept returns the answer to an accepted push, and sets the push's ID if it has
	// none.
	accept(p *Push) answer
	// refuse returns the answer that a script asked for.
	refuse(p *Push, r Response) answer
	// magic returns the response to pushes with a magic token.
	magic(t *magicToken) Response
}

// A service is the configuration of one fake service.
type service struct {
	platform string
	addr     string
	root     string
	http1    bool
	streams  uint32
	latency  time.Duration
	tls      *tls.Config
}

// A connection is what a service remembers of one connection. It is in the context of its
// requests.
type connection struct {
	token tokenUse
}

type connectionKey struct{}

// withConnection is the http.Server.ConnContext that adds a connection.
func withConnection(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, new(connection))
}

func connectionOf(ctx context.Context) *connection {
	return ctx.Value(connectionKey{}).(*connection)
}

// An answer is the response to a request. The zero value means none yet.
type answer struct {
	status      int
	reason      string
	contentType string
	body        []byte
	id          string // apns-id
	retryAfter  time.Duration
	header      http.Header     // more fields; usually nil
	lost        bool            // the stream is reset instead of answered
	release     <-chan struct{} // the answer waits until it is closed, unless it is nil
}

func startProvider(api api, j *journal, s service) (*Provider, error) {
	p := &Provider{platform: s.platform, root: s.root, api: api, journal: j}
	p.latency.Store(int64(s.latency))
	p.streams.Store(s.streams)

	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(s.http1)
	var err error
	p.port, err = openPort(s.addr, func() *http.Server {
		return &http.Server{
			Handler:           http.HandlerFunc(p.handle),
			TLSConfig:         s.tls.Clone(), // the server changes it
			Protocols:         protocols,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: int(p.streams.Load())},
			ReadHeaderTimeout: 10 * time.Second,
			ConnContext:       withConnection,
			ErrorLog:          log.New(io.Discard, "", 0), // tests cause errors on purpose
		}
	}, j.notify)
	return p, err
}

// Endpoint returns the URL for clients: https://host:port for APNs and Web Push,
// and https://host:port/v1 for FCM.
func (p *Provider) Endpoint() string { return "https://" + p.addr + p.root }

// Count returns how many pushes have been answered, accepted or not.
func (p *Provider) Count() int64 { return p.answered.Load() }

// Accepted returns how many pushes have been accepted.
func (p *Provider) Accepted() int64 { return p.accepted.Load() }

// Pending returns how many requests have arrived and are not answered yet.
func (p *Provider) Pending() int64 { return p.pending.Load() }

// Pushes returns the kept pushes of this service, in the order of their answers; see
// [Options.History].
func (p *Provider) Pushes() []Push { return p.journal.pushes(p.platform) }

// SetLatency sets the time from a request's arrival to its answer, for requests
// that arrive from now on.
func (p *Provider) SetLatency(d time.Duration) { p.latency.Store(int64(d)) }

// Hang(true) holds back the answers to all requests; Hang(false) releases them.
func (p *Provider) Hang(hang bool) {
	if hang {
		release := make(chan struct{})
		p.hanging.CompareAndSwap(nil, &release)
	} else if release := p.hanging.Swap(nil); release != nil {
		close(*release)
	}
}

// handle answers one request.
func (p *Provider) handle(w http.ResponseWriter, r *http.Request) {
	if !p.begin() {
		panic(http.ErrAbortHandler)
	}
	defer p.end()
	p.pending.Add(1)
	p.journal.notify()

	arrived := time.Now()
	push, ans, err := p.api.read(r)
	if err == nil {
		if push != nil {
			push.At, push.conn = arrived, connectionOf(r.Context())
		}
		if ans.status == 0 {
			ans = p.decide(push)
		}
		err = p.hold(r.Context(), arrived, ans.release)
	}
	if err != nil {
		ans = answer{lost: true}
	}
	p.finish(push, ans)
	if ans.lost {
		panic(http.ErrAbortHandler) // resets the stream
	}
	ans.write(w)
}

// decide answers a push that the real service would accept.
func (p *Provider) decide(push *Push) answer {
	r := p.script.next(push)
	if r == nil {
		if token := findMagic(push.Token); token != nil {
			magic := p.api.magic(token)
			r = &magic
		}
	}
	if r == nil {
		return p.api.accept(push)
	}
	var ans answer
	switch {
	case r.Body != nil:
		ans = answer{status: cmp.Or(r.Status, http.StatusOK), reason: cmp.Or(r.Reason, reasonUnreadable), body: r.Body}
	case r.accepts():
		ans = p.api.accept(push)
	default:
		ans = p.api.refuse(push, *r)
	}
	ans.retryAfter, ans.header, ans.lost, ans.release = r.RetryAfter, r.Header, r.Lost, r.release
	return ans
}

var errClosing = errors.New("the sandbox is closing")

// hold waits for the latency, for release unless it is nil, and while requests hang. It
// fails if the client gives up or the sandbox closes first.
func (p *Provider) hold(ctx context.Context, arrived time.Time, release <-chan struct{}) error {
	if latency := time.Duration(p.latency.Load()); latency > 0 {
		timer := time.NewTimer(latency - time.Since(arrived))
		defer timer.Stop()
		if err := until(ctx, p.running, timer.C); err != nil {
			return err
		}
	}
	if release != nil {
		if err := until(ctx, p.running, release); err != nil {
			return err
		}
	}
	for hang := p.hanging.Load(); hang != nil; hang = p.hanging.Load() {
		if err := until(ctx, p.running, *hang); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// until waits for event. It fails if the client gives up or the sandbox closes first.
func until[T any](ctx, running context.Context, event <-chan T) error {
	select {
	case <-event:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-running.Done():
		return errClosing
	}
}

// finish counts a request that is about to be answered, and records its push.
func (p *Provider) finish(push *Push, ans answer) {
	p.pending.Add(-1)
	if push == nil || push.dryRun {
		p.journal.notify()
		return
	}
	push.Answer, push.Reason = ans.status, ans.reason
	if ans.status != 0 {
		p.answered.Add(1)
	}
	p.journal.record(push)
	if push.Accepted() { // counted once it is recorded
		p.accepted.Add(1)
	}
}

// write sends the answer.
func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	maps.Copy(h, a.header)
	if a.id != "" {
		h["Apns-Id"] = []string{a.id}
	}
	if a.contentType != "" {
		h["Content-Type"] = []string{a.contentType}
	}
	if a.retryAfter > 0 {
		seconds := math.Ceil(a.retryAfter.Seconds())
		h["Retry-After"] = []string{strconv.FormatFloat(seconds, 'f', 0, 64)}
	}
	w.WriteHeader(a.status)
	if len(a.body) > 0 {
		w.Write(a.body) // fails only if the client has gone
	}
}
