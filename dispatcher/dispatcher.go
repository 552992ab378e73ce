package dispatcher

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/audit"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/receipt"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/dispatcher/retention"
	"github.com/kabar-gateway/kabar/dispatcher/schedule"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Options configure a Dispatcher. Redis, Partitions, Inbox, Devices and Credentials are
// required.
type Options struct {
	Redis       redis.UniversalClient
	Partitions  *rdb.Partitions
	Inbox       *inbox.Store
	Devices     *devices.Registry
	Credentials *credentials.Store
	// Senders holds the sender of each route; pushes by a route without one are buried with
	// the reason "off".
	Senders map[push.Route]push.Sender
	// Environments says, by app, to which environment of APNs pushes go where the device
	// does not say it: production unless set.
	Environments map[string]string
	// InFlight bounds the attempts under way, per provider in this process, by lane: 100
	// unless set.
	InFlight [len(push.Lanes)]int
	// Lease is how long the work of a process that died waits for another one: 30 s
	// unless set. An attempt may last a third of it.
	Lease time.Duration
	// RetryFor is how long a push is retried before it is buried: 24 h unless set.
	RetryFor time.Duration
	// StaleAfter is for how long a device may not be seen before it is forgotten; 0 keeps it.
	StaleAfter time.Duration
	// Types are the event types that the configuration declares, and defaults of built-in
	// ones.
	Types []event.Type
	// Apps are the names of the apps beside the default one.
	Apps []string
	// LinkSchemes are the schemes that links of events may have beside https.
	LinkSchemes []string
	// AndroidStyle is who draws pushes on phones whose app has not said it: the system
	// unless set.
	AndroidStyle devices.Style
	// Texts is the message catalogue: the built-in one when nil.
	Texts *text.Catalogue
	// Locale is the language of a user who chose none: Indonesian unless set.
	Locale text.Locale
	// LiveGrace is how long a chat push waits for one of the receiver's live sockets to
	// show the message; 0 switches that off.
	LiveGrace time.Duration
	// Sends limits the messages of one user, over all their sockets and requests to this
	// process: 10 a second and 50 at once unless set.
	Sends chat.Rate
	// Admins are administrators in addition to the users whose profile says so.
	Admins []int64
	// Hooks are the webhooks of services, which report the outcome of their events, by the
	// service's name.
	Hooks map[string]report.Hook
	// Location is the zone of the times in pushes: UTC unless set.
	Location *time.Location
	// Backlog is how many entries of the bulk lane may wait in a partition to be sent or
	// tried again before broadcasts wait for them: 1,000 unless set. What waits longer, for
	// the end of quiet hours, does not count.
	Backlog int
	// Cluster says that one read cannot span the outbox streams of all partitions.
	Cluster bool
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

func (o *Options) defaults() {
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.RetryFor = cmp.Or(o.RetryFor, 24*time.Hour)
	o.Sends = cmp.Or(o.Sends, chat.Rate{PerSecond: 10, Burst: 50})
	o.Location = cmp.Or(o.Location, time.UTC)
	o.Backlog = cmp.Or(o.Backlog, 1000)
	o.Locale = text.Match("", o.Locale, text.Indonesian)
	if o.Texts == nil {
		o.Texts = text.Default()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// A Dispatcher publishes events and delivers them. Its methods, and its parts, are safe
// for concurrent use.
type Dispatcher struct {
	Outbox     *outbox.Outbox        // pushes to be sent, and dead letters
	Delivery   *delivery.Workers     // sends pushes, and returns the delivery status of events
	Chat       *chat.Chat            // messages between users
	Broadcasts *broadcast.Broadcasts // promotions to an audience
	Receipts   *receipt.Receipts     // what apps say became of notifications
	Janitor    *retention.Janitor    // drops old data and erases users
	Auditor    *audit.Auditor        // compares counters with what they count
	schedule   *schedule.Schedule
	reports    *report.Reports
	types      *event.Types
	parser     *event.Parser
	opts       Options
	metrics    *metrics
}

// New returns a dispatcher. It publishes at once; pushes are delivered while Run runs.
func New(o Options) *Dispatcher {
	o.defaults()
	host, _ := os.Hostname() // for people who read XINFO; "" is fine
	batcher := o.Inbox.Options().Batcher
	consumer := fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString()[:8])

	d := &Dispatcher{opts: o, types: event.NewTypes(o.Types...), metrics: newMetrics(o.Metrics)}
	d.parser = event.NewParser(event.Options{
		Types: d.types, Apps: o.Apps, Texts: o.Texts, Locale: o.Locale, LinkSchemes: o.LinkSchemes, Now: o.Now,
	})
	d.Outbox = outbox.New(outbox.Options{
		Redis: o.Redis, Batcher: batcher, Partitions: o.Partitions, Bodies: o.Inbox.Texts, Consumer: consumer, Lease: o.Lease,
		RetryFor: o.RetryFor, Cluster: o.Cluster, Routes: routeNames(o.Senders), Fragments: append(delivery.Fragments(o.Inbox), report.Fragment, broadcast.Fragment),
		Log: o.Log, Now: o.Now,
	})
	o.Metrics.MustRegister(outbox.NewCollector(d.Outbox))
	d.reports = report.New(report.Options{
		Redis: o.Redis, Partitions: o.Partitions, Hooks: o.Hooks, Timeout: o.Lease / 3,
		Location: o.Location, Log: o.Log, Metrics: o.Metrics, Now: o.Now,
	})
	d.Broadcasts = broadcast.New(broadcast.Options{
		Redis: o.Redis, Batcher: batcher, Partitions: o.Partitions, Inbox: o.Inbox, Devices: o.Devices, Outbox: d.Outbox, Reports: d.reports,
		Parser: d.parser, Consumer: consumer, Lease: o.Lease, RetryFor: o.RetryFor, Backlog: o.Backlog, Locale: o.Locale,
		Log: o.Log, Metrics: o.Metrics, Now: o.Now,
	})
	d.Chat = chat.New(chat.Options{
		Partitions: o.Partitions, Inbox: o.Inbox, Outbox: d.Outbox, Types: d.types, Texts: o.Texts, Locale: o.Locale,
		Location: o.Location, Admins: o.Admins, Grace: o.LiveGrace, Sends: o.Sends, RetryFor: o.RetryFor,
		Log: o.Log, Now: o.Now,
	})
	d.schedule = schedule.New(schedule.Options{
		Redis: o.Redis, Batcher: batcher, Partitions: o.Partitions, Publish: d.publishScheduled, Lease: o.Lease,
		Log: o.Log, Metrics: o.Metrics, Now: o.Now,
	})
	d.Receipts = receipt.New(receipt.Options{
		Batcher: batcher, Partitions: o.Partitions, Inbox: o.Inbox, Messages: d.Chat, Reports: d.reports,
		Tally: d.Broadcasts.ReceiptTally, Metrics: o.Metrics, Now: o.Now,
	})
	d.Delivery = delivery.New(delivery.Options{
		Redis: o.Redis, Partitions: o.Partitions, Outbox: d.Outbox, Inbox: o.Inbox, Devices: o.Devices, Reports: d.reports, Broadcasts: d.Broadcasts,
		Types: d.types, Texts: o.Texts, Locale: o.Locale, Location: o.Location, Style: o.AndroidStyle,
		Senders: o.Senders, Environments: o.Environments, InFlight: o.InFlight,
		Log: o.Log, Metrics: o.Metrics, Now: o.Now,
	})
	d.Janitor = retention.New(retention.Options{
		Partitions: o.Partitions, Inbox: o.Inbox, Devices: o.Devices, Credentials: o.Credentials, Queues: d.Outbox,
		Chat: d.Chat, Concerns: chat.Concerns, Broadcasts: d.Broadcasts, Schedule: d.schedule, Reports: d.reports, StaleAfter: o.StaleAfter,
		Consumer: consumer, Lease: o.Lease, Log: o.Log, Metrics: o.Metrics,
	})
	d.Auditor = audit.New(audit.Options{
		Partitions: o.Partitions, Inbox: o.Inbox, Queues: d.Outbox, ValidHandoff: chat.ValidHandoff,
	})
	return d
}

// routeNames returns the names of the routes that have a sender, sorted.
func routeNames(senders map[push.Route]push.Sender) []string {
	names := make([]string, 0, len(senders))
	for route := range senders {
		names = append(names, route.String())
	}
	slices.Sort(names)
	return names
}

// Run delivers until ctx ends. Then it finishes the attempts that are under way, hands the
// rest back to the outbox, and returns; that takes as long as an attempt at most, less than
// half a lease.
func (d *Dispatcher) Run(ctx context.Context) {
	b := rdb.NewBatcher(d.opts.Redis, 0)
	defer b.Close()
	var all sync.WaitGroup
	for _, run := range []func(context.Context){
		func(ctx context.Context) { d.Outbox.ReturnDue(ctx, b, d.Delivery.Open) },
		d.Outbox.TrimDead,
		d.Chat.Run,
		d.Janitor.Run,
		d.Broadcasts.Run,
		d.schedule.Run,
		d.Delivery.Run,
		d.reports.Run,
	} {
		all.Go(func() { run(ctx) })
	}
	all.Wait()
}

// Parse reads one event; see event.Parser.Parse.
func (d *Dispatcher) Parse(raw []byte) (*event.Event, error) { return d.parser.Parse(raw) }

// Types returns the event types of this gateway.
func (d *Dispatcher) Types() *event.Types { return d.types }
