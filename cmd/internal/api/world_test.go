package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/attachments"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// The credentials of the callers in tests.
const (
	ani       = "66:tok3ntok3n"
	budi      = "67:tok3nbudi"
	shop      = "shop-key"  // may do everything
	shop2     = "shop2-key" // may publish events
	directory = "users-key" // may set users
	marketing = "cast-key"  // may start broadcasts
	strict    = "strict"    // has its slips refused
)

var services = []Service{
	{Name: "shop", KeySHA256: sha256.Sum256([]byte(shop))},
	{Name: "shop2", KeySHA256: sha256.Sum256([]byte(shop2)), Scopes: []string{ScopeEvents}},
	{Name: "strict", KeySHA256: sha256.Sum256([]byte(strict)), Strict: true},
	{Name: "directory", KeySHA256: sha256.Sum256([]byte(directory)), Scopes: []string{ScopeUsers}},
	{Name: "marketing", KeySHA256: sha256.Sum256([]byte(marketing)), Scopes: []string{ScopeBroadcasts}},
}

// A world is the complete handler over the real packages and a Redis. It has a clock of its
// own.
type world struct {
	t          *testing.T
	prefix     string // of its keys in Redis
	server     *httptest.Server
	redis      *redis.Client
	dispatcher *dispatcher.Dispatcher
	inbox      *inbox.Store
	options    Options
	files      *attachments.Store
	metrics    *prometheus.Registry
	log        *logBuffer
	now        atomic.Pointer[time.Time] // time on the clock, or nil for the real time
}

// worlds counts the worlds, so that a repeated test gets new keys.
var worlds atomic.Int64

// newWorld returns a world on the Redis that the tests share. Ani and Budi can sign in.
func newWorld(t *testing.T, senders map[push.Route]push.Sender) *world {
	t.Helper()
	server, err := localredis.Shared()
	check(t, err)
	w := worldOver(t, server.Addr(), senders)
	w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"token":"tok3ntok3n"}`), 200)
	w.must(w.bearer(directory, "PUT", "/v2/users/67.json", `{"token":"tok3nbudi"}`), 200)
	return w
}

func worldOver(t *testing.T, addr string, senders map[push.Route]push.Sender) *world {
	t.Helper()
	w := &world{t: t, prefix: fmt.Sprint(t.Name(), worlds.Add(1)), metrics: prometheus.NewRegistry(), log: &logBuffer{}}
	clock := func() time.Time {
		if now := w.now.Load(); now != nil {
			return *now
		}
		return time.Now()
	}
	jakarta, err := time.LoadLocation("Asia/Jakarta")
	check(t, err)
	w.redis = redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: waitTimeout, WriteTimeout: waitTimeout, MaxRetries: 1, DialerRetries: 1})
	parts := rdb.NewPartitions(w.prefix, 4)
	batcher := rdb.NewBatcher(w.redis, 0)
	registry := devices.New(devices.Options{Redis: w.redis, Batcher: batcher, Partitions: parts})
	signIns := credentials.New(credentials.Options{
		Batcher: batcher, Partitions: parts, Lockout: credentials.Lockout{Failures: 3},
	})
	w.inbox = inbox.New(inbox.Options{
		Redis: w.redis, Batcher: batcher, Partitions: parts, Devices: registry.ListKey,
		Dedupe: 7 * 24 * time.Hour, Keep: 90 * 24 * time.Hour, MaxNotifications: 1000, RetryFor: 24 * time.Hour, Now: clock,
	})
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.dispatcher = dispatcher.New(dispatcher.Options{
		Redis: w.redis, Partitions: parts, Inbox: w.inbox, Devices: registry, Credentials: signIns,
		Senders: senders, Location: jakarta, Log: log, Now: clock,
		Types: []event.Type{{Name: "flash_sale", Lane: push.Bulk, Message: "Flash sale!"}},
	})
	w.files, err = attachments.Open(t.Context(), attachments.Options{URL: "mem://", Batcher: batcher, Partitions: parts, Erased: w.inbox.Eraser.Erased})
	check(t, err)
	w.options = Options{
		Attachments:   w.files,
		Notifications: w.inbox.Notifications, Counters: w.inbox.Counters, Conversations: w.inbox.Conversations,
		Profiles: w.inbox.Profiles, Contacts: w.inbox.Contacts, Devices: registry, Credentials: signIns,
		Publisher: w.dispatcher, Deliveries: w.dispatcher.Delivery, Broadcasts: w.dispatcher.Broadcasts, Receipts: w.dispatcher.Receipts, Chat: w.dispatcher.Chat,
		Eraser: w.dispatcher.Janitor, Types: w.dispatcher.Types(), Services: services, Apps: []string{"seller"},
		Location: jakarta, Log: log, Metrics: w.metrics,
	}
	w.server = httptest.NewServer(New(w.options))
	t.Cleanup(func() {
		w.server.Close()
		check(t, w.files.Close())
		if w.redis.Ping(context.Background()).Err() == nil { // unless the test has stopped Redis
			check(t, w.dispatcher.Auditor.All(context.Background(), false, func(f inbox.Finding) { t.Errorf("audit: %+v", f) }))
		}
		batcher.Close()
		w.redis.Close()
	})
	return w
}

// run runs the dispatcher, which delivers pushes, until the test ends.
func (w *world) run() {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.dispatcher.Run(ctx) })
	w.t.Cleanup(func() { stop(); wg.Wait() })
}

// at sets the clock.
func (w *world) at(rfc3339 string) {
	now, err := time.Parse(time.RFC3339, rfc3339)
	check(w.t, err)
	w.now.Store(&now)
}

// A call is a request that a test makes.
type call struct {
	method, path string
	auth         string // "user:token", or "Bearer KEY"
	media        string // Content-Type
	header       map[string]string
	body         string
	chunked      bool // sent without Content-Length
}

// An answer is the response to a call.
type answer struct {
	call   call
	status int
	header http.Header
	body   string
}

// do makes a call and checks the answer against the OpenAPI document.
func (w *world) do(c call) answer {
	w.t.Helper()
	var body io.Reader = strings.NewReader(c.body)
	if c.chunked {
		body = io.MultiReader(body) // so that the client does not know the length
	}
	r, err := http.NewRequestWithContext(w.t.Context(), c.method, w.server.URL+c.path, body)
	check(w.t, err)
	if user, token, ok := strings.Cut(c.auth, ":"); ok {
		r.SetBasicAuth(user, token)
	} else if c.auth != "" {
		r.Header.Set("Authorization", c.auth)
	}
	if c.media != "" {
		r.Header.Set("Content-Type", c.media)
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	resp, err := w.server.Client().Do(r)
	check(w.t, err)
	a := readAnswer(w.t, resp)
	a.call = c
	conforms(w.t, a)
	return a
}

// readAnswer reads a complete response.
func readAnswer(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(raw)}
}

// basic makes a call as a user, with a form as the body.
func (w *world) basic(auth, method, path, form string) answer {
	w.t.Helper()
	return w.do(call{method: method, path: path, auth: auth, media: typeForm, body: form})
}

// bearer makes a call as a service, with JSON as the body.
func (w *world) bearer(key, method, path, body string) answer {
	w.t.Helper()
	return w.do(call{method: method, path: path, auth: "Bearer " + key, media: typeJSON, body: body})
}

// publish publishes an event as the shop.
func (w *world) publish(body string) answer {
	w.t.Helper()
	return w.bearer(shop, "POST", "/v2/events.json", body)
}

func (w *world) get(path string) answer {
	w.t.Helper()
	return w.do(call{method: "GET", path: path, auth: ani})
}

// must stops the test unless an answer has the given status.
func (w *world) must(a answer, status int) answer {
	w.t.Helper()
	if a.status != status {
		w.t.Fatalf("%s %s: %d %s, want %d", a.call.method, a.call.path, a.status, a.body, status)
	}
	return a
}

// fails checks that an answer is the envelope of a failure. It must name exactly the given
// fields in errors.
func (w *world) fails(a answer, status int, c code, fields ...string) envelopeRead {
	w.t.Helper()
	w.must(a, status)
	e := a.envelope(w.t)
	if e.Status != "ERROR" || e.Code != c || e.Message == "" {
		w.t.Errorf("%s %s: %s, want code %s", a.call.method, a.call.path, a.body, c)
	}
	for _, f := range fields {
		if e.Errors[f] == "" {
			w.t.Errorf("%s %s: errors %v do not name %s", a.call.method, a.call.path, e.Errors, f)
		}
	}
	if len(e.Errors) != len(fields) {
		w.t.Errorf("%s %s: errors %v, want %v", a.call.method, a.call.path, e.Errors, fields)
	}
	return e
}

// envelopeRead is any envelope, as a client decodes it.
type envelopeRead struct {
	Status, Message string
	ID              *string
	Duplicate       *bool
	Code            code
	Unread          *int
	Errors          map[string]string
	Results         []envelopeRead
	Data            []struct{ ID, Type, Message string }
}

func (a answer) envelope(t *testing.T) envelopeRead {
	t.Helper()
	var e envelopeRead
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("%s %s: %q: %v", a.call.method, a.call.path, a.body, err)
	}
	return e
}

// logBuffer collects log output.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
