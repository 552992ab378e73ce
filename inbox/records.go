package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A Record is the outcome of one event for one receiver.
type Record struct {
	Receiver int64
	Content  string    // digest of what was sent; not of a message
	ID       string    // of the notification; "" when there is none
	Live     bool      // whether a socket was listening when the event was stored
	Push     string    // "none", "waiting", "superseded", PushRetracted, PushScheduled, or the newest PushOutcome
	Origin   string    // of the NewNotification
	At       time.Time // when it is published, while it is PushScheduled; else zero
	// Devices holds the newest DeviceOutcome by device id.
	Devices map[string]string
	// Receipts are in the order in which they were noted.
	Receipts []Receipt
}

// A Receipt is what an app said became of a notification on a device.
type Receipt struct {
	Device string // its id; "" when the app did not say which
	Event  string // one word, such as "opened"
	At     time.Time
}

// Records holds the outcome of each event for each of its receivers.
type Records struct{ *base }

// Key returns the key of a record. It is a string, to which the scripts that settle the
// event's pushes append outcomes.
func (r *Records) Key(receiver int64, event string) string {
	return r.keys(receiver).record(event)
}

// These words begin the lines of a record.
const (
	deviceLine  = "device "
	pushLine    = "push "
	receiptLine = "receipt "
)

// noID stands in a record in place of the id of a notification that was never stored.
const noID = "-"

// noDevice stands in the line of a receipt for a device that is not known.
const noDevice = "-"

// DeviceOutcome returns the line of a record with the outcome of the push to one device.
func DeviceOutcome(device, outcome string) string {
	return deviceLine + device + " " + outcome + "\n"
}

// PushOutcome returns the line of a record with the outcome of the event's pushes as a
// whole.
func PushOutcome(outcome string) string { return pushLine + outcome + "\n" }

// ReceiptLine returns the line of a record with a receipt, up to its time: the time in
// milliseconds and the end of the line follow.
func ReceiptLine(device, event string) string {
	return receiptLine + cmp.Or(device, noDevice) + " " + event + " "
}

// readReceipt reads the rest of a receipt's line.
func readReceipt(line string) (r Receipt, ok bool) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return r, false
	}
	ms, err := strconv.ParseInt(f[2], 10, 64)
	if f[0] == noDevice {
		f[0] = ""
	}
	return Receipt{Device: f[0], Event: f[1], At: time.UnixMilli(ms)}, err == nil
}

// A receiverIndex holds the commands that write the receivers of events. Each receiver is
// stored in its own partition, so that a shard that is away affects only its own users.
type receiverIndex struct {
	entries  []indexEntry
	commands []*rdb.Command // commands of the entries
	ttl      time.Duration
}

// An indexEntry lists the receivers of an event in one partition.
type indexEntry struct {
	event     string
	partition int
	receivers []int64
}

// failed returns the errors of writing the receivers, by event.
func (x *receiverIndex) failed() map[string]error {
	var errs map[string]error
	for i, e := range x.entries {
		if err := x.commands[i].Err(); err != nil && !errors.Is(err, redis.Nil) { // Nil: there was no previous value
			if errs == nil {
				errs = make(map[string]error)
			}
			errs[e.event] = fmt.Errorf("index receivers: %w", err)
		}
	}
	return errs
}

// indexCommands returns the commands that write the receivers of events for Find, which finds
// them for the time ttl.
func (r *Records) indexCommands(ctx context.Context, receivers map[string][]int64, ttl time.Duration) *receiverIndex {
	x := &receiverIndex{ttl: ttl}
	for event, users := range receivers {
		first := len(x.entries)
		for _, user := range users {
			p := r.parts.OfUser(user)
			n := slices.IndexFunc(x.entries[first:], func(e indexEntry) bool { return e.partition == p })
			if n < 0 {
				n, x.entries = len(x.entries)-first, append(x.entries, indexEntry{event: event, partition: p})
			}
			e := &x.entries[first+n]
			e.receivers = append(e.receivers, user)
		}
	}
	for _, e := range x.entries {
		x.commands = append(x.commands, r.indexCommand(ctx, e, joinUsers(e.receivers), ttl))
	}
	return x
}

// mergeIndex adds the receivers that another request had written for the same event.
func (r *Records) mergeIndex(ctx context.Context, x *receiverIndex) {
	var again []*rdb.Command
	for i, e := range x.entries {
		before, err := x.commands[i].Text()
		if err != nil || before == "" || x.commands[i].Err() != nil { // Nil: there was no previous value
			continue
		}
		if all := joinUsers(append(splitUsers(before), e.receivers...)); all != before {
			x.commands[i] = r.indexCommand(ctx, e, all, x.ttl)
			again = append(again, x.commands[i])
		}
	}
	if len(again) > 0 {
		_ = r.batcher.Do(ctx, again...) // each command holds its own error
	}
}

// indexCommand writes an event's receivers. The reply is the value that it replaced.
func (r *Records) indexCommand(ctx context.Context, e indexEntry, users string, ttl time.Duration) *rdb.Command {
	return rdb.NewCommand(ctx, "set", r.receivers(e.partition, e.event), users, "px", ttl.Milliseconds(), "get")
}

// joinUsers formats users in order, without repetition.
func joinUsers(users []int64) string {
	users = slices.Clone(users)
	slices.Sort(users)
	users = slices.Compact(users)
	b := make([]byte, 0, 8*len(users))
	for i, user := range users {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, user, 10)
	}
	return string(b)
}

func splitUsers(text string) []int64 {
	var users []int64
	for field := range strings.FieldsSeq(text) {
		if user, err := strconv.ParseInt(field, 10, 64); err == nil {
			users = append(users, user)
		}
	}
	return users
}

// Find returns the records of an event, ordered by receiver. The error is ErrNotFound when
// the event is unknown or has expired. While a shard is away, its receivers are missing;
// when no others are left, the error is that shard's.
func (r *Records) Find(ctx context.Context, event string) ([]Record, error) {
	users, failed := r.receiversOf(ctx, event)
	commands := make([]*rdb.Command, len(users))
	for i, user := range users {
		commands[i] = rdb.NewCommand(ctx, "get", r.Key(user, event))
	}
	_ = r.batcher.Do(ctx, commands...) // each command holds its own error
	records := make([]Record, 0, len(users))
	for i, user := range users {
		text, err := commands[i].Text()
		switch {
		case err == nil:
			records = append(records, newRecord(user, text))
		case !errors.Is(err, redis.Nil): // Nil: storing failed, or the record has expired
			failed = fmt.Errorf("read records: %w", err)
		}
	}
	switch {
	case len(records) > 0:
		return records, nil
	case failed != nil:
		return nil, failed
	}
	return nil, ErrNotFound
}

// receiversOf returns the receivers of an event, in order, from the partitions that answer.
func (r *Records) receiversOf(ctx context.Context, event string) (users []int64, failed error) {
	commands := make([]*rdb.Command, r.parts.Len())
	for p := range commands {
		commands[p] = rdb.NewCommand(ctx, "get", r.receivers(p, event))
	}
	_ = r.batcher.Do(ctx, commands...) // each command holds its own error
	for _, c := range commands {
		text, err := c.Text()
		if err != nil && !errors.Is(err, redis.Nil) {
			failed = fmt.Errorf("read receivers: %w", err)
		}
		users = append(users, splitUsers(text)...)
	}
	slices.Sort(users)
	return slices.Compact(users), failed
}

func newRecord(user int64, text string) Record {
	head, lines, _ := strings.Cut(text, "\n")
	r := Record{Receiver: user, Devices: make(map[string]string)}
	if f := strings.SplitN(head, " ", 6); len(f) >= 5 {
		r.Content, r.ID, r.Live, r.Push = f[0], strings.TrimPrefix(f[1], noID), f[3] != "0", f[4]
		if len(f) == 6 && r.Push == PushScheduled {
			ms, _ := strconv.ParseInt(f[5], 10, 64) // schedule_record.lua has written it
			r.At = time.UnixMilli(ms)
		} else if len(f) == 6 {
			r.Origin = f[5]
		}
	}
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		if outcome, ok := strings.CutPrefix(line, pushLine); ok {
			if r.Push != PushRetracted { // nothing follows that
				r.Push, r.At = outcome, time.Time{}
			}
		} else if outcome, ok := strings.CutPrefix(line, deviceLine); ok {
			device, status, _ := strings.Cut(outcome, " ")
			r.Devices[device] = status
		} else if receipt, ok := strings.CutPrefix(line, receiptLine); ok {
			if receipt, ok := readReceipt(receipt); ok {
				r.Receipts = append(r.Receipts, receipt)
			}
		}
	}
	return r
}
