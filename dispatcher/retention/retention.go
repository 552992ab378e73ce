package retention

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Registrations erases a user's registrations: devices or the credential.
// [devices.Registry] and [credentials.Store] implement it and document the method.
type Registrations interface {
	Erase(ctx context.Context, user int64) error
}

// Queues holds the pushes that wait, and dead letters. [outbox.Outbox] implements it and
// documents the method.
type Queues interface {
	DropEntries(ctx context.Context, partition int, match func(value string) bool) error
}

// Chat delivers messages that are still on their way. [chat.Chat] implements it and
// documents the method.
type Chat interface {
	CatchUp(ctx context.Context, first int64, conversation string) error
}

// Schedule drops events that are published later.
type Schedule interface {
	Forget(ctx context.Context, key string, user int64) error
}

// Broadcasts removes a user from the named users of broadcasts.
type Broadcasts interface {
	Unlist(ctx context.Context, user int64) error
}

// Files holds the files that users send in chats. [attachments.Store] does, and documents
// the method.
type Files interface {
	Expire(ctx context.Context, users []int64, before time.Time) (deleted int, err error)
}

// Options configure a Janitor. All but StaleAfter, Lease, Log and Metrics are
// required.
type Options struct {
	Partitions  *rdb.Partitions
	Inbox       *inbox.Store
	Devices     Devices
	Credentials Registrations
	Queues      Queues
	Chat        Chat
	Broadcasts  Broadcasts
	Schedule    Schedule
	Reports     Reports
	// StaleAfter is for how long a device may not be seen before it is forgotten; 0 keeps it.
	StaleAfter time.Duration
	// Concerns reports whether a stored hand-off is from or to a user; see chat.Concerns.
	Concerns func(handoff string, user int64) bool
	// Consumer is this process' name, the one that it has in the outbox.
	Consumer string
	// Lease is how long the work of a process that died waits for another one: 30 s
	// unless set. An erasure is repeated after it, so it must be that of the outbox.
	Lease   time.Duration
	Log     *slog.Logger // discards when nil
	Metrics prometheus.Registerer
}

// A Janitor drops old data and erases users. Its methods are safe for concurrent use.
type Janitor struct {
	partitions  *rdb.Partitions
	inbox       *inbox.Store
	devices     Devices
	credentials Registrations
	queues      Queues
	chat        Chat
	broadcasts  Broadcasts
	schedule    Schedule
	reports     Reports
	staleAfter  time.Duration
	concerns    func(handoff string, user int64) bool
	consumer    string
	lease       time.Duration
	log         *slog.Logger
	swept       *prometheus.CounterVec // by kind
	files       Files                  // nil when there are no files
}

// New returns a janitor. It works while Run runs; Erase works at any time.
func New(o Options) *Janitor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	j := &Janitor{
		partitions: o.Partitions, inbox: o.Inbox, devices: o.Devices, credentials: o.Credentials, queues: o.Queues,
		chat: o.Chat, broadcasts: o.Broadcasts, schedule: o.Schedule, reports: o.Reports, staleAfter: o.StaleAfter, concerns: o.Concerns,
		consumer: o.Consumer, lease: cmp.Or(o.Lease, 30*time.Second), log: o.Log,
		swept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kabar_swept_total", Help: "What was dropped because it was kept for long enough.",
		}, []string{"kind"}),
	}
	o.Metrics.MustRegister(j.swept)
	return j
}

// SetFiles makes the janitor delete files that are older than Options.KeepMessages of the
// inbox allows for messages. Call it before Run.
func (j *Janitor) SetFiles(f Files) { j.files = f }
