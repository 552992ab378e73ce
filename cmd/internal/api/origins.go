package api

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/kabar-gateway/kabar/cmd/internal/edge"
)

// textOriginRefused is the id of the text for pages of an origin that is not allowed.
const textOriginRefused = "api.origin.refused"

// What pages of other origins may send and see.
const (
	sharedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	sharedHeaders = "Accept-Language, Authorization, Content-Type, Etag, If-None-Match, Range"
	shownHeaders  = "Allow, ETag, Retry-After, WWW-Authenticate"
	// preflightAge is for how many seconds a browser may keep the answer to a preflight
	// request. Browsers keep it for two hours at most.
	preflightAge = "7200"
)

// maxOriginShown bounds what is shown of an Origin, in bytes.
const maxOriginShown = 200

// origins applies what the configuration says of pages of other origins (CORS).
type origins struct {
	allowed edge.Origins
	log     *slog.Logger
	refused *prometheus.CounterVec // by kind of request
	seldom  rate.Sometimes         // log lines
}

// The kinds of requests that are refused because of their origin.
const (
	aPreflight = "preflight"
	aSocket    = "socket"
)

func newOrigins(allowed edge.Origins, log *slog.Logger, refused *prometheus.CounterVec) *origins {
	return &origins{allowed: allowed, log: log, refused: refused, seldom: rate.Sometimes{First: 1, Interval: time.Minute}}
}

// share adds to the header of an answer what lets pages of allowed origins see it. The
// origin is named and never *, so that such a page may send credentials.
func (o *origins) share(h http.Header, r *http.Request) {
	if !o.allowed.Any() {
		return
	}
	h.Set("Vary", "Origin")
	if origin := r.Header.Get("Origin"); o.allowed.Allows(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", shownHeaders)
	}
}

// isPreflight reports whether a browser asks before it sends the request of a page.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers what pages of an origin may send. The answer is the same for every
// path, so that a page can read why a request fails.
func (o *origins) preflight(r *http.Request) (reply, error) {
	if origin := r.Header.Get("Origin"); !o.allowed.Allows(origin) {
		return reply{}, o.refuse(aPreflight, origin)
	}
	return reply{
		header: map[string]string{
			"Access-Control-Allow-Methods": sharedMethods,
			"Access-Control-Allow-Headers": sharedHeaders,
			"Access-Control-Max-Age":       preflightAge,
		},
		serve: func(w http.ResponseWriter, _ *http.Request) int {
			w.WriteHeader(http.StatusNoContent)
			return http.StatusNoContent
		},
	}, nil
}

// mayOpenSocket returns the failure of a handshake that comes from a page of another origin
// which is not allowed. Browsers do not ask before they open a socket. Our own pages are
// those whose host is the one that the request names.
func (o *origins) mayOpenSocket(r *http.Request) error {
	list := r.Header.Values("Origin")
	if len(list) == 0 { // not from a page
		return nil
	}
	origin := strings.Join(list, ", ")
	if o.allowed.Allows(origin) {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	return o.refuse(aSocket, origin)
}

// refuse is the failure of a request from a page of an origin. It says where to allow it, to
// the client and, once a minute, to the operator: browsers do not show answers to pages of
// other origins.
func (o *origins) refuse(kind, origin string) error {
	if len(origin) > maxOriginShown {
		origin = strings.ToValidUTF8(origin[:maxOriginShown], "") + "…"
	}
	o.refused.WithLabelValues(kind).Inc()
	o.seldom.Do(func() {
		o.log.Warn("pages of an origin are refused; if they are yours, add it to origins in the configuration", "origin", origin, "kind", kind)
	})
	return &failure{code: forbidden, text: textOriginRefused, fields: map[string]string{
		"Origin": origin + " is not allowed; to allow its pages, add it to origins in the configuration of Kabar (KABAR_ORIGINS)",
	}}
}
