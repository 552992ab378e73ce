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

// A Record tells what became of one event for one receiver.
type Record struct {
	Receiver int64
	ID       string // of the notification
	Live     bool   // whether a socket was listening when the event was stored
	Push     string // "none", "waiting", "superseded", or what an outcome said last
	// Devices holds, by device id, what the dispatcher wrote of each last.
	Devices map[string]string
}

// Records tells what became of each event for each of its receivers.
type Records struct{ *base }

// Key returns the key of the record of an event for a receiver, a string to
// which the scripts that settle its pushes append lines.
func (r *Records) Key(receiver int64, event string) string {
	return r.keys(receiver).record(event)
}

// deviceLine and pushLine begin the lines of outcomes.
const (
	deviceLine = "device "
	pushLine   = "push "
)

// DeviceOutcome is the line that tells what became of the event on a device.
func DeviceOutcome(device, outcome string) string {
	return deviceLine + device + " " + outcome + "\n"
}

// PushOutcome is the line that tells what became of the event's pushes on the whole.
func PushOutcome(outcome string) string { return pushLine + outcome + "\n" }

// An index is the writing of events' receivers.
type index struct {
	events    []string
	receivers map[string][]int64
	commands  []*rdb.Command
}

// indexCommands notes the receivers of events, so that Records finds them.
func (r *Records) indexCommands(ctx context.Context, receivers map[string][]int64) index {
	x := index{receivers: receivers}
	for event, users := range receivers {
		x.events = append(x.events, event)
		x.commands = append(x.commands, r.indexCommand(ctx, event, joinUsers(users)))
	}
	return x
}

// mergeIndex adds the receivers that an event had before, from another request.
func (r *Records) mergeIndex(ctx context.Context, x index) error {
	var again []*rdb.Command
	for i, event := range x.events {
		before, _ := x.commands[i].Text() // nil: there were none
		if all := joinUsers(append(splitUsers(before), x.receivers[event]...)); before != "" && all != before {
			again = append(again, r.indexCommand(ctx, event, all))
		}
	}
	if len(again) == 0 {
		return nil
	}
	return r.batcher.Do(ctx, again...)
}

// indexCommand writes an event's receivers and returns those before.
func (r *Records) indexCommand(ctx context.Context, event, users string) *rdb.Command {
	return rdb.NewCommand(ctx, "set", r.receivers(event), users, "px", r.recordTTL().Milliseconds(), "get")
}

// joinUsers writes users, each once, in order.
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

// Find returns what became of an event for each of its receivers, ordered by
// receiver. The error is ErrNotFound when the event is not known (any more).
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
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("read records: %w", err)
		}
	}
	records := make([]Record, 0, len(users))
	for i, user := range users {
		if text := replies[i].Val(); text != "" { // else the receiver was named, but storing failed
			records = append(records, newRecord(user, text))
		}
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
