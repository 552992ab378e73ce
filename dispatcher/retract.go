package dispatcher

import (
	"context"
	"fmt"
	"strings"

	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
)

// Retract takes an event of a source back: out of lists, counters and queues, and from live
// sockets and screens; see inbox.Notifications.Retract. A push that is being sent meanwhile is
// taken down once it is shown. Retract may be repeated. The error is inbox.ErrNotFound when the
// event is unknown.
func (d *Dispatcher) Retract(ctx context.Context, source, id string) error {
	key := event.Key(source, id)
	before, err := d.opts.Inbox.Notifications.Retract(ctx, key)
	if err != nil {
		return err
	}
	if err := d.schedule.Remove(ctx, key); err != nil {
		return err
	}
	queued := make(map[int]bool) // partitions
	for _, r := range before {
		if delivery.MayBeQueued(r) {
			queued[d.opts.Partitions.OfUser(r.Receiver)] = true
		}
	}
	for partition := range queued {
		if err := d.Outbox.DropEntries(ctx, partition, func(value string) bool { return isOf(value, key) }); err != nil {
			return fmt.Errorf("retract event: %w", err)
		}
	}
	return nil
}

// isOf reports whether an entry is a push of an event.
func isOf(value, key string) bool {
	if !strings.Contains(value, key) { // spares parsing the others
		return false
	}
	e, err := outbox.ParseEntry(value)
	return err == nil && e.Event == key
}
