package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// A Provider is one running fake service. Its methods are safe for concurrent
// use, and none of them waits for requests.
type Provider struct {
	*port
	script

	platform string
	root     string // the path that the endpoint ends in
	api      api
	journal  *journal

	latency  atomic.Int64                  // nanoseconds
	gate     atomic.Pointer[chan struct{}] // closed to release what hangs; nil when nothing does
	pending  atomic.Int64
	answered atomic.Int64
	accepted atomic.Int64
}

// An api is what one service makes of requests.
type api interface {
	// read makes a push of a request. The answer is the zero value when the real
	// service would take the push, else what it would say. The push is nil when
	// the request is none. An error means that the request did not arrive whole.
	read(r *http.Request) (*Push, answer, error)
	// accept takes a push, naming it where read could not.
	accept(p *Push) answer
	// refuse gives a push the answer that a script asked for.
	refuse(p *Push, r Response) answer
	// magic returns how a device is answered that has this word of magicTokens.
	magic(word *magicToken) Response
}

// A service is how an api is run.
type service struct {
	platform    string
	addr        string
	root        string
	http1       bool
	streams     uint32
	latency     time.Duration
	tls         *tls.Config
	connContext func(context.Context, net.Conn) context.Context // as in http.Server
}

// An answer is what goes back to the client. The zero value is none.
type answer struct {
	status      int
	reason      string
	contentType string
	body        []byte
	id          string // apns-id
	retryAfter  time.Duration
	lost        bool // the stream is reset instead
}

func startProvider(api api, j *journal, s service) (*Provider, error) {
	p := &Provider{platform: s.platform, root: s.root, api: api, journal: j}
	p.latency.Store(int64(s.latency))

	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(s.http1)
	var err error
	p.port, err = openPort(s.addr, func() *http.Server {
		return &http.Server{
			Handler:           http.HandlerFunc(p.handle),
			TLSConfig:         s.tls,
			Protocols:         protocols,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: int(s.streams)},
			ReadHeaderTimeout: 10 * time.Second,
			ConnContext:       s.connContext,
			ErrorLog:          log.New(io.Discard, "", 0), // faults are the point here
		}
	})
	return p, err
}

// Endpoint returns the address that clients are given: https://host:port, for
// FCM followed by the API's version, /v1.
func (p *Provider) Endpoint() string { return "https://" + p.addr + p.root }

// Count returns how many pushes have been answered, whatever the answer.
func (p *Provider) Count() int64 { return p.answered.Load() }

// Accepted returns how many pushes have been accepted.
func (p *Provider) Accepted() int64 { return p.accepted.Load() }

// Pending returns how many requests have arrived and wait for their answer.
func (p *Provider) Pending() int64 { return p.pending.Load() }

// Pushes returns the pushes kept of this service, in the order in which they
// were answered.
func (p *Provider) Pushes() []Push { return p.journal.pushes(p.platform) }

// SetLatency sets the time from a request's arrival to its answer, for requests
// that arrive from now on.
func (p *Provider) SetLatency(d time.Duration) { p.latency.Store(int64(d)) }

// Hang keeps all requests waiting for their answers, or releases them.
func (p *Provider) Hang(hang bool) {
	if hang {
		gate := make(chan struct{})
		p.gate.CompareAndSwap(nil, &gate)
	} else if gate := p.gate.Swap(nil); gate != nil {
		close(*gate)
	}
}

// handle answers one request.
func (p *Provider) handle(w http.ResponseWriter, r *http.Request) {
	if !p.begin() {
		panic(http.ErrAbortHandler)
	}
	defer p.end()
	p.pending.Add(1)
	p.journal.touch()

	arrived := time.Now()
	push, ans, err := p.api.read(r)
	if err == nil {
		if push != nil {
			push.At = arrived
		}
		if ans.status == 0 {
			ans = p.decide(push)
		}
		err = p.hold(r.Context(), arrived)
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

// decide answers a push that the real service would take.
func (p *Provider) decide(push *Push) answer {
	r := p.script.next(push)
	if r == nil {
		if word := findMagic(push.Token); word != nil {
			magic := p.api.magic(word)
			r = &magic
		}
	}
	if r == nil {
		return p.api.accept(push)
	}
	var ans answer
	if r.accepts() {
		ans = p.api.accept(push)
	} else {
		ans = p.api.refuse(push, *r)
	}
	ans.retryAfter, ans.lost = r.RetryAfter, r.Lost
	return ans
}

var errClosing = errors.New("the sandbox is closing")

// hold waits until an answer is due. It fails when the client has gone first.
func (p *Provider) hold(ctx context.Context, arrived time.Time) error {
	if latency := time.Duration(p.latency.Load()); latency > 0 {
		timer := time.NewTimer(latency - time.Since(arrived))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.running.Done():
			return errClosing
		}
	}
	for gate := p.gate.Load(); gate != nil; gate = p.gate.Load() {
		select {
		case <-*gate:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.running.Done():
			return errClosing
		}
	}
	return ctx.Err()
}

// finish counts and records a request that is about to be answered.
func (p *Provider) finish(push *Push, ans answer) {
	p.pending.Add(-1)
	if push == nil || push.dryRun {
		p.journal.touch()
		return
	}
	push.Answer, push.Reason = ans.status, ans.reason
	if ans.status != 0 {
		p.answered.Add(1)
	}
	if ans.status == http.StatusOK {
		p.accepted.Add(1)
	}
	p.journal.record(push)
}

// write sends the answer.
func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
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
		w.Write(a.body) // fails only when the client has gone
	}
}
