package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kabar-gateway/kabar/cmd/internal/signin"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/inbox"
)

const jwtSecret = "a secret of at least 32 bytes, shared with the issuer"

// token returns a signed token of a user that expires at the given time.
func token(t *testing.T, user string, expires time.Time, secret string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, nil)
	check(t, err)
	signed, err := jwt.Signed(signer).Claims(jwt.Claims{Subject: user, Expiry: jwt.NewNumericDate(expires)}).Serialize()
	check(t, err)
	return signed
}

// elsewhere returns a world in which users sign in through vouch, not with Kabar's own
// tokens.
func elsewhere(t *testing.T, vouch func(signin.Options) SignIn) *world {
	t.Helper()
	server, err := localredis.Shared()
	check(t, err)
	w := worldOver(t, server.Addr(), nil)
	profiles := w.options.Profiles
	w.server.Close()
	w.options.SignIn = vouch(signin.Options{
		Guard:   w.options.Credentials.(*credentials.Store),
		AddUser: func(ctx context.Context, user int64) error { return profiles.Set(ctx, user, inbox.Profile{}) },
		Timeout: waitTimeout,
	})
	w.options.Metrics = nil
	w.server = httptest.NewServer(New(w.options))
	return w
}

// withJWT returns a world in which users sign in with signed tokens.
func withJWT(t *testing.T) *world {
	t.Helper()
	return elsewhere(t, func(o signin.Options) SignIn {
		j, err := signin.NewJWT(signin.JWTOptions{Options: o, Secret: []byte(jwtSecret)})
		check(t, err)
		t.Cleanup(func() { check(t, j.Close()) })
		return j
	})
}

// withUpstream returns a world in which an upstream verifies credentials. It accepts the
// token tok3n, unless status is set to another answer.
func withUpstream(t *testing.T) (w *world, status *atomic.Int32) {
	t.Helper()
	status = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, token, _ := r.BasicAuth()
		switch special := int(status.Load()); {
		case special != 0:
			w.WriteHeader(special)
		case token != "tok3n":
			io.WriteString(w, `{"status":"ERROR","message":"Token salah"}`)
		default:
			fmt.Fprintf(w, `{"status":"OK","user":{"id":%q},"message":null}`, user)
		}
	}))
	w = elsewhere(t, func(o signin.Options) SignIn {
		u, err := signin.NewUpstream(signin.UpstreamOptions{Options: o, URL: server.URL})
		check(t, err)
		t.Cleanup(func() { check(t, u.Close()); server.Close() })
		return u
	})
	return w, status
}

func TestUpstreamSignsIn(t *testing.T) {
	w, status := withUpstream(t)
	as := func(auth string) answer { t.Helper(); return w.basic(auth, "GET", unreadsPath, "") }
	status.Store(500)
	for range 5 { // more often than failures are allowed
		if got := as("66:tok3n"); got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		} else {
			w.fails(got, 503, unavailable)
		}
	}
	status.Store(0)
	w.must(as("66:tok3n"), 200)
	status.Store(503)
	w.must(as("66:tok3n"), 200) // verified a moment ago
	w.fails(as("66:guess"), 503, unavailable)
	status.Store(0)

	for range 3 {
		got := as("66:guess")
		w.fails(got, 401, unauthorized)
		if c := got.header.Get("WWW-Authenticate"); c != basicChallenge {
			t.Errorf("challenge %q", c)
		}
	}
	if got := as("66:guess"); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	} else {
		w.fails(got, 429, rateLimited)
	}
	w.must(as("66:tok3n"), 200)
	for _, auth := range []string{"", "066:tok3n", "Bearer tok3n", "66:"} {
		w.fails(w.do(call{method: "GET", path: unreadsPath, auth: auth}), 401, unauthorized)
	}
	if log := w.log.String(); !strings.Contains(log, "the sign-in service is unavailable") || strings.Contains(log, "tok3n") || strings.Contains(log, "Redis is unavailable") {
		t.Errorf("log:\n%s", log)
	}
}

// A user who has signed in once is known, so that others can write to them.
func TestSigningInMakesKnown(t *testing.T) {
	asUpstream, _ := withUpstream(t)
	asJWT := withJWT(t)
	for name, tc := range map[string]struct {
		w          *world
		ani, budis string
	}{
		"upstream": {asUpstream, "66:tok3n", "67:tok3n"},
		"jwt":      {asJWT, "Bearer " + token(t, "66", time.Now().Add(time.Hour), jwtSecret), "Bearer " + token(t, "67", time.Now().Add(time.Hour), jwtSecret)},
	} {
		t.Run(name, func(t *testing.T) {
			message := call{method: "POST", path: messagesPath, auth: tc.ani, media: typeJSON,
				body: `{"instant_message":{"receiver_id":"67","category":0,"body_bb":"halo"}}`}
			tc.w.must(tc.w.do(message), 404)
			tc.w.must(tc.w.do(call{method: "GET", path: unreadsPath, auth: tc.budis}), 200)
			tc.w.must(tc.w.do(message), 200)
		})
	}
}

func TestJWTSignsIn(t *testing.T) {
	w := withJWT(t)
	soon := time.Now().Add(time.Hour)
	good := token(t, "66", soon, jwtSecret)
	forged := token(t, "66", soon, strings.Repeat("x", 32))
	for name, tc := range map[string]struct {
		auth   string
		status int
	}{
		"bearer":                   {"Bearer " + good, 200},
		"scheme in another case":   {"bearer " + good, 200},
		"as the password of Basic": {"66:" + good, 200},
		"of another user":          {"67:" + good, 401},
		"with a leading zero":      {"066:" + good, 401},
		"forged":                   {"Bearer " + forged, 401},
		"forged, in Basic":         {"66:" + forged, 401},
		"expired":                  {"Bearer " + token(t, "66", time.Now().Add(-time.Minute), jwtSecret), 401},
		"of nobody":                {"Bearer " + token(t, "", soon, jwtSecret), 401},
		"no token":                 {"Bearer ", 401},
		"a service's key":          {"Bearer " + shop, 401},
		"another scheme":           {"Digest " + good, 401},
		"nothing":                  {"", 401},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.must(w.do(call{method: "GET", path: unreadsPath, auth: tc.auth}), tc.status)
			if tc.status == 401 {
				w.fails(got, 401, unauthorized)
				if c := got.header.Get("WWW-Authenticate"); c != bearerChallenge {
					t.Errorf("challenge %q", c)
				}
			}
		})
	}
	w.fails(w.do(call{method: "GET", path: unreadsPath, auth: "Bearer " + forged}), 429, rateLimited)
	w.must(w.do(call{method: "GET", path: unreadsPath, auth: "Bearer " + good}), 200)
	w.must(w.publish(`{"type":"cart","receiver_id":66,"details":{"cart_items":1}}`), 202)
	w.fails(w.do(call{method: "POST", path: "/v2/events.json", auth: "Bearer " + good, media: typeJSON, body: `{}`}), 401, unauthorized)
	if log := w.log.String(); strings.Contains(log, good) || strings.Contains(log, forged) {
		t.Error("tokens are logged")
	}
}

// A service cannot set a user's token when tokens are kept elsewhere.
func TestTokensAreKeptElsewhere(t *testing.T) {
	w := withJWT(t)
	for _, body := range []string{`{"name":"Ani","token":"tok3ntok3n"}`, `{"token":""}`} {
		w.fails(w.bearer(directory, "PUT", "/v2/users/66.json", body), 422, invalid, "token")
	}
	if p := w.profile(); len(p) != 0 {
		t.Errorf("stored %v", p)
	}
	w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"name":"Ani"}`), 200)
	w.must(w.basic("66:tok3ntok3n", "GET", unreadsPath, ""), 401)
}

// A socket can be opened with any credential that signs a user in, and it is given the
// credential's expiry. A ticket carries the expiry over.
func TestSocketsEndWithTheirCredential(t *testing.T) {
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	good := token(t, "66", expires, jwtSecret)
	w := withJWT(t)
	issued := w.must(w.do(call{method: "POST", path: "/v2/live/ticket.json", auth: "Bearer " + good}), 200)
	ticket := strings.Split(issued.body, `"`)[7]
	open := func(w *world, query, auth string, want int, until time.Time) {
		t.Helper()
		l := &fakeLive{}
		r := httptest.NewRequest("GET", livePath+query, nil)
		if user, token, ok := strings.Cut(auth, ":"); ok {
			r.SetBasicAuth(user, token)
		} else {
			r.Header.Set("Authorization", auth)
		}
		got := serve(w.withLive(l), r)
		if got.status != want || (l.user == 66) != (want == 200) || !l.until.Equal(until) {
			t.Errorf("%s %s: status %d, user %d until %v, want %v", query, auth, got.status, l.user, l.until, until)
		}
	}
	open(w, "", "Bearer "+good, 200, expires.Add(signin.Leeway))
	open(w, "", "66:"+good, 200, expires.Add(signin.Leeway))
	open(w, "?ticket="+ticket, "", 200, expires.Add(signin.Leeway))
	open(w, "?ticket="+ticket, "Bearer "+good, 401, time.Time{}) // the ticket has been used
	open(w, "", "Bearer "+token(t, "66", expires, strings.Repeat("x", 32)), 401, time.Time{})
	open(w, "", "", 401, time.Time{})

	w, status := withUpstream(t)
	open(w, "", "66:guess", 401, time.Time{})
	open(w, "", "66:tok3n", 200, time.Time{})
	status.Store(500)
	open(w, "", "66:tok3n", 200, time.Time{})
	open(w, "", "66:tok3m", 503, time.Time{})
}
