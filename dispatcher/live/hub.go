package live

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Subprotocol is the websocket subprotocol that clients must ask for.
const Subprotocol = "kabar.v1"

const (
	requestTimeout = 10 * time.Second // of a request to Redis
	stopTimeout    = 5 * time.Second  // for Run to close the sockets that are left
	drainSpread    = time.Second      // Drain spreads its closes over this time
)

// ErrClosed is returned by Accept while the hub is closing. The client should
// connect to another process.
var ErrClosed = errors.New("the hub is closing")

// A Hub holds the sockets of this process. Its methods are safe for concurrent use.
type Hub struct {
	opts       Options
	goroutines *goroutines
	metrics    *metrics
	users      *registry
	counts     *countQueue
	frames     *frameBuilder
	replayLog  *replayLog
	replayer   *replayer
	presence   *presence
	pubsub     *pubsub
	requests   *requests

	sockets   atomic.Int64 // open
	admission gate         // counts sockets, from before the handshake until they have left
}

// New returns a hub. Sockets are served while Run runs.
func New(opts Options) *Hub {
	opts.defaults()
	h := &Hub{opts: opts, goroutines: newGoroutines()}
	process := uuid.NewString()[:8]
	h.metrics = newMetrics(opts.Metrics, h.sockets.Load)
	h.users = newRegistry(opts.MaxSockets)
	h.counts = newCountQueue(opts.Counters, opts.Log)
	h.frames = &frameBuilder{types: opts.Types, location: opts.Location}
	h.replayLog = newReplayLog(&h.opts, h.frames, h.goroutines)
	h.replayer = &replayer{
		channels: opts.Channels, replayLog: h.replayLog, counts: h.counts,
		goroutines: h.goroutines, metrics: h.metrics, log: opts.Log,
	}
	publisher := &publisher{batcher: opts.Batcher, channels: opts.Channels, sharded: opts.Sharded}
	h.presence = &presence{
		process: process, batcher: opts.Batcher, channels: opts.Channels, publisher: publisher,
		location: opts.Location, log: opts.Log, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
	h.pubsub = &pubsub{
		redis: opts.Redis, sharded: opts.Sharded, process: process, heartbeat: opts.Heartbeat, linger: opts.Linger,
		users: h.users, router: &router{users: h.users, frames: h.frames, counts: h.counts, log: opts.Log},
		goroutines: h.goroutines, metrics: h.metrics, log: opts.Log,
		suspect: make(chan struct{}, 1), conns: make(map[string]*pubsubConn),
	}
	registerConnections(opts.Metrics, h.pubsub.count)
	h.requests = &requests{
		chat: opts.Chat, channels: opts.Channels, notifications: opts.Notifications, conversations: opts.Conversations,
		presence: h.presence, publisher: publisher, typingInterval: opts.Typing, repeats: h.metrics.typing, log: opts.Log,
	}
	return h
}

// Run serves sockets until ctx ends. Then it closes the sockets that are left, and
// returns when all goroutines of the hub have ended. It may be called once.
func (h *Hub) Run(ctx context.Context) {
	loops := h.goroutines.context()
	h.goroutines.start(func() { h.pingLoop(loops) })
	h.goroutines.start(func() { h.tidyLoop(loops) })
	h.goroutines.start(func() { h.counts.run(loops) })
	h.goroutines.start(func() { h.pubsub.run(loops) })
	h.goroutines.start(func() { h.presence.run(loops) })
	<-ctx.Done()
	stopping, stop := context.WithTimeout(context.Background(), stopTimeout)
	defer stop()
	h.Drain(stopping)
	h.lingerOnline(stopping)
	h.goroutines.stop()
}

// Drain refuses new sockets and closes the open ones with 1012, which tells clients
// to reconnect at once. It closes them shard by shard, so that they do not all
// reconnect in the same moment. It returns when all sockets have left. When ctx ends
// before, it cuts the connections that are left and returns.
func (h *Hub) Drain(ctx context.Context) {
	gone := h.admission.close()
	for users := range h.users.byShard() {
		for _, u := range users {
			u.each(func(s *socket) { s.queue.close(codeRestart, reasonRestart) })
		}
		if h.sockets.Load() > shards {
			rdb.Sleep(ctx, drainSpread/shards)
		}
	}
	select {
	case <-gone:
	case <-ctx.Done():
		for _, u := range h.users.all() {
			u.each(func(s *socket) { s.queue.drop("restart") })
		}
	}
}
