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
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Options configure a Dispatcher. Redis, Partitions, Inbox, Devices and Credentials
// are required.
type Options struct {
	Redis      redis.UniversalClient
	Partitions *rdb.Partitions
	Inbox      *inbox.Store
	Devices    *devices.Registry
	// Credentials are erased with their user.
	Credentials *credentials.Store
	// Senders holds the provider of each platform; pushes to a platform without
	// one are buried with the reason "off".
	Senders map[devices.Platform]push.Sender
	// InFlight bounds the attempts under way, per provider in this process, by lane.
	InFlight [len(push.Lanes)]int
	// Lease is how long the work of a process that died waits for another one:
	// 30 s unless set. An attempt may last a third of it.
	Lease time.Duration
	// RetryFor is how long a push is retried before it is buried: 24 h unless set.
	RetryFor time.Duration
	// Types are the event types that the configuration declares.
	Types []Type
	// Texts are the words that Kabar makes itself: the built-in ones when nil.
	Texts *text.Catalogue
	// Locale is the language of a user who chose none: Indonesian unless set.
	Locale text.Locale
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
	// Backlog is how many entries of the bulk lane may wait in a partition to be sent
	// or tried again before broadcasts wait for them: 1,000 unless set. What waits
	// longer, for the end of quiet hours, does not count.
	Backlog int
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
	lanes    [len(push.Lanes)]*lane
	metrics  *metrics
	sends    *limiter
	casts    chan struct{}        // a nudge: there may be a broadcast to walk
	hooks    map[string]*reporter // by service
}

// New returns a dispatcher. It publishes at once; pushes move while Run runs.
func New(opts Options) *Dispatcher {
	opts.Lease = cmp.Or(opts.Lease, 30*time.Second)
	opts.RetryFor = cmp.Or(opts.RetryFor, day)
	opts.Sends = cmp.Or(opts.Sends, Rate{10, 50})
	opts.Location = cmp.Or(opts.Location, time.UTC)
	opts.Backlog = cmp.Or(opts.Backlog, 1000)
	opts.Locale = text.Match("", opts.Locale, text.Indonesian)
	if opts.Texts == nil {
		opts.Texts = text.Default()
	}
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
		casts:    make(chan struct{}, 1),
	}
	d.parser = newParser(&d.Options)
	d.metrics = newMetrics(opts.Metrics, d)
	d.hooks = make(map[string]*reporter)
	for service, hook := range opts.Hooks {
		d.hooks[service] = newReporter(d, service, hook)
	}
	gates := make(map[devices.Platform]*gate)
	for platform := range opts.Senders {
		gates[platform] = newGate(string(platform), opts.Log, opts.Now, d.metrics)
	}
	for _, l := range push.Lanes {
		opts.InFlight[l] = cmp.Or(opts.InFlight[l], 100)
		d.lanes[l] = newLane(d, l, opts.InFlight[l], gates)
	}
	return d
}

// newParser uses the options' Types, Texts, Locale and Now.
func newParser(opts *Options) Parser {
	p := Parser{
		kinds: maps.Clone(kinds), presets: make(map[string]string),
		texts: opts.Texts, locale: opts.Locale, now: opts.Now,
	}
	p.newID = func() string { return model.NewID(p.now()) }
	for _, t := range opts.Types {
		p.kinds[t.Name] = kind{lane: t.Lane, listed: true, promo: t.Lane == push.Bulk, worth: day}
		p.presets[t.Name] = t.Message
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
