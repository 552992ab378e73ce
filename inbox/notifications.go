package inbox

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed mark_read.lua
	markReadSource string
	//go:embed mark_all_read.lua
	markAllReadSource string

	markReadScript    = script(markReadSource)
	markAllReadScript = script(markAllReadSource)
)

// A Notification is one entry of a user's list.
type Notification struct {
	ID        string
	Type      string
	CreatedAt time.Time
	Read      bool
	Body      json.RawMessage // as in NewNotification
}

// listChunk is how many notifications List reads in one round trip, before it leaves out
// those of other types.
const listChunk = 100

// Notifications stores events in the inboxes of their receivers, lists notifications and
// marks them as read.
type Notifications struct {
	*base
	records     *Records
	texts       *Texts
	storeScript *rdb.Script

	storeScheduled *WrappedStore // store_scheduled.lua
}

// List returns count notifications of the given types from offset on, the newest
// first. Past the end there are none.
func (n *Notifications) List(ctx context.Context, user int64, types []string, offset, count int) ([]Notification, error) {
	k := n.keys(user)
	notes := make([]Notification, 0, count)
	for last := "+"; len(notes) < count; {
		chunk, err := n.redis.XRevRangeN(ctx, k.notifications(), last, "-", listChunk).Result()
		if err != nil {
			return nil, fmt.Errorf("list notifications: %w", err)
		}
		for _, m := range chunk {
			if t, _ := m.Values["t"].(string); !slices.Contains(types, t) {
				continue
			}
			if offset--; offset >= 0 || len(notes) == count {
				continue
			}
			note, err := newNotification(m)
			if err != nil {
				return nil, err
			}
			notes = append(notes, note)
		}
		if len(chunk) < listChunk {
			break
		}
		last = "(" + chunk[len(chunk)-1].ID
	}
	notes, err := n.fillBodies(ctx, user, notes)
	if err != nil {
		return nil, err
	}
	return notes, n.fillRead(ctx, k, notes)
}

// fillBodies replaces references to broadcasts with the broadcasts' bodies. It leaves out
// notifications of broadcasts that have expired.
func (n *Notifications) fillBodies(ctx context.Context, user int64, notes []Notification) ([]Notification, error) {
	var keys []string
	for _, note := range notes {
		if key, ok := bytes.CutPrefix(note.Body, []byte(referencePrefix)); ok {
			keys = append(keys, string(key))
		}
	}
	if len(keys) == 0 {
		return notes, nil
	}
	found, err := n.texts.Get(ctx, user, keys...)
	if err != nil {
		return nil, err
	}
	kept := notes[:0]
	for _, note := range notes {
		if key, ok := bytes.CutPrefix(note.Body, []byte(referencePrefix)); ok {
			note.Body = found[string(key)].Body
		}
		if len(note.Body) > 0 {
			kept = append(kept, note)
		}
	}
	return kept, nil
}

func newNotification(m redis.XMessage) (Notification, error) {
	id, _ := m.Values["i"].(string)
	kind, _ := m.Values["t"].(string)
	body, _ := m.Values["b"].(string)
	at, err := model.IDTime(id)
	if err != nil {
		return Notification{}, fmt.Errorf("list notifications: %w", err)
	}
	return Notification{ID: id, Type: kind, CreatedAt: at, Body: json.RawMessage(body)}, nil
}

// fillRead sets Read of notifications.
func (n *Notifications) fillRead(ctx context.Context, k userKeys, notes []Notification) error {
	if len(notes) == 0 {
		return nil
	}
	pipe := n.redis.Pipeline()
	scores := make([]*redis.FloatCmd, len(notes))
	for i, note := range notes {
		scores[i] = pipe.ZScore(ctx, k.unread(), note.ID)
	}
	_, _ = pipe.Exec(ctx) // each reply holds its own error
	for i := range notes {
		err := scores[i].Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("list notifications: %w", err)
		}
		notes[i].Read = err != nil
	}
	return nil
}

// MarkRead marks a notification as read, and returns the number of unread ones. It may be
// repeated. When the user has no such notification, it returns ErrNotFound beside the
// correct number.
func (n *Notifications) MarkRead(ctx context.Context, user int64, id string) (unread int, err error) {
	c := n.markReadCommand(ctx, user, id)
	if err := n.batcher.Do(ctx, c); err != nil {
		return 0, fmt.Errorf("mark notification as read: %w", err)
	}
	reply, err := c.Int64s(2)
	if err != nil {
		return 0, fmt.Errorf("mark notification as read: %w", err)
	}
	if reply[0] == 0 {
		return int(reply[1]), ErrNotFound
	}
	return int(reply[1]), nil
}

// MarkEachRead marks some notifications as read, in one round trip. It may be repeated. Ids
// that the user does not have are ignored.
func (n *Notifications) MarkEachRead(ctx context.Context, user int64, ids []string) error {
	commands := make([]*rdb.Command, len(ids))
	for i, id := range ids {
		commands[i] = n.markReadCommand(ctx, user, id)
	}
	if len(ids) == 0 {
		return nil
	}
	if err := n.batcher.Do(ctx, commands...); err != nil {
		return fmt.Errorf("mark notifications as read: %w", err)
	}
	return nil
}

func (n *Notifications) markReadCommand(ctx context.Context, user int64, id string) *rdb.Command {
	k := n.keys(user)
	at, err := model.IDTime(id)
	if err != nil {
		id, at = "", n.now() // the script finds none, and counts
	}
	keys, dismissal := n.withShade(k, k.notifications(), k.unread(), k.counted(), k.meta())
	return markReadScript.Command(ctx, keys, id, at.UnixMicro(), n.publish, k.channel(), dismissal)
}

// MarkAllRead marks every notification of a user as read.
func (n *Notifications) MarkAllRead(ctx context.Context, user int64) error {
	k := n.keys(user)
	keys, dismissal := n.withShade(k, k.unread(), k.counted())
	if _, err := n.batcher.Run(ctx, markAllReadScript, keys, n.publish, k.channel(), dismissal); err != nil {
		return fmt.Errorf("mark all notifications as read: %w", err)
	}
	return nil
}
