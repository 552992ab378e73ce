package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A ReceiverStatus tells what became of an event for one receiver.
type ReceiverStatus struct {
	Receiver       int64
	NotificationID string
	StoredAt       time.Time
	Live           bool   // whether a socket was listening when the event was stored
	Push           string // "none", "waiting", "quiet", "retrying", "superseded", "muted", "expired", "done", "dead" or "erased"
	Devices        []DeviceStatus
}

// A DeviceStatus tells what became of an event on one device.
type DeviceStatus struct {
	Device     string // the device's id, never its token
	Platform   devices.Platform
	Outcome    string // an Outcome's name, "quiet", "retrying", "dead", "superseded", "muted" or "expired"
	Reason     string
	ProviderID string
	Attempts   int
	At         time.Time
}

// Status returns what became of an event of a source, by receiver, or
// inbox.ErrNotFound. It is known for at least 7 days.
func (d *Dispatcher) Status(ctx context.Context, source, id string) ([]ReceiverStatus, error) {
	records, err := d.Inbox.Records.Find(ctx, EventKey(source, id))
	if err != nil {
		return nil, err
	}
	statuses := make([]ReceiverStatus, len(records))
	for i, r := range records {
		s := ReceiverStatus{Receiver: r.Receiver, NotificationID: r.ID, Live: r.Live, Push: r.Push}
		if s.StoredAt, err = model.IDTime(r.ID); err != nil {
			return nil, fmt.Errorf("event %s: %w", id, err)
		}
		for device, text := range r.Devices {
			var ds deviceStatus
			if err := json.Unmarshal([]byte(text), &ds); err != nil {
				return nil, fmt.Errorf("event %s: outcome of device %s: %w", id, device, err)
			}
			s.Devices = append(s.Devices, DeviceStatus{
				Device: device, Platform: ds.Platform, Outcome: ds.Outcome, Reason: ds.Reason,
				ProviderID: ds.ProviderID, Attempts: ds.Attempts, At: milli(ds.At),
			})
		}
		slices.SortFunc(s.Devices, func(a, b DeviceStatus) int { return strings.Compare(a.Device, b.Device) })
		s.Push = overall(s.Push, s.Devices)
		statuses[i] = s
	}
	return statuses, nil
}

// overall sums up the devices: each has its own retries, so that the one settled
// last does not speak for the others.
func overall(total string, all []DeviceStatus) string {
	for _, d := range all {
		switch d.Outcome {
		case "retrying":
			return "retrying"
		case "dead", push.Refused.String(), push.Unsendable.String():
			total = "dead"
		}
	}
	return total
}
