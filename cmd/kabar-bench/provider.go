package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// sandboxCmd runs the provider sandbox for the process that started it.
type sandboxCmd struct{}

// Run implements the command.
func (sandboxCmd) Run(e *env) error {
	s := &Providers{}
	defer s.close()
	return serveParent(e, s)
}

// Providers are the fake FCM and APNs in a child process. They keep a receipt of each push
// since Forget, and the whole first push.
type Providers struct {
	sandbox *sandbox.Sandbox

	mu       sync.Mutex
	receipts []Receipt
	first    *sandbox.Push
	want     int
	complete chan struct{} // closed when there are as many pushes as wanted; nil before Wait
}

// SandboxOptions configure the sandbox.
type SandboxOptions struct {
	Latency time.Duration // of every answer
	Dir     string        // for certificates and keys
}

// Addresses holds what a client of the sandbox needs.
type Addresses struct {
	FCM, APNs, CAFile      string
	KeyFile, KeyID, TeamID string // for APNs' provider tokens
}

// Start starts the sandbox.
func (p *Providers) Start(o SandboxOptions, a *Addresses) (err error) {
	p.sandbox, err = sandbox.Start(sandbox.Options{Latency: o.Latency, OnPush: p.note})
	if err != nil {
		return err
	}
	a.FCM, a.APNs = p.sandbox.FCM.Endpoint(), p.sandbox.APNs.Endpoint()
	if a.CAFile, err = p.sandbox.CAFile(o.Dir); err != nil {
		return err
	}
	a.KeyFile, a.KeyID, a.TeamID, err = p.sandbox.APNs.WriteKey(o.Dir)
	return err
}

// note records a push that is about to be answered.
func (p *Providers) note(push *sandbox.Push) {
	tag := tagOf(push)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receipts = append(p.receipts, Receipt{
		Tag: tag, Token: push.Token, Status: push.Answer, At: time.Now().UnixNano(),
	})
	if p.first == nil {
		p.first = push
	}
	if p.complete != nil && len(p.receipts) == p.want {
		close(p.complete)
	}
}

// Forget drops all receipts, and allocates memory for the given number of pushes.
func (p *Providers) Forget(room int, _ *None) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receipts, p.first = make([]Receipt, 0, room), nil
	return nil
}

// Until is what Wait waits for.
type Until struct {
	Pushes int
	Within time.Duration
}

// Wait waits until u.Pushes pushes were answered since Forget, or its time is over, and
// returns the number of answered ones. Only one Wait may run at a time.
func (p *Providers) Wait(u Until, received *int) error {
	p.mu.Lock()
	complete := make(chan struct{})
	if len(p.receipts) >= u.Pushes {
		close(complete)
	} else {
		p.want, p.complete = u.Pushes, complete
	}
	p.mu.Unlock()

	timer := time.NewTimer(u.Within)
	defer timer.Stop()
	select {
	case <-complete:
	case <-timer.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complete = nil
	*received = len(p.receipts)
	return nil
}

// A Receipt is one push as the provider saw it.
type Receipt struct {
	Tag    string // of the notification: the apns-collapse-id, or Android's tag
	Token  string
	Status int   // of the answer
	At     int64 // when it was answered, ns since 1970
}

// Receipts returns all pushes since Forget, in the order of their answers.
func (p *Providers) Receipts(_ None, receipts *[]Receipt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	*receipts = slices.Clone(p.receipts)
	return nil
}

// tagOf returns the tag of a push. In FCM's message it is the only member "tag": quotes
// within the data are escaped.
func tagOf(p *sandbox.Push) string {
	if p.Platform == sandbox.PlatformAPNs {
		return p.Header.Get("Apns-Collapse-Id")
	}
	_, rest, _ := bytes.Cut(p.Body, []byte(`"tag":"`))
	tag, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(tag)
}

// A Sample is a push for the bare loop to repeat.
type Sample struct {
	Header http.Header // of APNs
	Body   []byte      // APNs' payload, or FCM's message
}

// Sample returns the first push since Forget.
func (p *Providers) Sample(_ None, s *Sample) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first != nil {
		s.Header, s.Body = p.first.Header, p.first.Body
	}
	return nil
}

// Bytes returns how many bytes the providers have received since their start.
func (p *Providers) Bytes(_ None, n *int64) error {
	*n = p.sandbox.FCM.Received() + p.sandbox.APNs.Received()
	return nil
}

func (p *Providers) close() {
	if p.sandbox != nil {
		_ = p.sandbox.Close() // the process ends anyway
	}
}

// tagPrefix begins the tag of the events that this program publishes; the number of the
// transaction follows.
const tagPrefix = "transaction:"

// number returns the number of the event that was pushed, or 0 when this program did not
// publish it.
func (r *Receipt) number() int64 {
	text, ok := strings.CutPrefix(r.Tag, tagPrefix)
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n
}

// A sandboxProcess is a process of the sandbox.
type sandboxProcess struct {
	*child
	Addresses
}

// startSandbox starts a sandbox that answers after latency, with its files in dir.
func startSandbox(ctx context.Context, e *env, latency time.Duration, dir string) (*sandboxProcess, error) {
	c, err := startChild("serve-sandbox", e.err)
	if err != nil {
		return nil, err
	}
	addresses, err := ask[Addresses](ctx, c, "Start", SandboxOptions{latency, dir})
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return &sandboxProcess{c, addresses}, nil
}

// forget prepares the sandbox for a round.
func (s *sandboxProcess) forget(ctx context.Context, room int) error {
	return s.tell(ctx, "Forget", room)
}

// wait waits for a number of pushes, or for within. It does not fail when fewer arrived: the
// receipts show that.
func (s *sandboxProcess) wait(ctx context.Context, pushes int, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		// A short call each, so that the child is never kept from ending.
		received, err := ask[int](ctx, s.child, "Wait", Until{pushes, time.Second})
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		case err != nil || received >= pushes:
			return err
		}
	}
}

func (s *sandboxProcess) receipts(ctx context.Context) ([]Receipt, error) {
	return ask[[]Receipt](ctx, s.child, "Receipts", None{})
}

// bytes counts the bytes that the providers receive.
func (s *sandboxProcess) bytes(ctx context.Context) (float64, error) {
	n, err := ask[int64](ctx, s.child, "Bytes", None{})
	return float64(n), err
}

func (s *sandboxProcess) sample(ctx context.Context) (Sample, error) {
	return ask[Sample](ctx, s.child, "Sample", None{})
}
