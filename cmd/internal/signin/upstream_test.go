package signin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

// info is the documented answer of the upstream. It does not contain the user's id.
const info = `{"status":"OK","user":{"name":"Me Ow","email":"meow@domain.com","phone":"022345678901",
	"avatar":"https://secure.gravatar.com/avatar/c8a0457bfc1b881755588e05a6ce55f0?s=50","avatar_id":"38432",
	"bank":{"name":"Bank Republik Dummy","number":"234567890"}},"message":null}`

// A fakeUpstream is an upstream whose answers can be replaced.
type fakeUpstream struct {
	*backend
	*Upstream
	t     *testing.T
	asked atomic.Int32
	mode  atomic.Pointer[http.HandlerFunc] // answers in place of the normal handler, unless nil
}

// newFakeUpstream returns an upstream at which the token of Ani and of Budi is tok3n.
func newFakeUpstream(t *testing.T) *fakeUpstream {
	t.Helper()
	m := &fakeUpstream{backend: newBackend(), t: t}
	server := httptest.NewServer(m)
	u, err := NewUpstream(UpstreamOptions{Options: m.options(), URL: server.URL + "/v2/users/info.json"})
	check(t, err)
	m.Upstream = u
	t.Cleanup(func() { check(t, u.Close()); server.Close() })
	return m
}

func (m *fakeUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.asked.Add(1)
	if special := m.mode.Load(); special != nil {
		(*special)(w, r)
		return
	}
	user, token, _ := r.BasicAuth()
	if r.Method != "GET" || r.URL.Path != "/v2/users/info.json" || user != "66" && user != "67" || token != "tok3n" {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"status":"ERROR","message":"Anda harus login terlebih dahulu"}`)
		return
	}
	io.WriteString(w, info)
}

// answers makes every request get the given answer. Status 0 restores the normal answers.
func (m *fakeUpstream) answers(status int, body string) {
	if status == 0 {
		m.mode.Store(nil)
		return
	}
	m.behaves(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/v2/users/info.json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func (m *fakeUpstream) behaves(h http.HandlerFunc) { m.mode.Store(&h) }

// signIn checks the result of a sign-in and how many requests to the upstream it makes.
func (m *fakeUpstream) signIn(user int64, token, address string, want error, asks int32) {
	m.t.Helper()
	before := m.asked.Load()
	if err := m.Authenticate(m.t.Context(), user, token, address); !is(err, want) {
		m.t.Errorf("signed in: %v, want %v", err, want)
	}
	if n := m.asked.Load() - before; n != asks {
		m.t.Errorf("asked %d times, want %d", n, asks)
	}
}

func TestUpstreamVouches(t *testing.T) {
	m := newFakeUpstream(t)
	m.signIn(ani, "tok3n", home, nil, 1)
	m.signIn(ani, "tok3n", cafe, nil, 0)
	m.signIn(ani, "wrong", home, credentials.ErrUnauthorized, 1)
	m.signIn(68, "tok3n", home, credentials.ErrUnauthorized, 1)
	m.signIn(ani, "", home, credentials.ErrUnauthorized, 0)
	m.signIn(budi, "tok3n", home, nil, 1)
	if m.counted(ani, home) != 1 || m.counted(68, home) != 1 || m.counted(budi, home) != 0 {
		t.Errorf("failures %v", m.failures)
	}
	if m.added[ani] != 1 || m.added[budi] != 1 || len(m.added) != 2 {
		t.Errorf("added %v", m.added)
	}
}

// TestUpstreamAnswers checks what each answer of the upstream means, for a token that is
// new and for one that was verified six minutes ago.
func TestUpstreamAnswers(t *testing.T) {
	no := credentials.ErrUnauthorized
	for name, tc := range map[string]struct {
		status          int
		body            string
		stranger, known error
	}{
		"as documented":      {200, info, nil, nil},
		"the id":             {200, `{"status":"OK","user":{"id":"66"}}`, nil, nil},
		"the id as a number": {200, `{"status":"OK","user":{"id":66},"user_id":66}`, nil, nil},
		"a null id":          {200, `{"status":"OK","user":null,"user_id":null}`, nil, nil},
		"another id":         {200, `{"status":"OK","user":{"id":"67"}}`, no, no},
		"another user_id":    {200, `{"status":"OK","user_id":67,"user":{"id":66}}`, no, no},
		"an odd id":          {200, `{"status":"OK","user":{"id":[66]}}`, no, no},
		"the id in a way":    {200, `{"status":"OK","user":{"id":"066"}}`, no, no},
		"an error":           {200, `{"status":"ERROR","message":"Token salah"}`, no, no},
		"401":                {401, ``, no, no},
		"403":                {403, info, no, no},
		"500":                {500, info, ErrUnavailable, nil},
		"503 with an error":  {503, `{"status":"ERROR"}`, ErrUnavailable, nil},
		"502 in HTML":        {502, `<html>Bad gateway`, ErrUnavailable, nil},
		"429":                {429, ``, ErrUnavailable, nil},
		"404":                {404, ``, ErrUnavailable, nil},
		"204":                {204, ``, ErrUnavailable, nil},
		"a redirect":         {302, info, ErrUnavailable, nil},
		"HTML":               {200, `<html><title>Maintenance</title>`, ErrUnavailable, nil},
		"nothing":            {200, ``, ErrUnavailable, nil},
		"half":               {200, info[:90], ErrUnavailable, nil},
		"a list":             {200, `["OK"]`, ErrUnavailable, nil},
		"no status":          {200, `{"user":{"id":66}}`, ErrUnavailable, nil},
		"another status":     {200, `{"status":"ok"}`, ErrUnavailable, nil},
		"too much":           {200, `{"status":"OK","x":"` + strings.Repeat("x", maxBody) + `"}`, ErrUnavailable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newFakeUpstream(t)
			m.signIn(ani, "tok3n", home, nil, 1)
			m.pass(Fresh + time.Minute)
			m.answers(tc.status, tc.body)
			m.signIn(ani, "tok3n", home, tc.known, 1)
			m.signIn(ani, "other", cafe, tc.stranger, 1)
			failures := 0
			if tc.stranger == no {
				failures = 1
			}
			if n := m.counted(ani, cafe); n != failures {
				t.Errorf("%d failures, want %d", n, failures)
			}
		})
	}
}

// A verified token is good for five minutes, then the upstream is asked again. While that
// does not answer, the token is good for an hour.
func TestUpstreamFlaps(t *testing.T) {
	m := newFakeUpstream(t)
	m.signIn(ani, "tok3n", home, nil, 1)
	m.answers(503, "")
	m.pass(Fresh - time.Second)
	m.signIn(ani, "tok3n", home, nil, 0) // fresh
	m.pass(time.Second)
	m.signIn(ani, "tok3n", home, nil, 1) // stale
	m.signIn(ani, "tok3n", home, nil, 0) // the upstream failed a moment ago and is not asked again yet
	m.pass(retryInterval)
	m.signIn(ani, "tok3n", home, nil, 1)
	m.signIn(budi, "tok3n", home, ErrUnavailable, 1) // never verified
	m.signIn(budi, "tok3n", home, ErrUnavailable, 1)

	m.answers(0, "")
	m.pass(retryInterval)
	m.signIn(ani, "tok3n", home, nil, 1) // the upstream has recovered
	m.signIn(budi, "tok3n", home, nil, 1)
	m.pass(Fresh - time.Second)
	m.signIn(ani, "tok3n", home, nil, 0) // fresh again

	m.answers(500, "")
	m.pass(Stale - Fresh)
	m.signIn(ani, "tok3n", home, nil, 1)
	m.pass(time.Second)
	m.signIn(ani, "tok3n", home, ErrUnavailable, 1) // an hour after it was verified
	m.answers(0, "")
	m.signIn(ani, "tok3n", home, nil, 1)
	if m.counted(ani, home) != 0 || m.counted(budi, home) != 0 {
		t.Errorf("failures %v", m.failures)
	}

	m.pass(Fresh)
	m.answers(401, "")
	m.signIn(ani, "tok3n", home, credentials.ErrUnauthorized, 1)
	m.answers(500, "")
	m.signIn(ani, "tok3n", home, ErrUnavailable, 1) // the 401 has removed the remembered sign-in
}

func TestUpstreamLimitsFailures(t *testing.T) {
	m := newFakeUpstream(t)
	m.signIn(budi, "tok3n", cafe, nil, 1)
	for range 3 {
		m.signIn(ani, "guess", home, credentials.ErrUnauthorized, 1)
		m.signIn(budi, "guess", cafe, credentials.ErrUnauthorized, 1)
	}
	m.signIn(ani, "guess", home, errLocked, 0)
	m.signIn(ani, "tok3n", home, errLocked, 0) // refused without asking the upstream
	m.signIn(ani, "tok3n", cafe, nil, 1)
	m.signIn(ani, "tok3n", home, nil, 0) // known to be good
	m.signIn(budi, "tok3n", cafe, nil, 0)
	m.pass(Fresh)
	m.signIn(budi, "tok3n", cafe, nil, 1)
	m.pass(Stale)
	m.signIn(budi, "tok3n", cafe, nil, 1) // still known to be good

	m.answers(401, "")
	m.pass(Fresh)
	m.signIn(budi, "tok3n", cafe, credentials.ErrUnauthorized, 1) // no longer valid
	m.signIn(budi, "tok3n", cafe, errLocked, 0)
}

// another is a process beside the first one, or after it.
func (m *fakeUpstream) another() *fakeUpstream {
	m.t.Helper()
	other := &fakeUpstream{backend: m.backend, t: m.t}
	server := httptest.NewServer(other)
	u, err := NewUpstream(UpstreamOptions{Options: m.options(), URL: server.URL + "/v2/users/info.json"})
	check(m.t, err)
	other.Upstream = u
	m.t.Cleanup(func() { check(m.t, u.Close()); server.Close() })
	return other
}

// What one process knows to be good is good in another one, for as long, and is exempt from
// the limits there.
func TestUpstreamSharesWhatIsKnown(t *testing.T) {
	m := newFakeUpstream(t)
	m.signIn(ani, "tok3n", home, nil, 1)
	for range 3 {
		m.signIn(ani, "guess", home, credentials.ErrUnauthorized, 1)
	}
	m.another().signIn(ani, "tok3n", home, nil, 0) // fresh
	m.another().signIn(ani, "guess", home, errLocked, 0)
	m.another().signIn(ani, "tok3n", cafe, nil, 1) // not known from there
	m.pass(Fresh)
	m.another().signIn(ani, "tok3n", home, nil, 1)

	m.pass(Fresh)
	down := m.another()
	down.answers(503, "")
	down.signIn(ani, "tok3n", home, nil, 1)             // stale
	down.signIn(budi, "tok3n", home, ErrUnavailable, 1) // never verified
	m.pass(Stale)
	down.signIn(ani, "tok3n", home, ErrUnavailable, 1)

	gone := m.another()
	gone.answers(401, "")
	gone.signIn(ani, "tok3n", home, credentials.ErrUnauthorized, 1)
	gone.signIn(ani, "tok3n", home, errLocked, 0) // not known any more
	m.another().signIn(ani, "tok3n", home, errLocked, 0)
}

// Guesses for ever other users reach the upstream as often as the budget of their address
// allows. Known users of that address, and new ones elsewhere, do not notice.
func TestUpstreamCallsHaveABudget(t *testing.T) {
	m := newFakeUpstream(t)
	m.signIn(ani, "tok3n", home, nil, 1)
	m.pass(Fresh)
	m.backend.calls = 10
	var wg sync.WaitGroup
	before := m.asked.Load()
	for i := range 200 {
		wg.Go(func() { _ = m.Authenticate(t.Context(), int64(1000+i), "guess", home) })
	}
	wg.Wait()
	if n := m.asked.Load() - before; n != int32(m.backend.calls)-1 {
		t.Errorf("%d guesses reached the upstream", n)
	}
	m.signIn(ani, "tok3n", home, nil, 1)
	m.another().signIn(ani, "tok3n", home, nil, 0)
	m.signIn(budi, "tok3n", cafe, nil, 1)
}

// Guesses that are made at the same time share the limit, although none has been answered
// yet.
func TestUpstreamGuessesAtOnce(t *testing.T) {
	m := newFakeUpstream(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_ = m.Authenticate(t.Context(), ani, strings.Repeat("x", i+1), home)
		})
	}
	wg.Wait()
	if n := m.asked.Load(); n != 3 {
		t.Errorf("%d guesses reached the upstream", n)
	}
}

// Fifty sign-ins at the same time make one request. It continues when the first caller
// gives up.
func TestUpstreamIsAskedOnce(t *testing.T) {
	m := newFakeUpstream(t)
	asked, answer := make(chan bool, 1), make(chan bool)
	m.behaves(func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-answer
		io.WriteString(w, info)
	})
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- m.Authenticate(ctx, ani, "tok3n", home) }()
	<-asked
	var others sync.WaitGroup
	for range 49 {
		others.Go(func() {
			if err := m.Authenticate(t.Context(), ani, "tok3n", home); err != nil {
				t.Error(err)
			}
		})
	}
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who gave up: %v", err)
	}
	close(answer)
	others.Wait()
	if n := m.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if n := m.counted(ani, home); n != 0 {
		t.Errorf("%d failures", n)
	}
}

func TestUpstreamIsDown(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	o := newBackend()
	var log strings.Builder
	opts := o.options()
	opts.Log = slog.New(slog.NewTextHandler(&log, nil))
	u, err := NewUpstream(UpstreamOptions{Options: opts, URL: strings.Replace(server.URL, "//", "//who:passw0rd@", 1) + "/?api_key=s3cret"})
	check(t, err)
	defer u.Close()
	for range 5 { // more often than failures are allowed
		err := u.Authenticate(t.Context(), ani, "tok3n", home)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, credentials.ErrUnauthorized) {
			t.Error(err)
		}
		log.WriteString(err.Error())
	}
	if !strings.Contains(log.String(), "no answer") {
		t.Errorf("nothing is logged: %s", log.String())
	}
	for _, secret := range []string{"tok3n", "s3cret", "passw0rd", "Basic"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s is shown: %s", secret, log.String())
		}
	}
}

// A sign-in fails when the user cannot be added, and succeeds once that works.
func TestUpstreamAddsUsers(t *testing.T) {
	m := newFakeUpstream(t)
	m.addErr = errors.New("Redis is away")
	m.signIn(ani, "tok3n", home, m.addErr, 1)
	m.addErr = nil
	m.signIn(ani, "tok3n", home, nil, 0)
	m.signIn(ani, "tok3n", home, nil, 0)
	m.pass(addInterval)
	m.signIn(ani, "tok3n", home, nil, 1)
	if m.added[ani] != 2 {
		t.Errorf("added %d times", m.added[ani])
	}
}

func TestUpstreamCheck(t *testing.T) {
	m := newFakeUpstream(t)
	check(t, m.Check(t.Context()))
	m.answers(200, info)
	if err := m.Check(t.Context()); err == nil {
		t.Error("Check accepts an upstream that accepts any token")
	}
	m.answers(503, "")
	if err := m.Check(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if _, err := NewUpstream(UpstreamOptions{URL: "http://%zz:s3cret@upstream"}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("an invalid URL: %v", err)
	}
}
