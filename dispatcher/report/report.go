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
	DeviceForgotten = "device.forgotten" // a provider called a device's token dead
	EventFailed     = "event.failed"     // a push of the service's event was buried
	BroadcastDone   = "broadcast.done"   // a broadcast of the service has ended
)

// Types lists every type of report.
var Types = []string{DeviceForgotten, EventFailed, BroadcastDone}

const (
	maxQueued = 1000           // of one service and partition that wait; the oldest make room
	retryFor  = 24 * time.Hour // how long a report is tried
	keepFor   = 25 * time.Hour // how long reports are kept when nobody sends them
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

// Fragment queues reports within the script that settles an entry; see Reports.Failures.
var Fragment = outbox.Fragment{Name: "queue_reports", Prelude: queueSource, Source: fragmentSource}

// A Report tells a service what became of something that it gave to Kabar. It may be
// delivered more than once, always with the same ID.
type Report struct {
	ID   string // printable, without spaces and dots
	Body []byte // JSON object: type, timestamp, data
}

// A Client delivers reports to one service's webhook. Deliver makes one attempt and
// returns when ctx ends at the latest. Its Outcome is Accepted; Later (tried again);
// SlowDown (all of the service's reports wait for RetryAfter); or Forget: the service
// wants no more reports, this one is dropped and the others wait for an hour. Reason is a
// word as in push.Result. It is safe for concurrent use, and logs neither secrets nor
// bodies.
type Client interface {
	Deliver(ctx context.Context, r *Report) push.Result
}

// A Hook is where a service wants its reports.
type Hook struct {
	Client Client
	// Types are the reports that it wants: all when nil.
	Types []string
	// Timeout is the deadline of an attempt: Options.Timeout unless set. A report that a
	// process took and did not settle within three times as long is tried by another one.
	Timeout time.Duration
	// RetryFor is how long a report is tried before it is dropped: 24 h unless set, which
	// is also the most.
	RetryFor time.Duration
	// Backoff is how long the first retry waits: 5 s unless set.
	Backoff time.Duration
}

// Options configure Reports. All but Hooks are required.
type Options struct {
	Redis      redis.UniversalClient
	Partitions *rdb.Partitions
	// Hooks are where services want to be told, by the service's name.
	Hooks map[string]Hook
	// Timeout is the deadline of an attempt where a hook has none.
	Timeout  time.Duration
	Location *time.Location // of the times in reports
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
}

// Reports queues and delivers what services are told. It is safe for concurrent use.
type Reports struct {
	redis      redis.UniversalClient
	partitions *rdb.Partitions
	location   *time.Location
	log        *slog.Logger
	now        func() time.Time
	metrics    *metrics
	senders    map[string]*sender // by service
}

// New returns the reports of the services that have a hook. They are delivered while Run
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

// Service returns the name of a source's service when that has a hook, else "".
func (r *Reports) Service(source string) string {
	service := event.SourceService(source)
	if r.senders[service] == nil {
		return ""
	}
	return service
}

// wants returns the service's sender when it wants reports of the type, else nil.
func (r *Reports) wants(service, reportType string) *sender {
	s := r.senders[service]
	if s == nil || s.hook.Types != nil && !slices.Contains(s.hook.Types, reportType) {
		return nil
	}
	return s
}

// body is the payload that the Standard Webhooks specification recommends.
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
