package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// An OutboxEntry is the entry that a notification adds to the outbox.
type OutboxEntry struct {
	Stream string // in the receiver's partition
	// Header is the start of a JSON object, up to the value of the notification's id. The
	// script appends the id, a quote, the members for the entry's lifetime, a closing brace
	// and, on the next line, the body.
	Header string
	// TTL is how long after its acceptance the push is of use. RetryFor is how long it is
	// retried.
	TTL, RetryFor time.Duration
}

// A NewNotification is one event for one receiver.
type NewNotification struct {
	Receiver int64
	Event    string // digest of the event's source and id, which make it idempotent
	Content  string // digest of what was sent
	Type     string
	Listed   bool           // whether it enters the list of notifications and is counted as unread
	Body     []byte         // JSON object, or a Reference
	Subject  string         // what the event is about, such as "transaction:52001"; or ""
	State    model.State    // of the subject; a cart has only an Order. A zero Order stands for the time of acceptance
	Cart     *int           // the number of items in the cart; nil for other events
	Contact  *model.Contact // the partner in a transaction, if the event has a state; else nil
	Entry    *OutboxEntry   // nil when nothing is pushed
	// Origin is kept in the record for receipts of the notification: a line that begins with
	// a brace, or "". See Located.
	Origin string
	// Quiet says that the event only changes counters: it is in no list, and no live
	// socket gets it.
	Quiet bool
}

// A StoreResult says how a NewNotification was stored.
type StoreResult struct {
	ID        string // of the notification
	Seq       string // of its frame
	Duplicate bool   // it had been stored before; nothing was changed
	Erased    bool   // it was dropped, because the receiver was erased
}

// Store stores events, each atomically and once. Results and errors are in the order of the
// events. An error is ErrConflict or comes from Redis, and concerns only its own receiver.
// All events go in one pipeline to each shard, together with events of concurrent callers.
// receivers maps NewNotification.Event to all receivers of the event, for Records.Find; an
// event fails when its receivers cannot be written. receivers may be nil when an earlier
// call has written them.
func (n *Notifications) Store(ctx context.Context, events []NewNotification, receivers map[string][]int64) ([]StoreResult, []error) {
	return n.storeAll(ctx, events, receivers, func(p *NewNotification) *rdb.Command {
		keys, args := n.storeArgs(p, model.NewIDSuffix())
		return n.storeScript.Command(ctx, keys, args...)
	})
}

// storeAll stores events with the commands that command returns.
func (n *Notifications) storeAll(
	ctx context.Context, events []NewNotification, receivers map[string][]int64, command func(*NewNotification) *rdb.Command,
) ([]StoreResult, []error) {
	index := n.records.indexCommands(ctx, receivers, n.recordTTL())
	scripts := make([]*rdb.Command, len(events))
	for i := range events {
		scripts[i] = command(&events[i])
	}
	_ = n.batcher.Do(ctx, append(slices.Clone(index.commands), scripts...)...) // each command holds its own error
	n.records.mergeIndex(ctx, index)
	notIndexed := index.failed()
	results, errs := make([]StoreResult, len(events)), make([]error, len(events))
	for i, c := range scripts {
		results[i], errs[i] = n.storeResult(c)
		if errs[i] == nil {
			errs[i] = notIndexed[events[i].Event]
		}
		if errs[i] != nil && !errors.Is(errs[i], ErrConflict) {
			errs[i] = fmt.Errorf("store event for user %d: %w", events[i].Receiver, errs[i])
		}
	}
	return results, errs
}

// storeArgs returns the KEYS and ARGV of store_notification.lua.
func (n *Notifications) storeArgs(p *NewNotification, suffix string) (keys []string, args []any) {
	k := n.keys(p.Receiver)
	var listed, cart, order, field, contact, devices string
	if p.Listed {
		listed = p.Type
	}
	if p.Cart != nil {
		cart = strconv.Itoa(*p.Cart)
	}
	if !p.State.Order.IsZero() {
		order = strconv.FormatInt(p.State.Order.UnixMicro(), 10)
	}
	if p.Contact != nil {
		field, contact = contactField(p.Contact), contactValue(p.Contact)
	}
	var entry OutboxEntry
	if p.Entry != nil {
		entry, devices = *p.Entry, n.options.Devices(p.Receiver)
	}
	args = []any{
		suffix, p.Content, p.Body, listed, p.Subject, order, p.State.Rank, int(p.State.Counter), cart, boolArg(p.Quiet),
		field, contact, entry.Header, entry.Stream, devices, entry.TTL.Milliseconds(), entry.RetryFor.Milliseconds(), p.Origin,
	}
	if n.testClock {
		args = append(args, n.testTime())
	}
	return []string{k.record(p.Event), k.meta()}, args
}

// storeResult reads the script's reply.
func (n *Notifications) storeResult(c *rdb.Command) (StoreResult, error) {
	if err := c.Err(); err != nil {
		return StoreResult{}, err
	}
	reply, err := c.Values(4)
	if err != nil {
		return StoreResult{}, err
	}
	n.liveErrors.note(reply[3])
	status, _ := reply[0].(int64)
	stored := StoreResult{Duplicate: status == 0, Erased: status == 2}
	stored.ID, _ = reply[1].(string)
	stored.Seq, _ = reply[2].(string)
	if status < 0 {
		return stored, ErrConflict
	}
	return stored, nil
}
