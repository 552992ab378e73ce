package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/kabar-gateway/kabar/cmd/internal/edge"
)

// An entrance is what every request passes before the router: it notes where the request
// comes from, and adds the header for pages of other origins to every answer, failures
// included.
type entrance struct {
	proxies   edge.Proxies
	origins   *origins
	router    http.Handler
	preflight http.Handler
	refuse    http.Handler // of connections that are too many
}

// ServeHTTP implements http.Handler.
func (e *entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client := edge.Network(e.proxies.Client(r))
	r = r.WithContext(context.WithValue(r.Context(), clientKey{}, client))
	e.origins.share(w.Header(), r)
	switch {
	case edge.Refused(r.Context()) != "":
		e.refuse.ServeHTTP(w, r)
	case isPreflight(r):
		e.preflight.ServeHTTP(w, r)
	default:
		e.router.ServeHTTP(w, r)
	}
}

type clientKey struct{}

// clientAddress returns where a request comes from, as limits count it: an IPv4 address, or
// the /64 of an IPv6 address. Trusted proxies are looked through. It is the zero Prefix when
// the connection has no IP address.
func clientAddress(r *http.Request) netip.Prefix {
	client, _ := r.Context().Value(clientKey{}).(netip.Prefix)
	return client
}

// tooManyConnections answers on a connection that is over a limit, and closes it.
func tooManyConnections(*http.Request) (reply, error) {
	return reply{}, &failure{
		code:   rateLimited,
		header: map[string]string{"Retry-After": seconds(retryAfter), "Connection": "close"},
		fields: map[string]string{"connections": "are too many at the moment; send several requests over one connection, and close those that you do not need"},
	}
}
