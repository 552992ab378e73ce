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

// ErrNotFound reports that the user has no such thing.
var ErrNotFound = errors.New("not found")

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

// List returns count notifications of the given types from offset on, the newest
// first. Past the end there are none.
func (s *Store) List(ctx context.Context, user int64, types []string, offset, count int) ([]Notification, error) {
	k := s.keys(user)
	notes := make([]Notification, 0, count)
	for last := "+"; len(notes) < count; {
		chunk, err := s.Redis.XRevRangeN(ctx, k.notes(), last, "-", listChunk).Result()
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
			n, err := newNotification(m)
			if err != nil {
				return nil, err
			}
			notes = append(notes, n)
		}
		if len(chunk) < listChunk {
			break
		}
		last = "(" + chunk[len(chunk)-1].ID
	}
	notes, err := s.fillBodies(ctx, user, notes)
	if err != nil {
		return nil, err
	}
	return notes, s.fillRead(ctx, k, notes)
}

// fillBodies puts the bodies of broadcasts where notifications refer to them. Those
// of a broadcast that is forgotten are left out.
func (s *Store) fillBodies(ctx context.Context, user int64, notes []Notification) ([]Notification, error) {
	var keys []string
	for _, n := range notes {
		if key, ok := bytes.CutPrefix(n.Body, []byte(reference)); ok {
			keys = append(keys, string(key))
		}
	}
	if len(keys) == 0 {
		return notes, nil
	}
	found, err := s.Texts(ctx, user, keys...)
	if err != nil {
		return nil, err
	}
	kept := notes[:0]
	for _, n := range notes {
		if key, ok := bytes.CutPrefix(n.Body, []byte(reference)); ok {
			n.Body = found[string(key)].Body
		}
		if len(n.Body) > 0 {
			kept = append(kept, n)
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
func (s *Store) fillRead(ctx context.Context, k userKeys, notes []Notification) error {
	if len(notes) == 0 {
		return nil
	}
	pipe := s.Redis.Pipeline()
	scores := make([]*redis.FloatCmd, len(notes))
	for i, n := range notes {
		scores[i] = pipe.ZScore(ctx, k.unread(), n.ID)
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

//go:embed read.lua
var readSource string
var readScript = script(readSource)

// Read marks a notification as read, and returns how many are unread then. Reading
// one again changes nothing. When the user has no such one the error is
// ErrNotFound and the number is right all the same.
func (s *Store) Read(ctx context.Context, user int64, id string) (unread int, err error) {
	k := s.keys(user)
	at, err := model.IDTime(id)
	if err != nil {
		id, at = "", s.Now() // the script counts the unread ones all the same
	}
	c := readScript.Command(ctx, []string{k.notes(), k.unread(), k.open(), k.meta()}, id, at.UnixMicro(), s.publish, k.channel())
	if err := s.Batcher.Do(ctx, c); err != nil {
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

//go:embed read_all.lua
var readAllSource string
var readAllScript = script(readAllSource)

// ReadAll marks every notification of the user as read.
func (s *Store) ReadAll(ctx context.Context, user int64) error {
	k := s.keys(user)
	c := readAllScript.Command(ctx, []string{k.unread(), k.open()}, s.publish, k.channel())
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("read all notifications: %w", err)
	}
	return nil
}
