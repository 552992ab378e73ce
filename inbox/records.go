package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A Record is the outcome of one event for one receiver.
type Record struct {
	Receiver int64
	ID       string // of the notification
	Live     bool   // whether a socket was listening when the event was stored
	Push     string // "none", "waiting", "superseded", or the newest PushOutcome
	// Devices holds the newest DeviceOutcome by device id.
	Devices map[string]string
}

// Records holds the outcome of each event for each of its receivers.
type Records struct{ *base }

// Key returns the key of a record. It is a string, to which the scripts that settle the
// event's pushes append outcomes.
func (r *Records) Key(receiver int64, event string) string {
	return r.keys(receiver).record(event)
}

// deviceLine and pushLine begin the lines of outcomes.
const (
	deviceLine = "device "
	pushLine   = "push "
)

// DeviceOutcome returns the line of a record with the outcome of the push to one device.
func DeviceOutcome(device, outcome string) string {
	return deviceLine + device + " " + outcome + "\n"
}

// PushOutcome returns the line of a record with the outcome of the event's pushes as a
// whole.
func PushOutcome(outcome string) string { return pushLine + outcome + "\n" }

// A receiverIndex holds the commands that write the receivers of events.
type receiverIndex struct {
	events    []string
	receivers map[string][]int64
	commands  []*rdb.Command
}

// indexCommands returns the commands that write the receivers of events for Find.
func (r *Records) indexCommands(ctx context.Context, receivers map[string][]int64) receiverIndex {
	x := receiverIndex{receivers: receivers}
	for event, users := range receivers {
		x.events = append(x.events, event)
		x.commands = append(x.commands, r.indexCommand(ctx, event, joinUsers(users)))
	}
	return x
}

// mergeIndex adds the receivers that another request had written for the same event.
func (r *Records) mergeIndex(ctx context.Context, x receiverIndex) error {
	var again []*rdb.Command
	for i, event := range x.events {
		before, err := x.commands[i].Text()
		if err != nil && !errors.Is(err, redis.Nil) { // Nil: there were none
			return fmt.Errorf("index receivers: %w", err)
		}
		if all := joinUsers(append(splitUsers(before), x.receivers[event]...)); before != "" && all != before {
			again = append(again, r.indexCommand(ctx, event, all))
		}
	}
	if len(again) == 0 {
		return nil
	}
	return r.batcher.Do(ctx, again...)
}

// indexCommand writes an event's receivers. The reply is the value that it replaced.
func (r *Records) indexCommand(ctx context.Context, event, users string) *rdb.Command {
	return rdb.NewCommand(ctx, "set", r.receivers(event), users, "px", r.recordTTL().Milliseconds(), "get")
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

// Find returns the records of an event, ordered by receiver. The error is ErrNotFound
// when the event is not known (any more).
func (r *Records) Find(ctx context.Context, event string) ([]Record, error) {
	text, err := r.redis.Get(ctx, r.receivers(event)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read receivers: %w", err)
	}
	users := splitUsers(text)
	pipe := r.redis.Pipeline()
	replies := make([]*redis.StringCmd, len(users))
	for i, user := range users {
		replies[i] = pipe.Get(ctx, r.Key(user, event))
	}
	if len(users) > 0 {
		_, _ = pipe.Exec(ctx) // each reply holds its own error
	}
	records := make([]Record, 0, len(users))
	for i, user := range users {
		text, err := replies[i].Result()
		if errors.Is(err, redis.Nil) { // storing failed, or the record has expired
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
		records = append(records, newRecord(user, text))
	}
	if len(records) == 0 {
		return nil, ErrNotFound
	}
	return records, nil
}

func newRecord(user int64, text string) Record {
	head, lines, _ := strings.Cut(text, "\n")
	r := Record{Receiver: user, Devices: make(map[string]string)}
	if f := strings.Split(head, " "); len(f) == 5 {
		r.ID, r.Live, r.Push = f[1], f[3] != "0", f[4]
	}
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		if outcome, ok := strings.CutPrefix(line, pushLine); ok {
			r.Push = outcome
		} else if outcome, ok := strings.CutPrefix(line, deviceLine); ok {
			device, status, _ := strings.Cut(outcome, " ")
			r.Devices[device] = status
		}
	}
	return r
}
