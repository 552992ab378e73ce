package delivery

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Broadcasts gives delivery access to broadcasts.
type Broadcasts interface {
	// ParseAudience returns a function that reports whether a device is in the audience of
	// a broadcast, as stored beside the broadcast's body.
	ParseAudience(stored []byte) (includes func(devices.Device) bool, err error)
	// Tally returns what settling an entry adds to a broadcast's counts: accepted pushes
	// and, by reason, failed ones.
	Tally(partition int, key string, accepted int, failed map[string]int) outbox.Addition
}

// Options configure Workers. All are required.
type Options struct {
	Redis      redis.UniversalClient
	Partitions *rdb.Partitions
	Outbox     *outbox.Outbox
	Inbox      *inbox.Store
	Devices    *devices.Registry
	Reports    *report.Reports
	// Broadcasts resolves what entries of broadcasts refer to.
	Broadcasts Broadcasts
	Types      *event.Types
	Texts      *text.Catalogue
	// Locale is the language of a user who chose none.
	Locale text.Locale
	// Location is the zone of the times in pushes.
	Location *time.Location
	// Style is who draws pushes on Android phones whose app has not said it.
	Style devices.Style
	// Senders holds the sender of each route; pushes by a route without one are buried with
	// the reason "off".
	Senders map[push.Route]push.Sender
	// Environments says, by app, to which environment of APNs pushes go where the device
	// does not say it: production unless set.
	Environments map[string]string
	// InFlight bounds the attempts under way, per route in this process, by lane: 100 where
	// it is 0.
	InFlight [len(push.Lanes)]int
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
}

// Workers deliver the pushes of all lanes. Its methods are safe for concurrent use.
type Workers struct {
	Options
	metrics *metrics
	apps    map[push.Route]*app
	named   map[string]*app // the same by the name of the route
	lanes   [len(push.Lanes)]*lane
}

// New returns workers. They deliver pushes while Run runs.
func New(o Options) *Workers {
	w := &Workers{Options: o, metrics: newMetrics(o.Metrics), apps: make(map[push.Route]*app), named: make(map[string]*app)}
	for route, sender := range o.Senders {
		w.apps[route] = newApp(w, route, sender)
		w.named[route.String()] = w.apps[route]
	}
	for _, l := range push.Lanes {
		w.lanes[l] = newLane(w, l, cmp.Or(o.InFlight[l], 100))
	}
	return w
}

// Run delivers pushes until ctx ends. Then it finishes the attempts in flight, hands the
// other entries back to the outbox, and returns. That takes at most as long as an attempt (see
// waitTimeout), plus 5 s while Redis refuses writes, or 15 s while it does not answer.
func (w *Workers) Run(ctx context.Context) {
	sharing, stop := context.WithCancel(context.Background())
	var apps, lanes sync.WaitGroup
	for _, a := range w.apps {
		apps.Go(func() { a.run(sharing) })
	}
	for _, l := range w.lanes {
		lanes.Go(func() { l.run(ctx) })
	}
	lanes.Wait()
	stop()
	apps.Wait()
	for _, a := range w.apps {
		a.batcher.Close() // not before: the last attempts count storms
	}
}

// Open reports whether the circuit of a route is open, so that its pushes wait.
func (w *Workers) Open(route string) bool {
	a := w.named[route]
	return a != nil && a.open()
}

// waitTimeout is how long an attempt waits for a place, a connection and a token of ours.
// Together with a request's timeout of 10 s it is shorter than half of the default lease (G3).
func (w *Workers) waitTimeout() time.Duration { return w.Outbox.Lease() / 8 }
