package dispatcher

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// The types of reports.
const (
	ReportDeviceForgotten = "device.forgotten" // a provider called a device's token dead
	ReportEventFailed     = "event.failed"     // a push of the service's event was buried
	ReportBroadcastDone   = "broadcast.done"   // a broadcast of the service has ended
)

// ReportTypes lists every type of report.
var ReportTypes = []string{ReportDeviceForgotten, ReportEventFailed, ReportBroadcastDone}

const (
	mostReports = 1000                    // of one service and partition that wait; the oldest make room
	reportFor   = 24 * time.Hour          // how long a report is tried
	reportKeep  = 25 * time.Hour          // how long reports are kept when nobody sends them
	withdrawn   = settleTimeout * 11 / 10 // how long a report of what is just being done waits for that
)

var (
	//go:embed report.lua
	reportSource string
	//go:embed report_put.lua
	reportPutSource string
	//go:embed report_take.lua
	reportTakeSource string
	//go:embed report_settle.lua
	reportSettleSource string

	reportPutScript    = rdb.NewScript(reportSource + reportPutSource)
	reportTakeScript   = rdb.NewScript(reportTakeSource)
	reportSettleScript = rdb.NewScript(reportSettleSource)
)

// A Report tells a service what became of something that it gave to Kabar. It may be
// delivered more than once, always with the same ID.
type Report struct {
	ID   string // printable, without spaces and dots
	Body []byte // JSON object: type, timestamp, data
}

// A Courier brings reports to one service. Deliver makes one attempt and returns when
// ctx ends at the latest. Its Outcome is Accepted; Later (tried again); SlowDown (all
// of the service's reports wait for RetryAfter); or Forget: the service wants no more
// of them, this one is dropped and the others wait for an hour. Reason is a word as in
// Result. It is safe for concurrent use, and logs neither secrets nor bodies.
type Courier interface {
	Deliver(ctx context.Context, r *Report) push.Result
}

// A Hook is where a service wants its reports.
type Hook struct {
	Courier Courier
	// Types are the reports that it wants: all when nil.
	Types []string
	// Timeout is the deadline of an attempt: a third of Options.Lease unless set. A
	// report that a process took and did not settle within three times as long is tried
	// by another one.
	Timeout time.Duration
	// RetryFor is how long a report is tried before it is dropped: 24 h unless set,
	// which is also the most.
	RetryFor time.Duration
	// Backoff is how long the first retry waits: 5 s unless set.
	Backoff time.Duration
}

// reportsTo returns the name of a source's service when that has a hook, else "".
func (d *Dispatcher) reportsTo(source string) string {
	service, _ := strings.CutPrefix(source, servicePrefix)
	if d.hooks[service] == nil {
		return ""
	}
	return service
}

// wants returns the service's reporter when it wants reports of the type, else nil.
func (d *Dispatcher) wants(service, kind string) *reporter {
	r := d.hooks[service]
	if r == nil || r.hook.Types != nil && !slices.Contains(r.hook.Types, kind) {
		return nil
	}
	return r
}

// reportBody is the payload that the Standard Webhooks specification recommends.
func (d *Dispatcher) reportBody(kind string, data any) []byte {
	b, err := json.Marshal(struct {
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
		Data      any    `json:"data"`
	}{kind, d.Now().UTC().Format(TimeLayout), data})
	if err != nil {
		panic(fmt.Sprintf("marshal report: %v", err)) // strings and numbers always marshal
	}
	return b
}

func (d *Dispatcher) reportID() string { return "msg_" + model.NewID(d.Now()) }

// aboutEvent is what reports say of an event.
type aboutEvent struct {
	EventID string `json:"event_id"`
	Source  string `json:"source,omitempty"` // of a CloudEvent
	UserID  int64  `json:"user_id"`          // the receiver
	Device  string `json:"device,omitempty"` // its id, never its token; absent: all of the user's
	Reason  string `json:"reason"`
}

// failures returns id and body, by turns, of the reports of a work's dead letters.
func (d *Dispatcher) failures(w *work) []any {
	if w.entry == nil || len(w.dead) == 0 || d.wants(w.entry.Service, ReportEventFailed) == nil {
		return nil
	}
	e := w.entry
	var reports []any
	for letter := range slices.Chunk(w.dead, 3) {
		device, _ := letter[0].(string)
		reason, _ := letter[1].(string)
		reports = append(reports, d.reportID(), d.reportBody(ReportEventFailed, struct {
			aboutEvent
			Type           string `json:"type"`
			NotificationID string `json:"notification_id"`
		}{aboutEvent{e.EventID, e.Source, e.User, device, reason}, e.Type, e.ID}))
	}
	return reports
}

// reported counts what settling an entry did to the reports of its service.
func (d *Dispatcher) reported(e *entry, dropped int) {
	if e == nil || d.hooks[e.Service] == nil {
		return
	}
	d.hooks[e.Service].dropped("full", max(0, dropped))
	d.hooks[e.Service].nudge()
}

// reportForgotten queues the report of a device that is about to be forgotten: after
// that a process may die, and nobody would know of it any more. It returns a function
// that takes the report back, when the device was registered anew.
func (l *lane) reportForgotten(ctx context.Context, e *entry, device devices.Device, reason string) (withdraw func(context.Context), err error) {
	r := l.d.wants(e.Service, ReportDeviceForgotten)
	if r == nil {
		return func(context.Context) {}, nil
	}
	partition := l.d.Partitions.OfUser(e.User)
	entry, err := r.put(ctx, l.batcher, partition, withdrawn, &Report{ID: l.d.reportID(), Body: l.d.reportBody(ReportDeviceForgotten, struct {
		aboutEvent
		Platform devices.Platform `json:"platform"`
	}{aboutEvent{e.EventID, e.Source, e.User, device.ID, reason}, device.Platform})}, "")
	return func(ctx context.Context) {
		if err := l.batcher.Do(ctx, r.settleCommand(ctx, partition, entry, "")); err != nil {
			l.d.Log.Warn("the report of a device that is registered again cannot be taken back", "error", err)
		}
	}, err
}

// A broadcastReport is what a service is told of a broadcast that has ended.
type broadcastReport struct {
	ID       string           `json:"broadcast_id"`
	State    BroadcastState   `json:"state"` // done, cancelled or expired
	Total    int64            `json:"total"`
	Sent     int64            `json:"sent"`
	Skipped  int64            `json:"skipped"`
	Pushed   int64            `json:"pushed"` // so far, as is what failed
	Failed   map[string]int64 `json:"failed"`
	Finished time.Time        `json:"finished_at"`
}

// reportBroadcast queues the report that a broadcast has ended, if its service wants to
// know. Repeating it is safe, after an error or a crash, or when several processes see
// the end: the report is queued once.
func (d *Dispatcher) reportBroadcast(ctx context.Context, b *rdb.Batcher, s *BroadcastStatus) error {
	r := d.wants(s.Service(), ReportBroadcastDone)
	if r == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(s.Source + "\x00" + s.ID))
	id, partition := "msg_"+hex.EncodeToString(sum[:12]), d.Partitions.Of(s.ID)
	_, err := r.put(ctx, b, partition, 0, &Report{
		ID: id,
		Body: d.reportBody(ReportBroadcastDone, broadcastReport{
			s.ID, s.State, s.Total, s.Sent, s.Skipped, s.Pushed, s.Failed, s.FinishedAt.In(d.Location),
		}),
	}, d.reportMarkKey(partition, r.service, id))
	return err
}
