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
)

// A Notification is one entry of a user's list.
type Notification struct {
	ID        string
	CreatedAt time.Time
	Read      bool
	Body      json.RawMessage // as it was in the Put
}

// listChunk is how many notifications are read in one round trip; those of other
// types are left out here.
const listChunk = 100

// Notifications stores events in the inboxes of their receivers, and lists and reads
// what is there.
type Notifications struct {
	*base
	records *Records
	texts   *Texts
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

// fillBodies puts the bodies of broadcasts where notifications refer to them. Those
// of a broadcast that is forgotten are left out.
func (n *Notifications) fillBodies(ctx context.Context, user int64, notes []Notification) ([]Notification, error) {
	var keys []string
	for _, note := range notes {
		if key, ok := bytes.CutPrefix(note.Body, []byte(reference)); ok {
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
		if key, ok := bytes.CutPrefix(note.Body, []byte(reference)); ok {
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
	body, _ := m.Values["b"].(string)
	at, err := model.IDTime(id)
	if err != nil {
		return Notification{}, fmt.Errorf("list notifications: %w", err)
	}
	return Notification{ID: id, CreatedAt: at, Body: json.RawMessage(body)}, nil
}

// fillRead looks up which notifications were read.
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

//go:embed mark_read.lua
var markReadSource string
var markReadScript = script(markReadSource)

// MarkRead marks a notification as read, and returns how many are unread then. ReadReceipt
// one again changes nothing. When the user has no such one the error is
// ErrNotFound and the number is right all the same.
func (n *Notifications) MarkRead(ctx context.Context, user int64, id string) (unread int, err error) {
	k := n.keys(user)
	at, err := model.IDTime(id)
	if err != nil {
		id, at = "", n.now() // the script counts the unread ones all the same
	}
	c := markReadScript.Command(ctx, []string{k.notifications(), k.unread(), k.counted(), k.meta()}, id, at.UnixMicro(), n.publish, k.channel())
	if err := n.batcher.Do(ctx, c); err != nil {
		return 0, fmt.Errorf("read notification: %w", err)
	}
	reply, err := c.Int64Slice()
	if err != nil || len(reply) != 2 {
		return 0, fmt.Errorf("read notification: reply %v: %w", reply, err)
	}
	if reply[0] == 0 {
		return int(reply[1]), ErrNotFound
	}
	return int(reply[1]), nil
}

//go:embed mark_all_read.lua
var markAllReadSource string
var markAllReadScript = script(markAllReadSource)

// MarkAllRead marks every notification of the user as read.
func (n *Notifications) MarkAllRead(ctx context.Context, user int64) error {
	k := n.keys(user)
	c := markAllReadScript.Command(ctx, []string{k.unread(), k.counted()}, n.publish, k.channel())
	if err := n.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("read all notifications: %w", err)
	}
	return nil
}
