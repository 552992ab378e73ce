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
	"github.com/go-chi/chi/v5/middleware"

	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
)

// Bounds of a request's body, in bytes.
const (
	smallBody  = 64 << 10
	eventsBody = 8 << 20
)

// unreadTimeout is how long a failure waits for the rest of its request. Otherwise a client
// that does not send the body would keep its connection busy without having signed in.
const unreadTimeout = 2 * time.Second

// An endpoint answers a request, or returns the error to be answered; see
// errors.go.
type endpoint func(r *http.Request) (reply, error)

const get, post, patch, put, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete

// routes registers the endpoints of every resource.
func (a *api) routes() {
	a.router.mux.Use(middleware.GetHead) // HEAD is answered by the endpoint of GET; the server leaves the body out
	a.userRoutes()
	a.serviceRoutes()
	a.small(openAPI(), "/openapi.json", get)
	a.small(asyncAPI(), "/asyncapi.json", get)

	a.router.mux.NotFound(a.router.unmatched(notFoundHere))
	a.router.mux.MethodNotAllowed(a.router.unmatched(a.router.wrongMethod))
}

// small adds an endpoint for requests with a small body.
func (a *api) small(serve endpoint, pattern string, methods ...string) {
	a.router.handle(route{pattern: pattern, limit: smallBody, usual: http.StatusOK, serve: serve}, methods...)
}

// userRoutes adds the endpoints for apps.
func (a *api) userRoutes() {
	// Older apps send PUT where the documents say PATCH.
	for _, p := range []platform{android, ios} {
		path := "/v2/notifications/" + string(p.name) + ".json"
		a.small(a.auth.forUser(a.registration.addDevice(p)), path, post)
		a.small(a.auth.forUser(a.registration.updateDevice(p)), path, patch, put)
		a.small(a.auth.forUser(a.registration.removeDevice(p)), path, del)
	}
	const webPath = "/v2/notifications/web.json"
	a.small(a.auth.forUser(a.browsers.on(a.browsers.publicKey)), webPath, get)
	a.small(a.auth.forUser(a.browsers.on(a.browsers.addBrowser)), webPath, post)
	a.small(a.auth.forUser(a.registration.removeDevice(web)), webPath, del)
	a.small(a.auth.forUser(a.registration.logOut), "/v2/notifications/logout.json", del)
	a.small(a.auth.forUser(a.preferences.showConfig), "/v2/notifications/config.json", get)
	a.small(a.auth.forUser(a.preferences.setConfig), "/v2/notifications/config.json", patch, put)

	a.small(a.auth.forUser(a.notifications.unreads), "/v2/notifications/unreads.json", get)
	a.small(a.auth.forUser(a.notifications.list), "/v2/notifications/list.json", get)
	a.small(a.auth.forUser(a.receipts.accept), "/v2/notifications/receipts.json", post)
	a.small(a.auth.forUser(a.notifications.readAll), "/v2/notifications.json", patch, put)
	a.small(a.auth.forUser(a.notifications.read), "/v2/notifications/{id}.json", patch, put)

	a.small(a.auth.forUser(a.conversations.showInbox), "/v2/messages.json", get)
	a.small(a.auth.forUser(a.messages.createMessage), "/v2/messages.json", post)
	a.small(a.auth.forUser(emoticons()), "/v2/messages/emoticons.json", get)
	a.small(a.auth.forUser(a.conversations.showConversation), "/v2/messages/{id}.json", get)
	a.small(a.auth.forUser(a.conversations.deleteConversation), "/v2/messages/{id}.json", del)
	a.small(a.auth.forUser(a.messages.showMessage), "/v2/messages/im/{id}.json", get)
	a.small(a.auth.forUser(a.messages.deleteMessage), "/v2/messages/im/{id}.json", del)
	a.small(a.auth.forUser(a.contacts.contactList), "/v2/users/contact_list.json", get)
	for _, path := range []string{"/v2/chat_attachments.json", "/v2/users/chat_attachments.json"} {
		upload := route{pattern: path, limit: uploadBody, usual: http.StatusOK, serve: a.auth.forUser(a.files.attach), timeout: fileTimeout}
		a.router.handle(upload, post)
	}
	a.small(a.files.showAttachment, attachmentsPath+"{key}/{name}", get)
	a.small(showDefaultAvatar, defaultAvatarPath, get)
	a.small(a.auth.forSession(a.sockets.ticket), "/v2/live/ticket.json", post)
	a.router.handle(route{pattern: livePath, limit: smallBody, usual: http.StatusSwitchingProtocols, serve: a.sockets.openSocket}, get)
}

// serviceRoutes adds the endpoints for services.
func (a *api) serviceRoutes() {
	events := route{pattern: "/v2/events.json", limit: eventsBody, usual: http.StatusAccepted}
	events.serve = a.auth.forService(ScopeEvents, a.events.publish)
	a.router.handle(events, post)
	a.small(a.auth.forService(ScopeEvents, a.events.showEvent), "/v2/events/{id}.json", get)
	a.small(a.auth.forService(ScopeEvents, a.events.retractEvent), "/v2/events/{id}.json", del)
	broadcasts := route{pattern: "/v2/broadcasts.json", limit: broadcast.MaxSize, usual: http.StatusAccepted}
	broadcasts.serve = a.auth.forService(ScopeBroadcasts, a.broadcasts.startBroadcast)
	a.router.handle(broadcasts, post)
	a.small(a.auth.forService(ScopeBroadcasts, a.broadcasts.showBroadcast), "/v2/broadcasts/{id}.json", get)
	a.small(a.auth.forService(ScopeBroadcasts, a.broadcasts.setBroadcast), "/v2/broadcasts/{id}.json", patch)
	a.small(a.auth.forService(ScopeUsers, a.users.setUser), "/v2/users/{id}.json", put)
	a.small(a.auth.forService(ScopeUsers, a.users.eraseUser), "/v2/users/{id}.json", del)
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

// A router passes requests to the endpoints, and counts and logs them.
type router struct {
	mux      *chi.Mux
	failures *failures
	metrics  *metrics
	log      *slog.Logger
}

// handle adds a route for each of the methods.
func (ro *router) handle(rt route, methods ...string) {
	// An id may contain dots, and chi's "{id}.json" ends at the first one.
	pattern := strings.Replace(rt.pattern, "{id}.json", idPattern, 1)
	for _, method := range methods {
		rt.method = method
		ro.mux.Method(method, pattern, ro.handler(rt))
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

// unmatched returns the handler of requests that match no route.
func (ro *router) unmatched(serve endpoint) http.HandlerFunc {
	return ro.handler(route{pattern: "unmatched", method: "any", usual: http.StatusNotFound, serve: serve})
}

func (ro *router) handler(rt route) http.HandlerFunc {
	count := ro.metrics.route(rt.pattern, rt.method, rt.usual)
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		status := ro.answer(&rt, w, r).write(w, r)
		took := time.Since(start)
		count.observe(status, took)
		if ctx := r.Context(); ro.log.Enabled(ctx, slog.LevelDebug) {
			ro.log.LogAttrs(ctx, slog.LevelDebug, "answered", slog.String("method", rt.method),
				slog.String("route", rt.pattern), slog.Int("status", status), slog.Duration("took", took))
		}
	}
}

// answer runs the route's endpoint. An error, and a panic too, becomes a reply.
func (ro *router) answer(rt *route, w http.ResponseWriter, r *http.Request) (re reply) {
	defer func() {
		if p := recover(); p != nil {
			ro.log.Error("panic in a request", "route", rt.pattern, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			re = ro.failures.failed(r, &failure{code: internal})
		}
	}()
	r.Body = http.MaxBytesReader(w, r.Body, rt.limit)
	if rt.timeout > 0 {
		extend(w, rt.timeout)
	}
	re, err := rt.serve(r)
	if err != nil {
		if r.ContentLength != 0 { // the server reads what is left of the body before it answers
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadTimeout)) // fails only for writers without deadlines
		}
		return ro.failures.fail(rt.pattern, r, err)
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
func (ro *router) wrongMethod(r *http.Request) (reply, error) {
	methods := []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodPut}
	methods = slices.DeleteFunc(methods, func(m string) bool {
		return !ro.mux.Match(chi.NewRouteContext(), m, r.URL.EscapedPath())
	})
	if i := slices.Index(methods, http.MethodGet); i >= 0 {
		methods = slices.Insert(methods, i+1, http.MethodHead)
	}
	if len(methods) == 0 { // an unknown method and an unknown path
		return notFoundHere(r)
	}
	return reply{}, &failure{code: methodNotAllowed, header: map[string]string{"Allow": strings.Join(methods, ", ")}}
}
