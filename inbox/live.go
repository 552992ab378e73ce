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

	"github.com/kabar-gateway/kabar/inbox/model"
)

// replayMost is how many frames of the list, and of the log, a replay shows.
const replayMost = 2 * replayFrames

// Live serves live sockets: the channel of a user's frames and the log in which
// sockets that come back find those they missed.
type Live struct {
	*base
	texts *Texts
}

// Channel returns the pub/sub channel of a user's frames: sharded pub/sub on a
// cluster.
func (l *Live) Channel(user int64) string { return l.keys(user).channel() }

// Replay returns the logged frames of a user after a sequence number, and the
// newest sequence number. known is false when not all of them are kept any more:
// the gap is larger than the log.
func (l *Live) Replay(ctx context.Context, user, since int64) (frames []model.Frame, newest int64, known bool, err error) {
	k := l.keys(user)
	pipe := l.redis.Pipeline()
	last := pipe.HGet(ctx, k.meta(), "seq")
	// One more than the log keeps, so that a larger gap shows.
	notes := pipe.XRangeN(ctx, k.notifications(), strconv.FormatInt(since, 10), "+", replayMost)
	log := pipe.XRangeN(ctx, k.replayLog(), strconv.FormatInt(since, 10), "+", replayMost)
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
	if err := l.fillBodies(ctx, user, frames); err != nil {
		return nil, 0, false, err
	}
	slices.SortFunc(frames, func(a, b model.Frame) int { return cmp.Compare(a.Seq, b.Seq) })
	prev := since
	for _, f := range frames {
		if f.Prev != prev {
			return nil, newest, false, nil // something between them is not kept any more
		}
		prev = f.Seq
	}
	return frames, newest, prev == newest, nil
}

// fillBodies puts the bodies of broadcasts where frames refer to them: none for one
// that is forgotten.
func (l *Live) fillBodies(ctx context.Context, user int64, frames []model.Frame) error {
	var keys []string
	for _, f := range frames {
		if key, ok := ParseReference(f.Body); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := l.texts.Get(ctx, user, keys...)
	if err != nil {
		return err
	}
	for i, f := range frames {
		if key, ok := ParseReference(f.Body); ok {
			frames[i].Body = string(found[key].Body)
		}
	}
	return nil
}

// loggedFrame reads an entry of the list, which are events, or of the log.
func loggedFrame(m redis.XMessage) (model.Frame, error) {
	text := func(name string) string { v, _ := m.Values[name].(string); return v }
	seq, _, _ := strings.Cut(m.ID, "-")
	f := model.Frame{Kind: cmp.Or(text("k"), model.FrameEvent), ID: text("i"), Body: text("b")}
	var err1, err2 error
	f.Seq, err1 = strconv.ParseInt(seq, 10, 64)
	f.Prev, err2 = strconv.ParseInt(text("p"), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return model.Frame{}, fmt.Errorf("replay log: %w", err)
	}
	return f, nil
}

// Keys returns a user's.
func (l *Live) Keys(user int64) LiveKeys { return l.keys(user).live() }

// MarkSeen notes that a user has everything up to a frame in front of them. A
// number beyond the newest frame counts as that one.
func (l *Live) MarkSeen(ctx context.Context, user, seq int64) error {
	if err := l.batcher.Do(ctx, markSeenScript.Command(ctx, []string{l.keys(user).meta()}, seq)); err != nil {
		return fmt.Errorf("note what was seen: %w", err)
	}
	return nil
}

// Revoke tells a user's live sockets, in every process, that what they signed in
// with is not good any more. Processes that have not heard of it find it for a day.
func (l *Live) Revoke(ctx context.Context, user int64) error {
	c := revokeScript.Command(ctx, []string{l.Keys(user).Revoked}, revokedFor.Milliseconds(), l.publish, l.Channel(user))
	if err := l.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("revoke sockets: %w", err)
	}
	return nil
}
