package inbox

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A Record tells what became of one event for one receiver.
type Record struct {
	Receiver int64
	ID       string // of the notification
	Live     bool   // whether a socket was listening when the event was stored
	Push     string // "none", "waiting", "retrying", "done" or "dead"
	// Devices holds, by device id, what the dispatcher wrote of each.
	Devices map[string]string
}

// deviceField begins the fields of a record that hold a device's outcome.
const deviceField = "d:"

// RecordKey returns the key of the record of an event for a receiver, for the
// scripts that settle its pushes.
func (s *Store) RecordKey(receiver int64, event string) string {
	return s.keys(receiver).record(event)
}

// DeviceField returns the field of a record that holds what became of the event
// on a device.
func DeviceField(device string) string { return deviceField + device }

// TagKey returns the key that holds the id of the newest notification that shows
// under a tag.
func (s *Store) TagKey(receiver int64, tag string) string { return s.keys(receiver).tag(tag) }

// Records returns what became of an event for each of its receivers, ordered by
// receiver. The error is ErrNotFound when the event is not known (any more).
func (s *Store) Records(ctx context.Context, event string) ([]Record, error) {
	members, err := s.Redis.SMembers(ctx, s.receivers(event)).Result()
	if err != nil {
		return nil, fmt.Errorf("read receivers: %w", err)
	}
	users := make([]int64, 0, len(members))
	for _, m := range members {
		if user, err := strconv.ParseInt(m, 10, 64); err == nil {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	pipe := s.Redis.Pipeline()
	replies := make([]*redis.MapStringStringCmd, len(users))
	for i, user := range users {
		replies[i] = pipe.HGetAll(ctx, s.RecordKey(user, event))
	}
	if len(users) > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
	}
	records := make([]Record, 0, len(users))
	for i, user := range users {
		if fields := replies[i].Val(); len(fields) > 0 { // else the receiver was named, but storing failed
			records = append(records, newRecord(user, fields))
		}
	}
	if len(records) == 0 {
		return nil, ErrNotFound
	}
	return records, nil
}

func newRecord(user int64, fields map[string]string) Record {
	r := Record{
		Receiver: user,
		ID:       fields["id"],
		Live:     fields["live"] != "0",
		Push:     fields["push"],
		Devices:  make(map[string]string),
	}
	for name, value := range fields {
		if device, ok := strings.CutPrefix(name, deviceField); ok {
			r.Devices[device] = value
		}
	}
	return r
}
