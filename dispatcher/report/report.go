package report

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// The types of reports.
const (
	DeviceForgotten = "device.forgotten" // a provider said that a device's token is dead
	EventFailed     = "event.failed"     // a push of the service's event became a dead letter
	BroadcastDone   = "broadcast.done"   // a broadcast of the service has ended
	EventReceipt    = "event.receipt"    // an app said that the service's event was delivered, opened or dismissed
)

// Types lists every type of report.
var Types = []string{DeviceForgotten, EventFailed, BroadcastDone, EventReceipt}

const (
	maxQueued = 1000           // reports of one service and partition; the oldest make room
	retryFor  = 24 * time.Hour // how long a report is retried
	keepFor   = 25 * time.Hour // how long reports are kept after the newest one; longer than retryFor
)

var (
	//go:embed queue.lua
	queueSource string
	//go:embed fragment.lua
	fragmentSource string
	//go:embed put.lua
	putSource string
	//go:embed take.lua
	takeSource string
	//go:embed settle.lua
	settleSource string

	putScript    = rdb.NewScript(queueSource + putSource)
	takeScript   = rdb.NewScript(takeSource)
	settleScript = rdb.NewScript(settleSource)
)

// Fragment queues reports in the script that settles an entry; see Reports.Failures.
var Fragment = outbox.Fragment{
	Name: "queue_reports", Prelude: queueSource, Source: fragmentSource, Types: []string{"stream", "zset"},
}

// A Report tells a service the outcome of one of its events or broadcasts. It may be
// delivered more than once, always with the same ID.
type Report struct {
	ID   string // printable, without spaces and dots
	Body []byte // JSON object: type, timestamp, data
}

// A Client delivers reports to one service's webhook. Deliver makes one attempt and
// returns when ctx ends at the latest. The Outcome of its result is one of these:
//   - Accepted: the service has the report;
//   - Later: the report is tried again;
//   - SlowDown: so is the report, and all reports of the service wait for RetryAfter;
//   - Forget: the service wants no more reports. This one is dropped, the others wait for
//     an hour.
//
// A Client is safe for concurrent use, and logs neither secrets nor bodies.
type Client interface {
	Deliver(ctx context.Context, r *Report) push.Result
}

// A Hook configures the reports to one service's webhook.
type Hook struct {
	Client Client
	// Types are the types of report that the service wants: all but EventReceipt when nil,
	// because there is one for each event and device.
	Types []string
	// Timeout bounds an attempt: Options.Timeout unless set. A process leases a report for
	// three times as long; another one tries the report when the lease has ended.
	Timeout time.Duration
	// RetryFor is how long a report is retried before it is dropped: 24 h unless set, and
	// 24 h at most.
	RetryFor time.Duration
	// Backoff is how long the first retry waits: 5 s unless set.
	Backoff time.Duration
}

// Options configure Reports. All but Hooks are required.
type Options struct {
	Redis      redis.UniversalClient
	Partitions *rdb.Partitions
	// Hooks are the hooks of services, by the service's name.
	Hooks map[string]Hook
	// Timeout bounds an attempt where the hook does not.
	Timeout  time.Duration
	Location *time.Location // of the times in reports
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
}

// Reports queues and delivers the reports of all services. It is safe for concurrent use.
type Reports struct {
	redis      redis.UniversalClient
	partitions *rdb.Partitions
	location   *time.Location
	log        *slog.Logger
	now        func() time.Time
	metrics    *metrics
	senders    map[string]*sender // by service
}

// New returns Reports for the services that have a hook. Reports are delivered while Run
// runs.
func New(o Options) *Reports {
	r := &Reports{
		redis: o.Redis, partitions: o.Partitions, location: o.Location, log: o.Log, now: o.Now,
		senders: make(map[string]*sender),
	}
	r.metrics = newMetrics(o.Metrics, r)
	for service, hook := range o.Hooks {
		hook.Timeout = cmp.Or(hook.Timeout, o.Timeout)
		r.senders[service] = newSender(r, service, hook)
	}
	return r
}

// Run delivers reports until ctx ends, and waits for the attempts under way.
func (r *Reports) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range r.senders {
		all.Go(func() { s.run(ctx) })
	}
	all.Wait()
}

// Service returns the service of a source if that service has a hook, else "".
func (r *Reports) Service(source string) string {
	service := event.SourceService(source)
	if r.senders[service] == nil {
		return ""
	}
	return service
}

// wants returns the service's sender if the service wants reports of the type, else nil.
func (r *Reports) wants(service, reportType string) *sender {
	s := r.senders[service]
	if s == nil {
		return nil
	}
	wanted := slices.Contains(s.hook.Types, reportType)
	if s.hook.Types == nil {
		wanted = reportType != EventReceipt
	}
	if !wanted {
		return nil
	}
	return s
}

// body returns a payload in the form that the Standard Webhooks specification recommends.
func (r *Reports) body(reportType string, data any) []byte {
	b, err := json.Marshal(struct {
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
		Data      any    `json:"data"`
	}{reportType, r.now().UTC().Format(content.TimeLayout), data})
	if err != nil {
		panic(fmt.Sprintf("marshal report: %v", err)) // strings and numbers always marshal
	}
	return b
}

func (r *Reports) newID() string { return "msg_" + model.NewID(r.now()) }
