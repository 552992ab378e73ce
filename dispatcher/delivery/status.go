package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A ReceiverStatus is the delivery status of an event for one receiver.
type ReceiverStatus struct {
	Receiver       int64
	NotificationID string    // "" when nothing was stored
	StoredAt       time.Time // zero when nothing was stored
	Live           bool      // whether a socket was listening when the event was stored
	Push           string    // "none", "waiting", "quiet", "retrying", "superseded", "muted", "silent", "expired", "done", "dead", "erased", "retracted" or "scheduled"
	Devices        []DeviceStatus
	At             time.Time       // when it is published, while it is scheduled; else zero
	Receipts       []inbox.Receipt // what apps said became of it
}

// A DeviceStatus is the delivery status of an event on one device.
type DeviceStatus struct {
	Device string     // the device's id, never its token
	Route  push.Route // the way to it; zero when it is not listed any more
	// Outcome is "accepted", "refused", "unsendable", "forgotten", "moved", "dead", "read",
	// "retracted", "superseded", "muted", "silent" or "expired"; or, while the push waits, "retrying",
	// "waiting_for_retry_after", "suspect", "circuit_open" or "quiet".
	Outcome    string
	Reason     push.Reason
	ProviderID string
	Attempts   int
	At         time.Time
	Since      time.Time   // since when the push waits for its device's recheck or the circuit; zero otherwise
	Why        push.Reason // why the device is suspect or the circuit open; empty otherwise
}

// Status returns the delivery status of an event of a source, by receiver, or
// inbox.ErrNotFound. It is known for at least 7 days.
func (w *Workers) Status(ctx context.Context, source, id string) ([]ReceiverStatus, error) {
	records, err := w.Inbox.Records.Find(ctx, event.Key(source, id))
	if err != nil {
		return nil, err
	}
	statuses := make([]ReceiverStatus, len(records))
	for i, r := range records {
		if statuses[i], err = newStatus(r); err != nil {
			return nil, fmt.Errorf("event %s: %w", id, err)
		}
	}
	return statuses, nil
}

// settledPush are the outcomes of an event's pushes as a whole that leave none queued.
var settledPush = []string{"none", "superseded", "muted", "silent", "expired", "done", "erased"}

// MayBeQueued reports whether pushes of an event may be in the outbox, delayed, or among the
// dead letters.
func MayBeQueued(r inbox.Record) bool {
	s, err := newStatus(r)
	waits := func(d DeviceStatus) bool {
		switch d.Outcome {
		case outcomeRetrying, outcomeRetryAfter, outcomeSuspect, outcomeCircuit, "quiet",
			outcomeDead, push.Refused.String(), push.Unsendable.String():
			return true
		}
		return false
	}
	return err != nil || !slices.Contains(settledPush, r.Push) || slices.ContainsFunc(s.Devices, waits)
}

// ReleaseQuiet makes the pushes to a user due that are delayed to the end of quiet hours.
// Call it after the quiet hours have changed.
func (w *Workers) ReleaseQuiet(ctx context.Context, user int64) error {
	return w.Outbox.ReleaseQuiet(ctx, user)
}

func newStatus(r inbox.Record) (s ReceiverStatus, err error) {
	s = ReceiverStatus{Receiver: r.Receiver, NotificationID: r.ID, Live: r.Live, At: r.At, Receipts: r.Receipts}
	if r.ID != "" {
		if s.StoredAt, err = model.IDTime(r.ID); err != nil {
			return s, err
		}
	}
	for device, stored := range r.Devices {
		var o deviceOutcome
		if err := json.Unmarshal([]byte(stored), &o); err != nil {
			return s, fmt.Errorf("outcome of device %s: %w", device, err)
		}
		status := DeviceStatus{
			Device: device, Route: o.route(), Outcome: o.Outcome, Reason: o.Reason,
			ProviderID: o.ProviderID, Attempts: o.Attempts, At: time.UnixMilli(o.At), Why: o.Why,
		}
		if o.Since > 0 {
			status.Since = time.UnixMilli(o.Since)
		}
		s.Devices = append(s.Devices, status)
	}
	slices.SortFunc(s.Devices, func(a, b DeviceStatus) int { return strings.Compare(a.Device, b.Device) })
	s.Push = overall(r.Push, s.Devices)
	return s, nil
}

// overall combines the outcomes of the devices. Each device has its own retries, so the one
// that is settled last does not decide alone.
func overall(progress string, all []DeviceStatus) string {
	if progress == inbox.PushRetracted {
		return progress
	}
	for _, d := range all {
		switch d.Outcome {
		case outcomeRetrying, outcomeRetryAfter, outcomeSuspect, outcomeCircuit:
			return outcomeRetrying
		case outcomeDead, push.Refused.String(), push.Unsendable.String():
			progress = "dead"
		}
	}
	return progress
}
