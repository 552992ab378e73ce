package sandbox

import (
	"sync"
	"time"
)

// disturbInterval is the time between two repetitions of a fault that is an event.
const disturbInterval = time.Second

// A stall holds connections back before their TLS handshake.
type stall struct {
	left    int           // how many more connections it holds; negative: all
	release chan struct{} // closed to pass them on
}

// take returns the channel that a new connection waits for, or nil. The caller holds the
// port's lock.
func (s *stall) take() <-chan struct{} {
	if s == nil || s.left == 0 {
		return nil
	}
	if s.left > 0 {
		s.left--
	}
	return s.release
}

// stallHandshakes holds back the next connections, so many of them, or all if times is
// negative: TCP accepts them, and their TLS handshakes begin after the returned function is
// called. A later stall replaces an earlier one for new connections.
func (p *port) stallHandshakes(times int) (end func()) {
	s := &stall{left: times, release: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = s
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.stalled == s {
			p.stalled = nil
		}
		close(s.release)
	})
}

// silence holds back everything that arrives or is sent on any connection, new ones
// included, until the returned function is called, as if packets were lost on the way. A
// second silence at the same time does nothing.
func (p *port) silence() (end func()) {
	release := make(chan struct{})
	if !p.silent.CompareAndSwap(nil, &release) {
		return func() {}
	}
	return sync.OnceFunc(func() {
		p.silent.Store(nil)
		close(release)
	})
}

// repeat calls disturb at once and then again and again, times in all, or until the returned
// function is called if times is negative.
func (p *port) repeat(times int, disturb func()) (end func()) {
	disturb()
	if times == 1 || !p.begin() {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer p.end()
		ticker := time.NewTicker(disturbInterval)
		defer ticker.Stop()
		for n := 1; n != times; n++ {
			select {
			case <-ticker.C:
				disturb()
			case <-done:
				return
			case <-p.running.Done():
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(done) })
}

// allowStreams sets the number of concurrent streams of new connections, and asks clients to
// open new ones. It returns a function that restores the former number in the same way.
func (p *Provider) allowStreams(n uint32) (end func()) {
	former := p.streams.Swap(n)
	p.GoAway()
	return sync.OnceFunc(func() {
		p.streams.Store(former)
		p.GoAway()
	})
}
