package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The kinds of frames that scripts publish.
const (
	FrameEvent   = "event"   // logged; Body is the notification's
	FrameMessage = "message" // logged; Body is what Sending.Frame said, empty in the log
	FrameUnreads = "unreads" // a number changed; no body
	FrameRead    = "read"    // Body is what Seen was given
)

// replayMost is how many frames of the list, and of the log, a replay shows.
const replayMost = 2 * replayFrames

// A Frame is news for the live sockets of a user.
type Frame struct {
	Kind      string
	Seq, Prev int64 // of logged frames; else 0
	ID        string
	Body      string
}

// Channel returns the pub/sub channel of a user's frames: sharded pub/sub on a
// cluster.
func (s *Store) Channel(user int64) string { return s.keys(user).channel() }

// ParseFrame reads what a channel carries.
func ParseFrame(payload string) (Frame, error) {
	head, body, _ := strings.Cut(payload, "\n")
	fields := strings.Split(head, " ")
	if len(fields) != 4 {
		return Frame{}, fmt.Errorf("frame %.40q has %d fields, not 4", head, len(fields))
	}
	f := Frame{Kind: fields[0], ID: fields[3], Body: body}
	var err1, err2 error
	f.Seq, err1 = strconv.ParseInt(fields[1], 10, 64)
	f.Prev, err2 = strconv.ParseInt(fields[2], 10, 64)
	return f, errors.Join(err1, err2)
}

// Replay returns the logged frames of a user after a sequence number, and the
// newest sequence number. known is false when not all of them are kept any more:
// the gap is larger than the log.
func (s *Store) Replay(ctx context.Context, user, since int64) (frames []Frame, newest int64, known bool, err error) {
	k := s.keys(user)
	pipe := s.Redis.Pipeline()
	last := pipe.HGet(ctx, k.meta(), "seq")
	// One more than the log keeps, so that a larger gap shows.
	notes := pipe.XRangeN(ctx, k.notes(), strconv.FormatInt(since, 10), "+", replayMost)
	log := pipe.XRangeN(ctx, k.log(), strconv.FormatInt(since, 10), "+", replayMost)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, 0, false, fmt.Errorf("read replay log: %w", err)
	}
	if text, err := last.Result(); err == nil {
		if newest, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, 0, false, fmt.Errorf("read replay log: %w", err)
		}
	}
	if newest == since {
		return nil, newest, true, nil
	}
	for _, m := range slices.Concat(notes.Val(), log.Val()) {
		f, err := loggedFrame(m)
		if err != nil {
			return nil, 0, false, err
		}
		if f.Seq > since {
			frames = append(frames, f)
		}
	}
	if err := s.fillFrames(ctx, user, frames); err != nil {
		return nil, 0, false, err
	}
	slices.SortFunc(frames, func(a, b Frame) int { return cmp.Compare(a.Seq, b.Seq) })
	prev := since
	for _, f := range frames {
		if f.Prev != prev {
			return nil, newest, false, nil // something between them is not kept any more
		}
		prev = f.Seq
	}
	return frames, newest, prev == newest, nil
}

// fillFrames puts the bodies of broadcasts where frames refer to them: none for one
// that is forgotten.
func (s *Store) fillFrames(ctx context.Context, user int64, frames []Frame) error {
	var keys []string
	for _, f := range frames {
		if key, ok := Referred(f.Body); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := s.Texts(ctx, user, keys...)
	if err != nil {
		return err
	}
	for i, f := range frames {
		if key, ok := Referred(f.Body); ok {
			frames[i].Body = string(found[key].Body)
		}
	}
	return nil
}

// loggedFrame reads an entry of the list, which are events, or of the log.
func loggedFrame(m redis.XMessage) (Frame, error) {
	text := func(name string) string { v, _ := m.Values[name].(string); return v }
	seq, _, _ := strings.Cut(m.ID, "-")
	f := Frame{Kind: cmp.Or(text("k"), FrameEvent), ID: text("i"), Body: text("b")}
	var err1, err2 error
	f.Seq, err1 = strconv.ParseInt(seq, 10, 64)
	f.Prev, err2 = strconv.ParseInt(text("p"), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return Frame{}, fmt.Errorf("replay log: %w", err)
	}
	return f, nil
}

// MessagesByID returns messages of a user's by id. Those that the user does not
// have (any more) have no entry.
func (s *Store) MessagesByID(ctx context.Context, user int64, ids []string) (map[string]Message, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	stored, err := s.Redis.HMGet(ctx, s.keys(user).bodies(), ids...).Result()
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	messages := make(map[string]Message, len(ids))
	for i, v := range stored {
		if text, ok := v.(string); ok {
			if messages[ids[i]], err = parseMessage(ids[i], text, false); err != nil {
				return nil, err
			}
		}
	}
	return messages, nil
}
