package inbox

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed mark_seen.lua
	markSeenSource string
	//go:embed revoke.lua
	revokeSource string
	//go:embed snapshot.lua
	snapshotSource string

	markSeenScript = script(markSeenSource)
	revokeScript   = script(revokeSource)
	snapshotScript = script(snapshotSource).ReadOnly()
)

const (
	// maxReplay bounds the frames of the list, and those of the log, that a replay
	// reads. It is more than the log keeps, so that a larger gap is noticed.
	maxReplay = 2 * replayFrames
)

// Live serves live sockets: the pub/sub channel of a user's frames, and the replay log, in
// which sockets that reconnect find the frames that they missed.
type Live struct {
	*base
	texts *Texts
}

// Channel returns the pub/sub channel of a user's frames: sharded pub/sub on a
// cluster.
func (l *Live) Channel(user int64) string { return l.keys(user).channel() }

// A Snapshot is what a live socket is told when it connects, all of the same moment.
type Snapshot struct {
	Unreads model.Unreads
	Seq     int64  // sequence number of the newest frame; 0 when there was none
	Locale  string // language of the user's profile, or ""
	Revoked int64  // when the user's credentials were last revoked, Unix µs; 0 when they were not
}

// Snapshot reads a user's Snapshot in one round trip, together with those of concurrent
// callers.
func (l *Live) Snapshot(ctx context.Context, user int64) (Snapshot, error) {
	k := l.keys(user)
	c, err := l.batcher.Run(ctx, snapshotScript, []string{k.meta(), k.unread(), k.counted(), k.profile(), k.live().Revoked})
	if err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot: %w", err)
	}
	reply, err := c.Values(unreadsNumbers + 3)
	if err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot: %w", err)
	}
	var counts [unreadsNumbers]int64
	for i := range counts {
		counts[i], _ = reply[i].(int64)
	}
	s := Snapshot{Unreads: readUnreads(counts[:])}
	seq, _ := reply[unreadsNumbers].(string)
	s.Locale, _ = reply[unreadsNumbers+1].(string)
	revoked, _ := reply[unreadsNumbers+2].(string)
	var err1, err2 error
	s.Seq, err1 = strconv.ParseInt(cmp.Or(seq, "0"), 10, 64)
	s.Revoked, err2 = strconv.ParseInt(cmp.Or(revoked, "0"), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot: %w", err)
	}
	return s, nil
}

// Replay returns the frames of a user after a sequence number, and the newest sequence
// number. known is false when some of them are not kept any more.
func (l *Live) Replay(ctx context.Context, user, since int64) (frames []model.Frame, newest int64, known bool, err error) {
	k := l.keys(user)
	pipe := l.redis.Pipeline()
	last := pipe.HGet(ctx, k.meta(), "seq")
	notes := pipe.XRangeN(ctx, k.notifications(), strconv.FormatInt(since, 10), "+", maxReplay)
	log := pipe.XRangeN(ctx, k.replayLog(), strconv.FormatInt(since, 10), "+", maxReplay)
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
			return nil, newest, false, nil // a frame between them is not kept any more
		}
		prev = f.Seq
	}
	return frames, newest, prev == newest, nil
}

// fillBodies replaces references to broadcasts with the broadcasts' bodies. A frame of
// a broadcast that is forgotten gets an empty one.
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

// loggedFrame parses an entry of the list, whose frames are all events, or of the log.
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

// Keys returns the keys of a user that live sockets use.
func (l *Live) Keys(user int64) LiveKeys { return l.keys(user).live() }

// MarkSeen stores that a user has seen everything up to a frame. A sequence number above
// that of the newest frame counts as the newest.
func (l *Live) MarkSeen(ctx context.Context, user, seq int64) error {
	if _, err := l.batcher.Run(ctx, markSeenScript, []string{l.keys(user).meta()}, seq); err != nil {
		return fmt.Errorf("mark as seen: %w", err)
	}
	return nil
}

// Revoke revokes what a user's credentials have vouched for: it closes the user's live
// sockets in every process, and tickets are refused. A process that misses the message
// finds it in Redis for [rdb.RevokedTTL].
func (l *Live) Revoke(ctx context.Context, user int64) error {
	k := l.keys(user)
	if _, err := l.batcher.Run(ctx, revokeScript, []string{k.live().Revoked}, rdb.RevokedTTL.Milliseconds(), l.publish, k.channel()); err != nil {
		return fmt.Errorf("revoke sockets: %w", err)
	}
	return nil
}
