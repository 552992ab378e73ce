package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/cmd/internal/edge"
	"github.com/kabar-gateway/kabar/dispatcher/live"
)

// fakeLive records whose socket it accepts.
type fakeLive struct {
	user  int64
	until time.Time
	since *int64
	check error // of Check
	err   error
	write int // status that it writes itself, unless 0

	kicks   int
	kickErr error
}

func (l *fakeLive) Kick(context.Context, int64) error {
	l.kicks++
	return l.kickErr
}

func (l *fakeLive) Check(*http.Request) error { return l.check }

func (l *fakeLive) Accept(w http.ResponseWriter, _ *http.Request, user int64, until time.Time, since *int64) error {
	l.user, l.until, l.since = user, until, since
	if l.write != 0 {
		w.WriteHeader(l.write)
	}
	return l.err
}

// withLive returns a handler with the world's options and the given Live.
func (w *world) withLive(l Live) http.Handler {
	opts := w.options
	opts.Live, opts.Metrics = l, nil
	return New(opts)
}

// handshake requests a socket.
func handshake(h http.Handler, query, user, token string) answer {
	r := httptest.NewRequest("GET", livePath+query, nil)
	if user != "" {
		r.SetBasicAuth(user, token)
	}
	return serve(h, r)
}

func (w *world) ticket() string {
	w.t.Helper()
	got := w.must(w.basic(ani, "POST", "/v2/live/ticket.json", ""), 200)
	m := regexp.MustCompile(`^\{"status":"OK","ticket":"([A-Za-z0-9_-]{43})","expires_in":30,"message":null\}$`).FindStringSubmatch(got.body)
	if m == nil || got.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("ticket %s %v", got.body, got.header)
	}
	return m[1]
}

func TestSocketsAreSignedIn(t *testing.T) {
	w := newWorld(t, nil)
	ticket := w.ticket()
	for _, tc := range []struct {
		name, query, user, token string
		status                   int
		want                     int64
	}{
		{"as apps", "", "66", "tok3ntok3n", 200, 66},
		{"with a ticket", "?ticket=" + ticket, "", "", 200, 66},
		{"with a spent ticket", "?ticket=" + ticket, "", "", 401, 0},
		{"a spent ticket beside a credential", "?ticket=" + ticket, "66", "tok3ntok3n", 401, 0},
		{"with another ticket", "?ticket=x", "", "", 401, 0},
		{"with an empty ticket", "?ticket=", "", "", 401, 0},
		{"with a wrong token", "", "66", "wrong", 401, 0},
		{"with nothing", "", "", "", 401, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &fakeLive{}
			got := handshake(w.withLive(l), tc.query, tc.user, tc.token)
			if got.status != tc.status || l.user != tc.want {
				t.Errorf("status %d, user %d: %s", got.status, l.user, got.body)
			}
			if tc.status == 401 {
				if e := got.envelope(t); e.Code != unauthorized || e.Message == "" {
					t.Error(got.body)
				}
			}
		})
	}
}

func TestSocketsResume(t *testing.T) {
	w := newWorld(t, nil)
	for query, want := range map[string]int64{"": -1, "?since=": -1, "?since=0": 0, "?since=1390459731000001": 1390459731000001} {
		l := &fakeLive{}
		handshake(w.withLive(l), query, "66", "tok3ntok3n")
		if l.user != 66 || (l.since == nil) != (want < 0) || l.since != nil && *l.since != want {
			t.Errorf("%s: %v", query, l.since)
		}
	}
	for _, bad := range []string{"x", "-1", "1.5", "99999999999999999999", "%201"} {
		l := &fakeLive{}
		got := handshake(w.withLive(l), "?since="+bad, "66", "tok3ntok3n")
		if e := got.envelope(t); got.status != 422 || e.Errors["since"] == "" || l.user != 0 {
			t.Errorf("since %s: %d %s", bad, got.status, got.body)
		}
	}
}

func TestSocketsThatAreNotAccepted(t *testing.T) {
	w := newWorld(t, nil)
	for name, tc := range map[string]struct {
		live   Live
		status int
	}{
		"there are none":     {nil, 404},
		"when it has closed": {&fakeLive{err: live.ErrClosed}, 503},
		"for another reason": {&fakeLive{err: errors.New("x")}, 500},
		"answered already":   {&fakeLive{err: fmt.Errorf("%w: x", live.ErrHandshake), write: 426}, 426},
	} {
		if got := handshake(w.withLive(tc.live), "", "66", "tok3ntok3n"); got.status != tc.status {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// A handshake that is refused does not spend the ticket. The answer is the envelope.
func TestRefusedHandshakesKeepTheTicket(t *testing.T) {
	w := newWorld(t, nil)
	w.options.Origins = edge.NewOrigins([]string{"https://shop.example"})
	ticket := w.ticket()
	for name, tc := range map[string]struct {
		origin, query string
		check         error
		status        int
		code          code
		field, header string
	}{
		"another origin":       {"https://evil.example", "", nil, 403, forbidden, "Origin", ""},
		"no upgrade":           {"", "", live.ErrNoUpgrade, 426, upgradeRequired, "Upgrade", "Upgrade"},
		"another version":      {"", "", live.ErrVersion, 426, upgradeRequired, "Sec-WebSocket-Version", "Sec-WebSocket-Version"},
		"no key":               {"", "", live.ErrKey, 400, malformed, "Sec-WebSocket-Key", ""},
		"another subprotocol":  {"", "", live.ErrSubprotocol, 422, invalid, "Sec-WebSocket-Protocol", ""},
		"while the hub closes": {"", "", live.ErrClosed, 503, unavailable, "", "Retry-After"},
		"a strange since":      {"", "&since=x", nil, 422, invalid, "since", ""},
	} {
		r := httptest.NewRequest("GET", livePath+"?ticket="+ticket+tc.query, nil)
		if tc.origin != "" {
			r.Header.Set("Origin", tc.origin)
		}
		l := &fakeLive{check: tc.check}
		got := serve(w.withLive(l), r)
		var fields []string
		if tc.field != "" {
			fields = []string{tc.field}
		}
		w.fails(got, tc.status, tc.code, fields...)
		if l.user != 0 || tc.header != "" && got.header.Get(tc.header) == "" {
			t.Errorf("%s: socket of %d, header %v", name, l.user, got.header)
		}
	}
	l := &fakeLive{}
	if got := handshake(w.withLive(l), "?ticket="+ticket, "", ""); got.status != 200 || l.user != 66 {
		t.Errorf("the ticket is spent: %d %s", got.status, got.body)
	}
}

// Setting a different token ends the sockets that the old one opened, even when the first
// attempt to end them fails. Setting the same token does not.
func TestAnotherTokenEndsSockets(t *testing.T) {
	w := newWorld(t, nil)
	l := &fakeLive{kickErr: context.DeadlineExceeded}
	h := w.withLive(l)
	set := func(token string) answer {
		r := httptest.NewRequest("PUT", "/v2/users/66.json", strings.NewReader(`{"token":"`+token+`"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+directory)
		return serve(h, r)
	}
	w.fails(set("another"), 503, unavailable)
	l.kicks, l.kickErr = 0, nil
	w.must(set("another"), 200)
	if l.kicks == 0 {
		t.Error("the sockets were not ended when the request was repeated")
	}
	l.kicks = 0
	w.must(set("another"), 200)
	if l.kicks != 0 {
		t.Error("the same token ended the sockets")
	}
}
