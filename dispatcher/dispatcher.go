package dispatcher

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/inbox"
)

// Options configure a Dispatcher. Redis, Partitions, Inbox and Devices are
// required.
type Options struct {
	Redis      redis.UniversalClient
	Partitions *inbox.Partitions
	Inbox      *inbox.Store
	Devices    *devices.Registry
	// Senders holds the provider of each platform; pushes to a platform without
	// one are buried with the reason "off".
	Senders map[devices.Platform]Sender
	// InFlight bounds the attempts under way, per provider in this process, by lane.
	InFlight [len(Lanes)]int
	// Lease is how long the work of a process that died waits for another one:
	// 30 s unless set. An attempt may last a third of it.
	Lease time.Duration
	// RetryFor is how long a push is retried before it is buried: 24 h unless set.
	RetryFor time.Duration
	// Types are the event types that the configuration declares.
	Types []Type
	// LiveGrace is how long a chat push waits for one of the receiver's live
	// sockets to show the message; 0 switches that off.
	LiveGrace time.Duration
	// Sends limits the messages of one user, over all their sockets and requests to
	// this process: 10 a second and 50 at once unless set.
	Sends Rate
	// Admins are administrators beside those whose profile says so.
	Admins []int64
	// Hooks are where services want to be told what became of their events, by the
	// service's name.
	Hooks map[string]Hook
	// Location is the zone of the times in pushes: UTC unless set.
	Location *time.Location
	// Cluster says that one read cannot span the outbox streams of all partitions.
	Cluster bool
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Dispatcher publishes events and carries their pushes to the providers. Its
// methods are safe for concurrent use.
type Dispatcher struct {
	Options
	parser   Parser
	consumer string // this process' name in the outbox' consumer groups
	lanes    [len(Lanes)]*lane
	metrics  *metrics
	sends    *limiter
	hooks    map[string]*reporter // by service
}

// New returns a dispatcher. It publishes at once; pushes move while Run runs.
func New(opts Options) *Dispatcher {
	opts.Lease = cmp.Or(opts.Lease, 30*time.Second)
	opts.RetryFor = cmp.Or(opts.RetryFor, day)
	opts.Sends = cmp.Or(opts.Sends, Rate{10, 50})
	opts.Location = cmp.Or(opts.Location, time.UTC)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = prometheus.NewRegistry()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	host, _ := os.Hostname() // only for people who read XINFO
	d := &Dispatcher{
		Options:  opts,
		sends:    newLimiter(opts.Sends),
		consumer: fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString()[:8]),
	}
	d.parser = newParser(opts.Types, opts.Now)
	d.metrics = newMetrics(opts.Metrics, d)
	d.hooks = make(map[string]*reporter)
	for service, hook := range opts.Hooks {
		d.hooks[service] = newReporter(d, service, hook)
	}
	gates := make(map[devices.Platform]*gate)
	for platform := range opts.Senders {
		gates[platform] = newGate(string(platform), opts.Log, opts.Now, d.metrics)
	}
	for _, l := range Lanes {
		opts.InFlight[l] = cmp.Or(opts.InFlight[l], 100)
		d.lanes[l] = newLane(d, l, opts.InFlight[l], gates)
	}
	return d
}

func newParser(types []Type, now func() time.Time) Parser {
	p := Parser{kinds: maps.Clone(kinds), texts: make(map[string]string), now: now}
	p.newID = func() string { return inbox.NewID(now()) }
	for _, t := range types {
		p.kinds[t.Name] = kind{lane: t.Lane, listed: true, promo: t.Lane == Bulk, worth: day}
		p.texts[t.Name] = t.Message
	}
	return p
}

// Parse reads one event; see Parser.Parse.
func (d *Dispatcher) Parse(raw []byte) (*Event, error) { return d.parser.Parse(raw) }

// PromoTypes returns the types that the list of notifications shows when none is
// asked for, sorted.
func (d *Dispatcher) PromoTypes() []string {
	var types []string
	for name, k := range d.parser.kinds {
		if k.listed && k.promo {
			types = append(types, name)
		}
	}
	slices.SortFunc(types, strings.Compare)
	return types
}
