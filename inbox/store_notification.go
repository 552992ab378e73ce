package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// An OutboxEntry is what a stored event leaves in the outbox.
type OutboxEntry struct {
	Stream string // in the receiver's partition
	// Header is one line that ends where the notification's id, a quote, a closing
	// brace and on the next line its body are to be appended.
	Header string
}

// A NewNotification is one event for one receiver.
type NewNotification struct {
	Receiver int64
	Event    string // digest of the event's source and id, which make it idempotent
	Content  string // digest of what was sent
	Type     string
	Listed   bool           // whether it enters the list and the unread counter
	Body     []byte         // JSON object, which only the publisher understands
	Subject  string         // what it is about, such as "transaction:52001"; or ""
	State    model.State    // of the subject; its Order counts for a cart too
	Cart     *int           // the number of items in the cart, for a cart event, which tells nobody
	Contact  *model.Contact // of a transaction with a state, with whom; else nil
	Entry    *OutboxEntry   // nil when nothing is to be pushed
	// Quiet says that the event moves counters and tells nobody: it is in no list,
	// and no live socket shows it.
	Quiet bool
}

// A StoreResult says what became of a NewNotification.
type StoreResult struct {
	ID        string // of the notification that stands for the event
	Seq       string // of its frame
	Duplicate bool   // it had been stored before; nothing was changed
	Erased    bool   // the receiver's tombstone stands: it was dropped
}

//go:embed store_notification.lua
var storeNotificationSource string
var storeNotificationScript = script(storeNotificationSource)

// Store stores events, each atomically and once. Results and errors (ErrConflict,
// or what Redis said) are in the order of the puts. One pipeline carries all of
// them, together with those of concurrent callers. Receivers are those of events,
// by Put.Event, that Records is to find: they need be given once.
func (n *Notifications) Store(ctx context.Context, events []NewNotification, receivers map[string][]int64) ([]StoreResult, []error) {
	index := n.records.indexCommands(ctx, receivers)
	suffixes, scripts := make([]string, len(events)), make([]*rdb.Command, len(events))
	for i := range events {
		suffixes[i] = model.NewIDSuffix()
		keys, args := n.storeArgs(&events[i], suffixes[i])
		scripts[i] = storeNotificationScript.Command(ctx, keys, args...)
	}
	common := n.batcher.Do(ctx, append(slices.Clone(index.commands), scripts...)...)
	if common == nil {
		common = n.records.mergeIndex(ctx, index)
	}
	results, errs := make([]StoreResult, len(events)), make([]error, len(events))
	for i, c := range scripts {
		results[i], errs[i] = storeResult(c.Cmd, suffixes[i], common)
		if errs[i] != nil && !errors.Is(errs[i], ErrConflict) {
			errs[i] = fmt.Errorf("store event for user %d: %w", events[i].Receiver, errs[i])
		}
	}
	return results, errs
}

// storeArgs returns the KEYS and ARGV of store_notification.lua.
func (n *Notifications) storeArgs(p *NewNotification, suffix string) (keys []string, args []any) {
	k := n.keys(p.Receiver)
	record := k.record(p.Event)
	users, member := n.parts.Listing(p.Receiver)
	keys = []string{
		record, k.meta(), k.notifications(), k.unread(), k.counted(), k.replayLog(), n.options.Devices(p.Receiver), record,
		k.contacts(), k.recentContacts(), users, k.recordIndex(),
	}
	contact, with := "", ""
	if p.Contact != nil {
		contact, with = contactField(p.Contact), contactValue(p.Contact)
	}
	listed, cart, header, quiet := "", "", "", ""
	if p.Quiet {
		quiet = "1"
	}
	if p.Listed {
		listed = p.Type
	}
	if p.Cart != nil {
		cart = strconv.Itoa(*p.Cart)
	}
	if p.Entry != nil {
		keys[7], header = p.Entry.Stream, p.Entry.Header
	}
	now := n.now()
	return keys, []any{
		suffix, p.Content, n.recordTTL().Milliseconds(), p.Body, listed,
		(n.options.Keep + expiryRenewInterval).Milliseconds(), now.Add(-n.options.Keep).UnixMicro(), n.options.MaxNotifications,
		p.Subject, p.State.Order.UnixMicro(), p.State.Rank, int(p.State.Counter), cart,
		n.publish, k.channel(), replayLogTTL.Milliseconds(), replayFrames,
		header, now.UnixMilli() / expiryRenewInterval.Milliseconds(), n.testTime(),
		contact, with, mostContacts, member, p.Event, quiet,
	}
}

// storeResult reads the script's reply; when there is none because the whole
// pipeline failed, common says why.
func storeResult(cmd *redis.Cmd, suffix string, common error) (StoreResult, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return StoreResult{}, err
	}
	if len(reply) != 3 {
		return StoreResult{}, common
	}
	if errors.Is(common, rdb.ErrReplicas) {
		return StoreResult{}, common
	}
	status, _ := reply[0].(int64)
	stored := StoreResult{Duplicate: status == 0, Erased: status == 2}
	stored.ID, _ = reply[1].(string)
	stored.Seq, _ = reply[2].(string)
	if status < 0 {
		return stored, ErrConflict
	}
	return stored, nil
}
