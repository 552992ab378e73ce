package api

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/cmd/internal/edge"
	"github.com/kabar-gateway/kabar/devices/credentials"
)

const (
	shopPage = "https://shop.example"
	evilPage = "https://evil.example"
)

// denying lets nobody in.
type denying struct {
	Credentials
	err error
}

func (d denying) Authenticate(context.Context, int64, string, string) (int64, error) { return 0, d.err }

// Every answer lets pages of an allowed origin see it, whatever the status, and no answer
// lets others. The answer to one origin is never taken for that to another.
func TestEveryAnswerIsShared(t *testing.T) {
	for status, tc := range map[int]struct {
		opts         Options
		method, path string
		body         string
	}{
		200: {Options{}, "GET", unreadsPath, ""},
		401: {Options{Credentials: denying{err: credentials.ErrUnauthorized}}, "GET", unreadsPath, ""},
		404: {Options{}, "GET", "/v2/nothing", ""},
		405: {Options{}, "DELETE", unreadsPath, ""},
		410: {Options{}, "GET", "/v1/messages.json", ""},
		422: {Options{}, "GET", "/v2/notifications/list.json?page=x", ""},
		429: {Options{Credentials: denying{err: &credentials.LockedOutError{RetryAfter: 1}}}, "GET", unreadsPath, ""},
		500: {Options{Counters: fakeCounters{panic: "x"}}, "GET", unreadsPath, ""},
		503: {Options{Counters: fakeCounters{err: redisError("LOADING")}}, "GET", unreadsPath, ""},
	} {
		opts := tc.opts
		if opts.Counters == nil {
			opts.Counters = fakeCounters{}
		}
		if opts.Credentials == nil {
			opts.Credentials = fakeCredentials{}
		}
		opts.Publisher, opts.Origins = fakePublisher{}, edge.NewOrigins([]string{shopPage, "https://*.shop.example"})
		h := New(opts)
		for origin, allowed := range map[string]bool{shopPage: true, "https://m.shop.example": true, evilPage: false, "null": false, "": false} {
			r := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
			r.SetBasicAuth("66", "t")
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			got := serve(h, r)
			want := ""
			if allowed {
				want = origin
			}
			if got.status != status || got.header.Get("Access-Control-Allow-Origin") != want || got.header.Get("Vary") != "Origin" {
				t.Errorf("%d for %q: %d %v", status, origin, got.status, got.header)
			}
			for _, header := range []string{"Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
				if (got.header.Get(header) != "") != allowed {
					t.Errorf("%d for %q: %s is %q", status, origin, header, got.header.Get(header))
				}
			}
		}
	}
}

func TestWithoutOriginsNothingIsShared(t *testing.T) {
	h := New(Options{Counters: fakeCounters{}, Credentials: fakeCredentials{}, Publisher: fakePublisher{}})
	r := httptest.NewRequest("GET", unreadsPath, nil)
	r.SetBasicAuth("66", "t")
	r.Header.Set("Origin", shopPage)
	for name := range serve(h, r).header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("the answer has %s", name)
		}
	}
}

func preflight(w *world, origin, method, path string) answer {
	r := httptest.NewRequest("OPTIONS", path, nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", method)
	r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
	opts := w.options
	opts.Origins, opts.Metrics = edge.NewOrigins([]string{shopPage}), nil
	return serve(New(opts), r)
}

// A browser asks before it sends a token. The refusal says which origin was refused and
// where to allow it, also to the operator.
func TestPreflight(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{unreadsPath, "/v2/messages.json", "/v2/nothing", "/v1/messages.json"} {
		got := preflight(w, shopPage, "PATCH", path)
		if got.status != 204 || got.body != "" || got.header.Get("Access-Control-Allow-Origin") != shopPage || got.header.Get("Vary") != "Origin" {
			t.Errorf("%s: %d %q %v", path, got.status, got.body, got.header)
		}
		for header, word := range map[string]string{
			"Access-Control-Allow-Methods": "PATCH", "Access-Control-Allow-Headers": "Authorization", "Access-Control-Max-Age": "7200",
		} {
			if !strings.Contains(got.header.Get(header), word) {
				t.Errorf("%s: %s is %q", path, header, got.header.Get(header))
			}
		}
	}
	got := preflight(w, evilPage, "PATCH", unreadsPath)
	e := w.fails(got, 403, forbidden, "Origin")
	for _, part := range []string{evilPage, "origins", "KABAR_ORIGINS"} {
		if !strings.Contains(e.Errors["Origin"], part) {
			t.Errorf("%q does not name %s", e.Errors["Origin"], part)
		}
	}
	if !strings.Contains(w.log.String(), evilPage) || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("header %v, log %s", got.header, w.log)
	}
}

// Pages of our own host and of allowed origins open sockets, and programs, which send no
// Origin.
func TestOriginsOfSockets(t *testing.T) {
	w := newWorld(t, nil)
	w.options.Origins = edge.NewOrigins([]string{shopPage, "https://*.shop.example"})
	for origin, status := range map[string]int{
		"":                                    200,
		shopPage:                              200,
		"https://m.shop.example":              200,
		"http://kabar.test":                   200, // our own
		"https://KABAR.test":                  200,
		evilPage:                              403,
		"http://shop.example":                 403,
		"https://shop.example:8443":           403,
		"https://shop.example.evil":           403,
		"https://kabar.test.evil":             403,
		"null":                                403,
		"https://" + strings.Repeat("é", 300): 403,
	} {
		l := &fakeLive{}
		r := httptest.NewRequest("GET", "http://kabar.test"+livePath, nil)
		r.SetBasicAuth("66", "tok3ntok3n")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		h := w.withLive(l)
		if got := serve(h, r); got.status != status || (l.user == 66) != (status == 200) {
			t.Errorf("%s: %d %s", origin, got.status, got.body)
		}
	}
}

func TestRefusedOriginsAreCounted(t *testing.T) {
	w := newWorld(t, nil)
	w.do(call{method: "OPTIONS", path: unreadsPath, header: map[string]string{"Origin": evilPage, "Access-Control-Request-Method": "GET"}})
	n, err := testutil.GatherAndCount(w.metrics, "kabar_origins_refused_total")
	check(t, err)
	if n != 2 { // a preflight and a socket have a series each
		t.Errorf("%d series", n)
	}
	check(t, testutil.GatherAndCompare(w.metrics, strings.NewReader(`
# HELP kabar_origins_refused_total Requests of pages refused because their origin is not allowed: preflight requests, and sockets.
# TYPE kabar_origins_refused_total counter
kabar_origins_refused_total{kind="preflight"} 1
kabar_origins_refused_total{kind="socket"} 0
`), "kabar_origins_refused_total"))
}
