package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
)

// Bounds of a request's body, in bytes.
const (
	smallBody  = 64 << 10
	eventsBody = 8 << 20
)

// An endpoint answers a request, or returns the error to be answered; see
// errors.go.
type endpoint func(r *http.Request) (reply, error)

const get, post, patch, put, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete

// routes fills the router.
func (a *api) routes() {
	a.userRoutes()
	a.serviceRoutes()
	a.small(openAPI(), "/openapi.json", get)
	a.small(asyncAPI(), "/asyncapi.json", get)

	unmatched := func(serve endpoint) http.HandlerFunc {
		rt := route{pattern: "unmatched", method: "any", usual: http.StatusNotFound, serve: serve}
		return a.handler(rt)
	}
	a.router.NotFound(unmatched(notFoundHere))
	a.router.MethodNotAllowed(unmatched(a.wrongMethod))
}

// small adds an endpoint for requests with a small body.
func (a *api) small(serve endpoint, pattern string, methods ...string) {
	a.handle(route{pattern: pattern, limit: smallBody, usual: http.StatusOK, serve: serve}, methods...)
}

// userRoutes adds the endpoints for apps.
func (a *api) userRoutes() {
	// Older apps send PUT where the documents say PATCH.
	for _, p := range []platform{android, ios} {
		path := "/v2/notifications/" + string(p.name) + ".json"
		a.small(a.forUser(a.addDevice(p)), path, post)
		a.small(a.forUser(a.updateDevice(p)), path, patch, put)
		a.small(a.forUser(a.removeDevice(p)), path, del)
	}
	a.small(a.forUser(a.logOut), "/v2/notifications/logout.json", del)
	a.small(a.forUser(a.showConfig), "/v2/notifications/config.json", get)
	a.small(a.forUser(a.setConfig), "/v2/notifications/config.json", patch, put)

	a.small(a.forUser(a.unreads), "/v2/notifications/unreads.json", get)
	a.small(a.forUser(a.list), "/v2/notifications/list.json", get)
	a.small(a.forUser(a.readAll), "/v2/notifications.json", patch, put)
	a.small(a.forUser(a.read), "/v2/notifications/{id}.json", patch, put)

	a.small(a.forUser(a.showInbox), "/v2/messages.json", get)
	a.small(a.forUser(a.createMessage), "/v2/messages.json", post)
	a.small(a.forUser(emoticons()), "/v2/messages/emoticons.json", get)
	a.small(a.forUser(a.showConversation), "/v2/messages/{id}.json", get)
	a.small(a.forUser(a.deleteConversation), "/v2/messages/{id}.json", del)
	a.small(a.forUser(a.showMessage), "/v2/messages/im/{id}.json", get)
	a.small(a.forUser(a.deleteMessage), "/v2/messages/im/{id}.json", del)
	a.small(a.forUser(a.contactList), "/v2/users/contact_list.json", get)
	for _, path := range []string{"/v2/chat_attachments.json", "/v2/users/chat_attachments.json"} {
		upload := route{pattern: path, limit: uploadBody, usual: http.StatusOK, serve: a.forUser(a.attach), timeout: fileTimeout}
		a.handle(upload, post)
	}
	a.small(a.showAttachment, attachmentsPath+"{key}/{name}", get)
	a.small(a.forSession(a.ticket), "/v2/live/ticket.json", post)
	a.handle(route{pattern: livePath, limit: smallBody, usual: http.StatusSwitchingProtocols, serve: a.openSocket}, get)
}

// serviceRoutes adds the endpoints for services.
func (a *api) serviceRoutes() {
	events := route{pattern: "/v2/events.json", limit: eventsBody, usual: http.StatusAccepted}
	events.serve = a.forService(ScopeEvents, a.publish)
	a.handle(events, post)
	a.small(a.forService(ScopeEvents, a.showEvent), "/v2/events/{id}.json", get)
	broadcasts := route{pattern: "/v2/broadcasts.json", limit: broadcast.MaxSize, usual: http.StatusAccepted}
	broadcasts.serve = a.forService(ScopeBroadcasts, a.startBroadcast)
	a.handle(broadcasts, post)
	a.small(a.forService(ScopeBroadcasts, a.showBroadcast), "/v2/broadcasts/{id}.json", get)
	a.small(a.forService(ScopeBroadcasts, a.setBroadcast), "/v2/broadcasts/{id}.json", patch)
	a.small(a.forService(ScopeUsers, a.setUser), "/v2/users/{id}.json", put)
	a.small(a.forService(ScopeUsers, a.eraseUser), "/v2/users/{id}.json", del)
}

// A route is an endpoint with its method and path.
type route struct {
	pattern string // as in docs/openapi.yaml
	method  string
	limit   int64 // of the body, in bytes
	usual   int   // the status of success
	serve   endpoint
	timeout time.Duration // for reading the body and answering; the server's when 0
}

// handle adds a route for each of the methods.
func (a *api) handle(rt route, methods ...string) {
	// An id may contain dots, and chi's "{id}.json" ends at the first one.
	pattern := strings.Replace(rt.pattern, "{id}.json", idPattern, 1)
	for _, method := range methods {
		rt.method = method
		a.router.Method(method, pattern, a.handler(rt))
	}
}

const idPattern = `{id:.+\.json}`

// pathID returns the id in the request's path. It may have been percent-encoded.
func pathID(r *http.Request) (string, error) {
	id := strings.TrimSuffix(r.PathValue("id"), ".json")
	if r.URL.RawPath == "" { // decoded already
		return id, nil
	}
	id, err := url.PathUnescape(id)
	if err != nil {
		return "", &failure{code: notFound}
	}
	return id, nil
}

func (a *api) handler(rt route) http.HandlerFunc {
	count := a.metrics.route(rt.pattern, rt.method, rt.usual)
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		status := a.answer(&rt, w, r).write(w, r)
		took := time.Since(start)
		count.observe(status, took)
		if ctx := r.Context(); a.Log.Enabled(ctx, slog.LevelDebug) {
			a.Log.LogAttrs(ctx, slog.LevelDebug, "answered", slog.String("method", rt.method),
				slog.String("route", rt.pattern), slog.Int("status", status), slog.Duration("took", took))
		}
	}
}

// answer runs the route's endpoint. An error, and a panic too, becomes a reply.
func (a *api) answer(rt *route, w http.ResponseWriter, r *http.Request) (re reply) {
	defer func() {
		if p := recover(); p != nil {
			a.Log.Error("panic in a request", "route", rt.pattern, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			re = a.failed(r, &failure{code: internal})
		}
	}()
	r.Body = http.MaxBytesReader(w, r.Body, rt.limit)
	if rt.timeout > 0 {
		extend(w, rt.timeout)
	}
	re, err := rt.serve(r)
	if err != nil {
		return a.fail(rt, r, err)
	}
	return re
}

// notFoundHere answers for paths that no route has.
func notFoundHere(r *http.Request) (reply, error) {
	if r.URL.Path == "/v1" || strings.HasPrefix(r.URL.Path, "/v1/") {
		return reply{}, &failure{code: gone}
	}
	return reply{}, &failure{code: notFound}
}

// wrongMethod answers for paths that a route of another method has.
func (a *api) wrongMethod(r *http.Request) (reply, error) {
	methods := []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodPut}
	methods = slices.DeleteFunc(methods, func(m string) bool {
		return !a.router.Match(chi.NewRouteContext(), m, r.URL.EscapedPath())
	})
	if len(methods) == 0 { // an unknown method and an unknown path
		return notFoundHere(r)
	}
	return reply{}, &failure{code: methodNotAllowed, header: map[string]string{"Allow": strings.Join(methods, ", ")}}
}
