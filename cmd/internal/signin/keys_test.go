package signin

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

// A publisher serves a JWKS.
type publisher struct {
	asked atomic.Int32
	wait  chan bool // when not nil, an answer waits for it

	mu       sync.Mutex
	status   int
	document []byte
}

// answers sets the status and the document that it serves.
func (p *publisher) answers(status int, document []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.document = status, document
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.asked.Add(1)
	if p.wait != nil {
		<-p.wait
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.WriteHeader(p.status)
	w.Write(p.document)
}

// RoundTrip answers a request without a network.
func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

func published(t *testing.T, o *backend, p *publisher) *JWT {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return newJWT(t, JWTOptions{Options: o.options(), JWKS: server.URL})
}

// Keys are fetched when a token needs them. They are fetched again when a token names an
// unknown key, but not for every such token.
func TestKeysRotate(t *testing.T) {
	o, k := newBackend(), issuer()
	p := &publisher{status: 503}
	j := published(t, o, p)
	old := sign(t, jose.RS256, k.rsa, "old", claim(o, nil))
	fresh := sign(t, jose.ES256, k.ec, "new", claim(o, nil))
	asks := func(token string, want error, n int32) {
		t.Helper()
		before := p.asked.Load()
		wantToken(t, j, token, want)
		if got := p.asked.Load() - before; got != n {
			t.Errorf("asked %d times, want %d", got, n)
		}
	}
	asks(old, ErrUnavailable, 1)
	asks(old, ErrUnavailable, 0)
	if o.counted(ani, home) != 0 {
		t.Error("a sign-in that cannot be verified counts as a failure")
	}
	p.answers(200, public(t, key("old", k.rsa)))
	o.pass(minRefreshGap)
	asks(old, nil, 1)
	asks(old, nil, 0)
	asks(fresh, credentials.ErrUnauthorized, 0)

	p.answers(200, public(t, key("new", k.ec)))
	o.pass(minRefreshGap)
	asks(fresh, nil, 1)
	asks(old, credentials.ErrUnauthorized, 0) // the issuer has removed its key

	for _, broken := range []struct {
		status   int
		document []byte
	}{{500, public(t, key("old", k.rsa))}, {302, nil}, {200, []byte(`<html>`)}, {200, []byte(`{"keys":[]}`)}, {200, bytes.Repeat([]byte(" "), maxBody+1)}} {
		clear(o.failures)
		p.answers(broken.status, broken.document)
		o.pass(minRefreshGap)
		asks(old, credentials.ErrUnauthorized, 1)
		asks(fresh, nil, 0) // the keys fetched before are still used
	}
}

func TestKeysAreFetchedOnce(t *testing.T) {
	o, k := newBackend(), issuer()
	p := &publisher{status: 200, document: public(t, key("rsa", k.rsa)), wait: make(chan bool)}
	j := published(t, o, p)
	token := sign(t, jose.RS256, k.rsa, "rsa", claim(o, nil))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { wantToken(t, j, token, nil) })
	}
	close(p.wait)
	all.Wait()
	if n := p.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// Run fetches the keys before the first token arrives, and then at intervals. The intervals
// are shorter while fetching fails.
func TestKeysAreKeptUpToDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{status: 200, document: public(t, key("rsa", issuer().rsa))}
		o := newBackend()
		j, err := NewJWT(JWTOptions{Options: Options{Guard: o, AddUser: o.addUser}, JWKS: "https://keys.test/", Transport: p})
		check(t, err)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { j.Run(ctx) })
		defer func() { stop(); running.Wait(); check(t, j.Close()) }()
		asked := func(want int32) {
			t.Helper()
			synctest.Wait()
			if n := p.asked.Load(); n != want {
				t.Errorf("asked %d times, want %d", n, want)
			}
		}
		asked(1)
		time.Sleep(refreshInterval)
		asked(2)
		p.answers(500, nil)
		time.Sleep(refreshInterval)
		asked(3)
		time.Sleep(minRefreshGap)
		asked(4)
	})
}

// Keys in a file are read again, too.
func TestKeysInAFile(t *testing.T) {
	o, k := newBackend(), issuer()
	name := file(t, public(t, key("old", k.rsa)))
	j := newJWT(t, JWTOptions{Options: o.options(), JWKS: name})
	fresh := sign(t, jose.ES256, k.ec, "new", claim(o, nil))
	check(t, os.WriteFile(name, public(t, key("new", k.ec)), 0o600))
	wantToken(t, j, fresh, credentials.ErrUnauthorized)
	o.pass(minRefreshGap)
	wantToken(t, j, fresh, nil)
}

func TestJWTCheck(t *testing.T) {
	o := newBackend()
	p := &publisher{status: 200, document: public(t, key("rsa", issuer().rsa))}
	j := published(t, o, p)
	check(t, j.Check(t.Context()))
	p.answers(404, nil)
	if j.Check(t.Context()) == nil {
		t.Error("Check accepts missing keys")
	}
	check(t, newJWT(t, JWTOptions{Options: o.options(), Secret: secret}).Check(t.Context()))
}

// A key server that never answers delays a sign-in no longer than defaultTimeout.
func TestKeysAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newBackend()
		j, err := NewJWT(JWTOptions{Options: Options{Guard: o, AddUser: o.addUser, Now: o.clock}, JWKS: "https://keys.test/", Transport: roundTrip(silence)})
		check(t, err)
		defer j.Close()
		token := sign(t, jose.RS256, issuer().rsa, "rsa", claim(o, nil))
		start := time.Now()
		wantToken(t, j, token, ErrUnavailable)
		if took := time.Since(start); took != defaultTimeout {
			t.Errorf("after %v", took)
		}
	})
}
