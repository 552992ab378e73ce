package inbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A Located is a notification or a message that a user has.
type Located struct {
	ID      string
	Type    string // that of a notification
	Message *Message
	// Event is the digest that names its record; "" when the record has expired.
	Event     string
	Broadcast string // key of the broadcast that it belongs to, or ""
	Origin    string // of the NewNotification
}

// maxSameTime bounds how many records of one user Locate reads for one notification: those of
// events that were accepted in the same millisecond.
const maxSameTime = 64

// Locate finds notifications in a user's list and messages that the user has received, by
// id, in two round trips. Ids that the user does not have are missing in the result.
//
// No index leads from a notification to its record. The list of records is ordered by when
// they expire, which follows from the acceptance, which is in the id. After a change of
// Options.Dedupe, records of earlier notifications are not found.
func (n *Notifications) Locate(ctx context.Context, user int64, ids []string) (map[string]Located, error) {
	found, err := n.listed(ctx, user, ids)
	if err != nil {
		return nil, err
	}
	conversations := &Conversations{base: n.base}
	messages, err := conversations.MessagesByID(ctx, user, ids)
	if err != nil {
		return nil, err
	}
	for id, m := range messages {
		if m.Receiver == user {
			found[id] = &location{Located: Located{ID: id, Message: &m}, events: []string{MessageEvent(id)}}
		}
	}
	if err := n.findRecords(ctx, user, found); err != nil {
		return nil, err
	}
	located := make(map[string]Located, len(found))
	for id, l := range found {
		located[id] = l.Located
	}
	return located, nil
}

// A location is a Located with the events that may be its own.
type location struct {
	Located
	events []string
}

// listed returns the notifications that are in the user's list.
func (n *Notifications) listed(ctx context.Context, user int64, ids []string) (map[string]*location, error) {
	k := n.keys(user)
	entries, records := make([]*redis.XMessageSliceCmd, len(ids)), make([]*redis.StringSliceCmd, len(ids))
	pipe := n.redis.Pipeline()
	for i, id := range ids {
		at, err := model.IDTime(id)
		if err != nil {
			continue
		}
		seq := fmt.Sprint(at.UnixMicro())
		expires := fmt.Sprint(at.UnixMilli() + n.recordTTL().Milliseconds())
		entries[i] = pipe.XRange(ctx, k.notifications(), seq, seq)
		records[i] = pipe.ZRangeByScore(ctx, k.recordIndex(), &redis.ZRangeBy{Min: expires, Max: expires, Count: maxSameTime})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("find notifications: %w", err)
	}
	found := make(map[string]*location)
	for i, id := range ids {
		if entries[i] == nil {
			continue
		}
		for _, m := range entries[i].Val() {
			if listed, _ := m.Values["i"].(string); listed != id {
				continue
			}
			l := &location{Located: Located{ID: id}, events: records[i].Val()}
			l.Type, _ = m.Values["t"].(string)
			body, _ := m.Values["b"].(string)
			if key, ok := ParseReference(body); ok {
				l.Broadcast = key
			}
			found[id] = l
		}
	}
	return found, nil
}

// findRecords sets the Event and Origin of what was found.
func (n *Notifications) findRecords(ctx context.Context, user int64, found map[string]*location) error {
	var commands []*rdb.Command
	var of []*location
	var events []string
	for _, l := range found {
		for _, event := range l.events {
			commands = append(commands, rdb.NewCommand(ctx, "get", n.records.Key(user, event)))
			of, events = append(of, l), append(events, event)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	_ = n.batcher.Do(ctx, commands...) // each command holds its own error
	for i, c := range commands {
		text, err := c.Text()
		if errors.Is(err, redis.Nil) {
			continue // the record has expired
		}
		if err != nil {
			return fmt.Errorf("find records: %w", err)
		}
		if r := newRecord(user, text); r.ID == of[i].ID {
			of[i].Event, of[i].Origin = events[i], r.Origin
		}
	}
	return nil
}
