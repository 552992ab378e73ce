package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestMain(m *testing.M) {
	localredistest.Main(m, func() error { http.DefaultClient.CloseIdleConnections(); return nil })
}

// patient is how long a test waits for something that should happen at once.
const patient = time.Minute

const partitions = 4

// A world is a dispatcher and an inbox with keys of their own. The users 15 and 66 know
// each other.
type world struct {
	*dispatcher.Dispatcher
	Inbox   *inbox.Store
	devices *devices.Registry
	t       testing.TB
	rdb     redis.UniversalClient
	batcher *rdb.Batcher
	sharded bool
}

var worlds atomic.Int64

func newWorld(t testing.TB, change ...func(*dispatcher.Options)) *world {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, redis.NewClient(localredistest.Options(server.Addr())), false, change...)
}

func newWorldOn(t testing.TB, redisClient redis.UniversalClient, sharded bool, change ...func(*dispatcher.Options)) *world {
	t.Helper()
	prefix := strings.NewReplacer("/", ".", "{", "", "}", "").Replace(t.Name()) + "." + strconv.FormatInt(worlds.Add(1), 10) // -count repeats the name
	parts := rdb.NewPartitions(prefix, partitions)
	b := rdb.NewBatcher(redisClient, 0)
	registry := devices.New(devices.Options{Redis: redisClient, Batcher: b, Partitions: parts})
	w := &world{t: t, devices: registry, rdb: redisClient, batcher: b, sharded: sharded}
	opts := dispatcher.Options{
		Sends: chat.Rate{PerSecond: 1e6, Burst: 1e6}, // tests of rate limits set their own
		Redis: redisClient, Partitions: parts, Devices: registry,
		Credentials: credentials.New(credentials.Options{Batcher: b, Partitions: parts}),
		Inbox: inbox.New(inbox.Options{
			Redis: redisClient, Batcher: b, Partitions: parts, Devices: registry.ListKey,
			Dedupe: 168 * time.Hour, Keep: 2160 * time.Hour, MaxNotifications: 1000, RetryFor: 24 * time.Hour, Sharded: sharded,
		}),
	}
	for _, f := range change {
		f(&opts)
	}
	w.Inbox, w.Dispatcher = opts.Inbox, dispatcher.New(opts)
	for user, name := range map[int64]string{15: "Me Ow", 66: "Testing Account"} {
		if err := w.Inbox.Profiles.Set(t.Context(), user, inbox.Profile{Name: &name}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := w.Auditor.All(context.Background(), false, func(f inbox.Finding) { t.Errorf("audit: %+v", f) }); err != nil {
			t.Error(err)
		}
		b.Close()
		redisClient.Close()
	})
	return w
}

func (w *world) send(from, to int64, text string) string {
	w.t.Helper()
	id, err := w.Chat.Send(context.Background(), from, chat.OutgoingMessage{Receiver: to, Body: text})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

const promo = `{"id":"%s","type":"discount","receiver_id":%d,"title":"t","message":"m","details":{"image_url":null}}`

func (w *world) publish(user int64, id string) {
	w.t.Helper()
	w.publishEvent(fmt.Sprintf(promo, id, user))
}

// publishEvent publishes an event, given as JSON.
func (w *world) publishEvent(event string) {
	w.t.Helper()
	e, err := w.Parse([]byte(event))
	if err != nil {
		w.t.Fatal(err)
	}
	if r := w.Publish(context.Background(), "service:test", e)[0]; r.Err != nil {
		w.t.Fatal(r.Err)
	}
}

// revoked returns when a user's credentials were last revoked.
func (w *world) revoked(user int64) int64 {
	w.t.Helper()
	now, err := w.Inbox.Live.Snapshot(context.Background(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return now.Revoked
}

// newest returns the sequence number of a user's newest frame.
func (w *world) newest(user int64) int64 {
	w.t.Helper()
	_, newest, _, err := w.Inbox.Live.Replay(context.Background(), user, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return newest
}

// A process is a hub behind an HTTP server, like a process of Kabar.
type process struct {
	*Hub
	w    *world
	url  string
	stop func()
}

// options returns the options of a hub that serves the users of w.
func (w *world) options() Options {
	return Options{
		Redis: w.rdb, Batcher: w.batcher, Chat: w.Chat, Locales: w.Dispatcher, Types: w.Types(),
		Channels: w.Inbox.Live, Counters: w.Inbox.Counters, Notifications: w.Inbox.Notifications,
		Conversations: w.Inbox.Conversations, Sharded: w.sharded,
	}
}

// start starts a process. Sockets name their user in the query.
func (w *world) start(change ...func(*Options)) *process {
	w.t.Helper()
	opts := w.options()
	opts.Log, opts.Metrics = slog.New(slog.NewTextHandler(testWriter{w.t}, nil)), prometheus.NewRegistry()
	for _, f := range change {
		f(&opts)
	}
	p := &process{Hub: New(opts), w: w}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	p.url = server.URL
	p.stop = sync.OnceFunc(func() { cancel(); running.Wait(); server.Close() })
	w.t.Cleanup(p.stop)
	return p
}

// serve accepts a socket. Its query names the user, and may have since, until (Unix ms) and
// vouched, which is now unless it is given.
func (p *process) serve(w http.ResponseWriter, r *http.Request) {
	number := func(name string) (n int64, ok bool) {
		n, err := strconv.ParseInt(r.FormValue(name), 10, 64)
		return n, err == nil
	}
	var session credentials.Session
	session.User, _ = number("user")
	var since *int64
	if n, ok := number("since"); ok {
		since = &n
	}
	if ms, ok := number("until"); ok {
		session.Until = time.UnixMilli(ms)
	}
	var ok bool
	if session.Vouched, ok = number("vouched"); !ok {
		now, err := p.w.Inbox.Live.Snapshot(r.Context(), session.User)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		session.Vouched = now.Revoked
	}
	switch err := p.Accept(w, r, session, since); {
	case errors.Is(err, ErrSubprotocol):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, ErrClosed):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// revoke revokes the credentials of a user.
func (w *world) revoke(user int64) {
	w.t.Helper()
	if err := w.Inbox.Live.Revoke(context.Background(), user); err != nil {
		w.t.Fatal(err)
	}
}

// deafen unsubscribes a user's channel while sockets are open. hear subscribes it again.
// The process must have no heartbeat, because the check at each heartbeat would subscribe
// it, too.
func (p *process) deafen(user int64) (hear func()) {
	p.w.t.Helper()
	u := p.users.find(p.w.Inbox.Live.Channel(user))
	conn := u.conn.Swap(newPubsubConn(p.pubsub, "elsewhere"))
	conn.change(u.channel)
	eventually(p.w.t, "unsubscribed", func() bool {
		return p.w.rdb.PubSubNumSub(context.Background(), u.channel).Val()[u.channel] == 0
	})
	return func() { u.conn.Store(conn); conn.change(u.channel) }
}

// testWriter writes log lines to the log of the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// A receivedFrame is a frame from the server, as a client decodes it.
type receivedFrame struct {
	Op             string
	Seq, Prev      int64
	Ref            any
	Status         string
	Code           string
	Message        any
	ID             string
	Conversation   string `json:"conversation_id"`
	UserID         string `json:"user_id"`
	MessageID      string `json:"message_id"`
	Online         bool
	LastSeen       string `json:"last_seen"`
	Unread         int
	Errors         map[string]string
	Unreads        map[string]int
	PingInterval   int `json:"ping_interval"`
	MaxFrame       int `json:"max_frame"`
	Event          struct{ Type, ID string }
	InstantMessage struct{ ID, Body string } `json:"instant_message"`
	raw            string
}

// A client is the other end of a socket.
type client struct {
	t       testing.TB
	ws      *websocket.Conn
	kept    []receivedFrame // read while another op was waited for, oldest first
	checked map[string]int  // number of frames checked against the document, by op
}

func (p *process) dial(user int64, since ...int64) *client {
	p.w.t.Helper()
	c, err := p.tryDial(user, since...)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return c
}

func (p *process) tryDial(user int64, since ...int64) (*client, error) {
	query := fmt.Sprintf("user=%d", user)
	if len(since) > 0 {
		query += fmt.Sprintf("&since=%d", since[0])
	}
	return p.dialQuery(query)
}

func (p *process) dialQuery(query string) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, p.url+"/?"+query, &websocket.DialOptions{Subprotocols: []string{Subprotocol}})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	p.w.t.Cleanup(func() { ws.CloseNow() })
	return &client{t: p.w.t, ws: ws}, nil
}

// receive returns the oldest frame that it has not returned yet.
func (c *client) receive() (receivedFrame, error) {
	if len(c.kept) > 0 {
		f := c.kept[0]
		c.kept = c.kept[1:]
		return f, nil
	}
	return c.read()
}

// read reads the next frame from the socket.
func (c *client) read() (receivedFrame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		return receivedFrame{}, err
	}
	f := receivedFrame{raw: string(b)}
	if err := json.Unmarshal(b, &f); err != nil {
		return receivedFrame{}, fmt.Errorf("%s: %w", b, err)
	}
	c.check(f)
	return f, nil
}

// check checks the first frames of each op against the document. Checking all of them would
// take too long, because each check compiles the schema.
func (c *client) check(f receivedFrame) {
	const enough = 3
	if c.checked == nil {
		c.checked = make(map[string]int)
	}
	if c.checked[f.Op]++; c.checked[f.Op] <= enough {
		conforms(c.t, []byte(f.raw))
	}
}

// next returns the oldest frame with one of the ops that it has not returned yet. It keeps
// other frames for later, because frames of different ops may arrive in any order.
func (c *client) next(ops ...string) receivedFrame {
	c.t.Helper()
	wanted := func(f receivedFrame) bool { return slices.Contains(ops, f.Op) }
	if i := slices.IndexFunc(c.kept, wanted); i >= 0 {
		f := c.kept[i]
		c.kept = slices.Delete(c.kept, i, i+1)
		return f
	}
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for %v: %v; kept %v", ops, err, c.kept)
		}
		if wanted(f) {
			return f
		}
		c.kept = append(c.kept, f)
	}
}

// closed waits until the socket is closed and returns the server's close code.
func (c *client) closed() websocket.StatusCode {
	c.t.Helper()
	for {
		if _, err := c.receive(); err != nil {
			code := websocket.CloseStatus(err)
			if !slices.Contains(protocolOf(c.t).codes, int(code)) {
				c.t.Errorf("close code %d is not documented", code)
			}
			return code
		}
	}
}

func (c *client) write(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !ok(); {
		if !time.Now().Before(deadline) {
			t.Fatalf("%s: condition not met after %v", what, patient)
		}
		rdb.Sleep(context.Background(), 2*time.Millisecond)
	}
}
