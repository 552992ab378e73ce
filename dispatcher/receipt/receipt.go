// Package receipt takes what apps say became of notifications on the phones: that one was
// delivered, opened or dismissed. The script that notes it counts it for the broadcast and
// queues the report to the service, so that each is told once for each device.
package receipt

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// What a receipt may say.
const (
	Delivered = "delivered" // the app has got the push
	Opened    = "opened"    // the user has opened the notification
	Dismissed = "dismissed" // the user has removed it from the screen
)

// Events lists what a receipt may say.
var Events = []string{Delivered, Opened, Dismissed}

// Max is how many receipts one call takes.
const Max = 100

// maxNoted bounds the receipts in a record: a user has at most 20 devices at a time.
const maxNoted = 100

// messageType is the type of messages in metrics.
const messageType = "message"

//go:embed note.lua
var noteSource string

var noteScript = rdb.NewScript(fmt.Sprintf("%s\nlocal function %s(keys, args)\n%s\nend\n%s",
	report.Fragment.Prelude, report.Fragment.Name, report.Fragment.Source, noteSource))

// A Receipt is what an app says became of a notification or a message.
type Receipt struct {
	ID    string // of the notification or message
	Event string // one of Events
	At    time.Time
}

// A Reader marks messages as read. [chat.Chat] implements it.
type Reader interface {
	ReadMessage(ctx context.Context, user int64, m *inbox.Message) error
}

// Options configure Receipts. All are required.
type Options struct {
	Batcher    *rdb.Batcher
	Partitions *rdb.Partitions
	Inbox      *inbox.Store
	Messages   Reader
	Reports    *report.Reports
	// Tally returns the hash and the field that count receipts of a broadcast.
	Tally   func(partition int, broadcast, event string) (key, field string)
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// Receipts takes receipts. It is safe for concurrent use.
type Receipts struct {
	opts  Options
	noted *prometheus.CounterVec // by type and event
}

// New returns Receipts.
func New(o Options) *Receipts {
	noted := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kabar_receipts_total",
		Help: "Notifications that apps said were delivered, opened or dismissed, for each device once.",
	}, []string{"type", "event"})
	o.Metrics.MustRegister(noted)
	return &Receipts{opts: o, noted: noted}
}

// Accept takes receipts of a user from one of the user's devices, or from an unknown one
// when device is "". What was opened is marked as read. Each receipt is noted once for each
// device, at its time, but not before the notification was accepted nor after now; at the
// zero time it is noted now. Receipts of what the user does not have are ignored. After an
// error the call may be repeated.
func (r *Receipts) Accept(ctx context.Context, user int64, device string, receipts []Receipt) error {
	byID := make(map[string][]Receipt)
	for _, receipt := range receipts {
		byID[receipt.ID] = append(byID[receipt.ID], receipt)
	}
	ids := make([]string, 0, len(byID))
	for id := range byID {
		ids = append(ids, id)
	}
	located, err := r.opts.Inbox.Notifications.Locate(ctx, user, ids)
	if err != nil {
		return err
	}
	if err := r.markRead(ctx, user, located, byID); err != nil {
		return err
	}
	return r.note(ctx, user, device, located, byID)
}

// markRead marks what was opened as read.
func (r *Receipts) markRead(ctx context.Context, user int64, located map[string]inbox.Located, receipts map[string][]Receipt) error {
	var opened []string
	for id, l := range located {
		if !slices.ContainsFunc(receipts[id], func(r Receipt) bool { return r.Event == Opened }) {
			continue
		}
		if l.Message == nil {
			opened = append(opened, id)
			continue
		}
		err := r.opts.Messages.ReadMessage(ctx, user, l.Message)
		if err != nil && !errors.Is(err, inbox.ErrNotFound) { // the conversation may have been deleted
			return err
		}
	}
	return r.opts.Inbox.Notifications.MarkEachRead(ctx, user, opened)
}

// A noting is the noting of the receipts of one notification.
type noting struct {
	command  *rdb.Command
	kind     string
	service  string // to which they are reported, or ""
	receipts []Receipt
}

// note notes the receipts of all notifications in one round trip.
func (r *Receipts) note(ctx context.Context, user int64, device string, located map[string]inbox.Located, receipts map[string][]Receipt) error {
	var notings []noting
	var commands []*rdb.Command
	for id, l := range located {
		if l.Event == "" {
			continue // its record has expired
		}
		n, err := r.noting(ctx, user, device, l, receipts[id])
		if err != nil {
			return err
		}
		notings, commands = append(notings, n), append(commands, n.command)
	}
	if len(commands) == 0 {
		return nil
	}
	_ = r.opts.Batcher.Do(ctx, commands...) // each command holds its own error
	var failed error
	for _, n := range notings {
		reply, err := n.command.Int64s(1 + len(n.receipts))
		if err = cmp.Or(n.command.Err(), err); err != nil {
			failed = fmt.Errorf("note receipts: %w", err)
			continue
		}
		for i, receipt := range n.receipts {
			r.noted.WithLabelValues(n.kind, receipt.Event).Add(float64(reply[1+i]))
		}
		r.opts.Reports.Queued(n.service, int(reply[0]))
	}
	return failed
}

// noting returns the noting of a notification's receipts.
func (r *Receipts) noting(ctx context.Context, user int64, device string, l inbox.Located, receipts []Receipt) (n noting, err error) {
	accepted, err := model.IDTime(l.ID)
	if err != nil {
		return n, err
	}
	n = noting{kind: l.Type, receipts: receipts}
	if l.Message != nil {
		n.kind = messageType
	}
	record, partition := r.opts.Inbox.Records.Key(user, l.Event), r.opts.Partitions.OfUser(user)
	counts, now := record, r.opts.Now()
	args := []any{len(receipts), maxNoted}
	reports := make([]report.Receipt, len(receipts))
	for i, receipt := range receipts {
		at := clamp(receipt.At, accepted, now)
		field := ""
		if l.Broadcast != "" {
			counts, field = r.opts.Tally(partition, l.Broadcast, receipt.Event)
		}
		args = append(args, inbox.ReceiptLine(device, receipt.Event), at.UnixMilli(), field)
		reports[i] = report.Receipt{
			UserID: user, Device: device, Type: n.kind, NotificationID: l.ID, Receipt: receipt.Event, At: at,
		}
	}
	service, queue := r.opts.Reports.Receipts(partition, l.Origin, reports)
	n.service = service
	n.command = noteScript.Command(ctx, append([]string{record, counts}, queue.Keys...), append(args, queue.Args...)...)
	return n, nil
}

// clamp returns the time of a receipt, which phones may have wrong: not before the
// notification was accepted, and not after now.
func clamp(at, accepted, now time.Time) time.Time {
	if at.IsZero() || at.After(now) {
		at = now
	}
	if at.Before(accepted) {
		return accepted
	}
	return at
}
