package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// aboutEvent has the fields that reports of an event share.
type aboutEvent struct {
	EventID string `json:"event_id,omitempty"` // absent in the report of a stale device
	Source  string `json:"source,omitempty"`   // of a CloudEvent
	UserID  int64  `json:"user_id"`            // the receiver
	Device  string `json:"device,omitempty"`   // its id, never its token; absent: all devices of the user
	Reason  string `json:"reason"`
}

func about(e *outbox.Entry, device, reason string) aboutEvent {
	return aboutEvent{e.EventID, e.Source, e.User, device, reason}
}

// aboutRoute has the fields that say which way the push to a device takes.
type aboutRoute struct {
	App         string `json:"app,omitempty"` // absent, like the others: not known
	Platform    string `json:"platform,omitempty"`
	Environment string `json:"environment,omitempty"` // of APNs
}

func by(r push.Route) aboutRoute { return aboutRoute{r.App, r.Platform, r.Environment} }

// Failures returns the addition to an entry's settlement that queues a report of each of
// its dead letters; the zero Addition when there is nothing to queue. Fragment returns how
// many old reports were dropped to make room: pass that to Queued.
func (r *Reports) Failures(partition int, e *outbox.Entry, letters []outbox.Dead) outbox.Addition {
	if len(letters) == 0 || r.wants(e.Service, EventFailed) == nil {
		return outbox.Addition{}
	}
	args := []any{maxQueued, keepFor.Milliseconds()}
	for _, letter := range letters {
		args = append(args, r.newID(), r.body(EventFailed, struct {
			aboutEvent
			aboutRoute
			Type           string `json:"type"`
			NotificationID string `json:"notification_id"`
		}{about(e, letter.Device, letter.Reason), by(letter.Route), e.Type, e.ID}))
	}
	return outbox.Addition{
		Fragment: Fragment.Name,
		Keys:     []string{r.streamKey(partition, e.Service), r.dueKey(partition, e.Service)},
		Args:     args,
	}
}

// An Origin says to which service receipts of an event are reported.
type Origin struct {
	Service string `json:"s"`
	EventID string `json:"e"`
	Source  string `json:"c,omitempty"` // of a CloudEvent
}

// Origin returns, as JSON, the Origin of an event of a source; "" when its service wants no
// reports of receipts.
func (r *Reports) Origin(source, eventID, cloudSource string) string {
	service := event.SourceService(source)
	if r.wants(service, EventReceipt) == nil {
		return ""
	}
	b, err := json.Marshal(Origin{service, eventID, cloudSource})
	if err != nil {
		panic(fmt.Sprintf("marshal origin: %v", err)) // strings always marshal
	}
	return string(b)
}

// A Receipt is the data of a report that an app gave a receipt.
type Receipt struct {
	EventID        string    `json:"event_id"`
	Source         string    `json:"source,omitempty"` // of a CloudEvent
	UserID         int64     `json:"user_id"`
	Device         string    `json:"device,omitempty"` // its id, never its token; absent: the app did not say which
	Type           string    `json:"type"`             // of the event
	NotificationID string    `json:"notification_id"`
	Receipt        string    `json:"receipt"` // delivered, opened or dismissed
	At             time.Time `json:"at"`
}

// Receipts returns the keys and arguments with which Fragment queues a report of each
// receipt of one event; none when its service wants no such reports. origin is what Origin
// returned when the event was published. Receipts sets EventID and Source.
func (r *Reports) Receipts(partition int, origin string, receipts []Receipt) (service string, queue outbox.Addition) {
	var o Origin
	if origin == "" || json.Unmarshal([]byte(origin), &o) != nil || r.wants(o.Service, EventReceipt) == nil {
		return "", outbox.Addition{}
	}
	args := []any{maxQueued, keepFor.Milliseconds()}
	for _, receipt := range receipts {
		receipt.EventID, receipt.Source, receipt.At = o.EventID, o.Source, receipt.At.In(r.location)
		args = append(args, r.newID(), r.body(EventReceipt, receipt))
	}
	return o.Service, outbox.Addition{
		Fragment: Fragment.Name, Keys: []string{r.streamKey(partition, o.Service), r.dueKey(partition, o.Service)}, Args: args,
	}
}

// Queued is called after an entry of a service was settled. It counts the reports that
// were dropped to make room and wakes the service's sender.
func (r *Reports) Queued(service string, dropped int) {
	s := r.senders[service]
	if s == nil {
		return
	}
	s.countDropped("full", max(0, dropped))
	s.nudge()
}

// forgottenDelay is how long the report of a forgotten device can be withdrawn before it
// is sent: longer than forgetting the device may take.
const forgottenDelay = 5500 * time.Millisecond

// ReasonStale is the reason in the report of a device that was not seen for long.
const ReasonStale = "stale"

// Stale queues the report that a device is forgotten because it was not seen for long, for
// each service that wants to know of forgotten devices. It is about no event. Withdraw is as
// in Forgotten.
func (r *Reports) Stale(
	ctx context.Context, b *rdb.Batcher, user int64, device string, route push.Route,
) (withdraw func(context.Context), err error) {
	var withdrawals []func(context.Context)
	withdraw = func(ctx context.Context) {
		for _, f := range withdrawals {
			f(ctx)
		}
	}
	for service := range r.senders {
		w, err := r.Forgotten(ctx, b, &outbox.Entry{User: user, Service: service}, device, route, ReasonStale)
		if err != nil {
			withdraw(ctx)
			return nil, err
		}
		withdrawals = append(withdrawals, w)
	}
	return withdraw, nil
}

// Forgotten queues the report of a forgotten device. It is called before the device is
// forgotten: the other way round, a crash in between would lose the report. Without an
// error, withdraw removes the report again, for a device that turns out to have been
// registered anew.
func (r *Reports) Forgotten(
	ctx context.Context, b *rdb.Batcher, e *outbox.Entry, device string, route push.Route, reason string,
) (withdraw func(context.Context), err error) {
	s := r.wants(e.Service, DeviceForgotten)
	if s == nil {
		return func(context.Context) {}, nil
	}
	partition := r.partitions.OfUser(e.User)
	entry, err := s.put(ctx, b, partition, forgottenDelay, &Report{ID: r.newID(), Body: r.body(DeviceForgotten, struct {
		aboutEvent
		aboutRoute
	}{about(e, device, reason), by(route)})}, "")
	return func(ctx context.Context) {
		if err := b.Do(ctx, s.settleCommand(ctx, partition, entry, "")); err != nil {
			r.log.Warn("the report of a device that was registered anew cannot be withdrawn", "error", err)
		}
	}, err
}

// A Broadcast is the data of the report that a broadcast has ended.
type Broadcast struct {
	ID       string           `json:"broadcast_id"`
	State    string           `json:"state"` // done, cancelled or expired
	Total    int64            `json:"total"`
	Sent     int64            `json:"sent"`
	Skipped  int64            `json:"skipped"`
	Pushed   int64            `json:"pushed"` // until now, as is Failed
	Failed   map[string]int64 `json:"failed"`
	Finished time.Time        `json:"finished_at"`
}

// Ended queues the report that a broadcast of a source has ended, if the service wants
// such reports. It may be called again after an error or a crash, and by several
// processes: the report is queued once.
func (r *Reports) Ended(ctx context.Context, b *rdb.Batcher, source string, ended Broadcast) error {
	s := r.wants(event.SourceService(source), BroadcastDone)
	if s == nil {
		return nil
	}
	ended.Finished = ended.Finished.In(r.location)
	sum := sha256.Sum256([]byte(source + "\x00" + ended.ID))
	id, partition := "msg_"+hex.EncodeToString(sum[:12]), r.partitions.Of(ended.ID)
	_, err := s.put(ctx, b, partition, 0, &Report{ID: id, Body: r.body(BroadcastDone, ended)},
		r.markKey(partition, s.service, id))
	return err
}
