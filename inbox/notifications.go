package inbox

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrNotFound reports that the user has no such thing.
var ErrNotFound = errors.New("not found")

// A Notification is one entry of a user's list.
type Notification struct {
	ID        string
	CreatedAt time.Time
	Read      bool
	Body      json.RawMessage // object: type, title, message, details
}

//go:embed list.lua
var listSource string
var listScript = script(listSource)

// List returns count notifications of the given types from offset on, the newest
// first. Past the end there are none.
func (s *Store) List(ctx context.Context, user int64, types []string, offset, count int) ([]Notification, error) {
	k := s.keys(user)
	args := make([]any, 0, 2+len(types))
	args = append(args, offset, count)
	for _, t := range types {
		args = append(args, t)
	}
	c := listScript.Command(ctx, []string{k.list(), k.notes(), k.unread()}, args...)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return nil, fmt.Errorf("list notifications: %w", err)
	}
	reply, err := c.Slice()
	if err != nil {
		return nil, fmt.Errorf("list notifications: %w", err)
	}
	notes := make([]Notification, 0, len(reply)/3)
	for i := 0; i+2 < len(reply); i += 3 {
		id, _ := reply[i].(string)
		read, _ := reply[i+1].(int64)
		stored, ok := reply[i+2].(string)
		if !ok {
			continue // expired between two commands of the script
		}
		at, err := IDTime(id)
		if err != nil {
			return nil, fmt.Errorf("list notifications: %w", err)
		}
		_, body, _ := bytes.Cut([]byte(stored), []byte("\n"))
		notes = append(notes, Notification{ID: id, CreatedAt: at, Read: read == 1, Body: body})
	}
	return notes, nil
}

//go:embed read.lua
var readSource string
var readScript = script(readSource)

// Read marks a notification as read, and returns how many are unread then. Reading
// one again changes nothing. When the user has no such one the error is
// ErrNotFound and the number is right all the same.
func (s *Store) Read(ctx context.Context, user int64, id string) (unread int, err error) {
	k := s.keys(user)
	c := readScript.Command(ctx, []string{k.notes(), k.unread(), k.open(), k.states()}, id)
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
	c := readAllScript.Command(ctx, []string{k.unread(), k.open()})
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("read all notifications: %w", err)
	}
	return nil
}
