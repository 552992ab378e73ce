package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/cmd/internal/edge"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/live"
)

// fakeLive records whose socket it accepts.
type fakeLive struct {
	user    int64
	until   time.Time
	vouched int64
	since   *int64
	check   error // of Check
	err     error
	write   int // status that it writes itself, unless 0
}

func (l *fakeLive) Check(*http.Request) error { return l.check }

func (l *fakeLive) Accept(w http.ResponseWriter, _ *http.Request, s credentials.Session, since *int64) error {
	l.user, l.until, l.vouched, l.since = s.User, s.Until, s.Vouched, since
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

// A ticket of a token that was replaced is refused, and a socket that was vouched for before
// carries a time that the revocation is later than. Setting the same token ends nothing.
func TestAnotherTokenEndsSessions(t *testing.T) {
	w := newWorld(t, nil)
	set := func(token string) {
		t.Helper()
		w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"token":"`+token+`"}`), 200)
	}
	revoked := func() int64 {
		t.Helper()
		at, err := w.options.Credentials.Vouch(t.Context(), 66)
		check(t, err)
		return at
	}
	open := func(query, token string, want int) *fakeLive {
		t.Helper()
		l := &fakeLive{}
		user := "66"
		if token == "" {
			user = ""
		}
		if got := handshake(w.withLive(l), query, user, token); got.status != want {
			t.Errorf("%s: status %d: %s", query, got.status, got.body)
		}
		return l
	}
	before, same := w.ticket(), w.ticket()
	set("tok3ntok3n")
	open("?ticket="+same, "", 200)
	basic := open("", "tok3ntok3n", 200)
	set("another")
	open("?ticket="+before, "", 401)
	open("", "tok3ntok3n", 401)
	if at := revoked(); at <= basic.vouched {
		t.Errorf("revoked at %d, a socket was vouched for at %d", at, basic.vouched)
	}
	if l := open("", "another", 200); l.vouched != revoked() {
		t.Errorf("vouched for at %d, revoked at %d", l.vouched, revoked())
	}
	set("")
	open("", "another", 401)
}

// In the other modes it is the user's erasure that ends sessions.
func TestErasureEndsSessions(t *testing.T) {
	w := withJWT(t)
	good := token(t, "66", time.Now().Add(time.Hour), jwtSecret)
	issue := func() string {
		issued := w.must(w.do(call{method: "POST", path: "/v2/live/ticket.json", auth: "Bearer " + good}), 200)
		return strings.Split(issued.body, `"`)[7]
	}
	before := issue()
	w.must(w.bearer(directory, "DELETE", "/v2/users/66.json", ""), 200)
	for query, auth := range map[string]string{"?ticket=" + before: "", "": "Bearer " + good} {
		r := httptest.NewRequest("GET", livePath+query, nil)
		r.Header.Set("Authorization", auth)
		if got := serve(w.withLive(&fakeLive{}), r); got.status != 401 {
			t.Errorf("%s %s: %d %s", query, auth, got.status, got.body)
		}
	}
}
