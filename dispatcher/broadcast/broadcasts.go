package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Options configure Broadcasts. All of them are required.
type Options struct {
	Redis      redis.UniversalClient
	Partitions *rdb.Partitions
	// Batcher sends the commands whose replies callers wait for, and waits for replicas
	// where that is configured. The walk has a batcher of its own, which does not wait for
	// replicas, so that a broadcast does not delay publishers.
	Batcher *rdb.Batcher
	Inbox   *inbox.Store
	Devices *devices.Registry
	Outbox  *outbox.Outbox
	Reports *report.Reports
	Parser  *event.Parser
	// Consumer is this process' name: the holder of its leases.
	Consumer string
	// Lease is how long the broadcasts of a process that died wait for another process.
	Lease time.Duration
	// RetryFor is how long a push is retried.
	RetryFor time.Duration
	// Backlog is how many entries of the bulk lane may wait in a partition to be sent or
	// retried before broadcasts wait for them. Entries that wait for the end of quiet
	// hours do not count.
	Backlog int
	Locale  text.Locale // of a user who chose none
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// Broadcasts accepts broadcasts and sends them. It is safe for concurrent use.
type Broadcasts struct {
	store      *store
	redis      redis.UniversalClient
	partitions *rdb.Partitions
	inbox      *inbox.Store
	devices    *devices.Registry
	outbox     *outbox.Outbox
	reports    *report.Reports
	parser     *event.Parser
	consumer   string
	lease      time.Duration
	retryFor   time.Duration
	backlog    int64
	locale     text.Locale
	log        *slog.Logger
	now        func() time.Time
	walked     *prometheus.CounterVec // by outcome: sent or skipped
	wake       chan struct{}          // a nudge: there may be a broadcast to walk, or one that has ended
}

// New returns the broadcasts of a gateway. They can be started at once, and are sent
// while Run runs.
func New(o Options) *Broadcasts {
	b := &Broadcasts{
		store: &store{
			redis: o.Redis, partitions: o.Partitions, batcher: o.Batcher, inbox: o.Inbox, now: o.Now,
			notify: o.Inbox.Notifications.Wrap(mayStepSource + notifySource),
		},
		redis: o.Redis, partitions: o.Partitions, inbox: o.Inbox, devices: o.Devices, outbox: o.Outbox,
		reports: o.Reports, parser: o.Parser, consumer: o.Consumer, lease: o.Lease, retryFor: o.RetryFor,
		backlog: int64(o.Backlog), locale: o.Locale, log: o.Log, now: o.Now,
		wake: make(chan struct{}, 1),
	}
	b.walked = newMetrics(o.Metrics, b)
	return b
}

// nudge says that there may be a broadcast to walk, or to close. It never blocks.
func (b *Broadcasts) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// keyOf returns the digest that identifies a broadcast of a source, in its own keys and in
// the records of its users.
func keyOf(source, id string) string { return event.Key("broadcast\x00"+source, id) }

// Start stores a broadcast of a source (see event.ServiceSource), to be sent by any
// process when its time comes. Once it returns without an error the broadcast will be
// sent; one that failed may be repeated, and is not sent before it succeeds. duplicate
// says that it had been started before. The error is inbox.ErrConflict when its id was
// used for other content.
func (b *Broadcasts) Start(ctx context.Context, source string, c *Broadcast) (duplicate bool, err error) {
	now := b.now()
	def, err := json.Marshal(definition{
		ID: c.ID, Source: source, Type: c.Type, Digest: c.digest, Audience: c.audience, Named: len(c.named), Rate: c.rate,
		Created: now.UnixMilli(), At: c.at.UnixMilli(), Expires: c.expires.UnixMilli(),
	})
	if err != nil {
		panic(fmt.Sprintf("marshal broadcast: %v", err)) // strings and numbers always marshal
	}
	duplicate, err = b.store.create(ctx, &newRecord{
		key: keyOf(source, c.ID), digest: c.digest, definition: def,
		body: c.body, audience: c.audience.stored(), named: c.named,
		created: now, expires: c.expires,
	})
	b.nudge()
	return duplicate, err
}

// Set pauses (Paused), resumes (Running) or cancels (Cancelled) a broadcast. Once it has
// returned from pausing or cancelling, no more users are notified. Asking for the state
// that it is in succeeds. The error is ErrState when it is over, and inbox.ErrNotFound
// when there is none.
func (b *Broadcasts) Set(ctx context.Context, source, id string, to State) (Status, error) {
	key := keyOf(source, id)
	var err error
	switch to {
	case Paused:
		err = b.store.setState(ctx, key, Paused, active)
	case Running:
		err = b.store.setState(ctx, key, active, Paused)
	case Cancelled:
		err = b.end(ctx, key, Cancelled)
	default:
		err = fmt.Errorf("%w: it cannot be set to %q", ErrState, to)
	}
	if err != nil {
		return Status{}, err
	}
	b.nudge()
	return b.status(ctx, key)
}

// end ends a broadcast before its walk is complete.
func (b *Broadcasts) end(ctx context.Context, key string, to State) error {
	s, err := b.status(ctx, key)
	if err != nil {
		return err
	}
	return b.store.end(ctx, key, to, s.Total, active, Paused)
}

// Unlist removes an erased user from the named users of broadcasts.
func (b *Broadcasts) Unlist(ctx context.Context, user int64) error {
	return b.store.unlist(ctx, user)
}
