package live

import (
	"context"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const maxReads = 64 // concurrent reads of the replay log

// A replayLog reads the frames that sockets have missed.
type replayLog struct {
	channels   Channels
	counters   Counters
	chat       Chat
	frames     *frameBuilder
	goroutines *goroutines
	reads      chan struct{} // semaphore: one entry for each read
}

func newReplayLog(opts *Options, frames *frameBuilder, goroutines *goroutines) *replayLog {
	return &replayLog{
		channels: opts.Channels, counters: opts.Counters, chat: opts.Chat,
		frames: frames, goroutines: goroutines, reads: make(chan struct{}, maxReads),
	}
}

// readInTurn reads the log like read. At most maxReads calls do so at a time. The wait
// for a turn has no timeout: it is long when thousands of sockets reconnect at once.
func (l *replayLog) readInTurn(user, since int64, now *inbox.Snapshot) (frames []frame, newest int64, known bool, err error) {
	if now.Seq == since {
		return nil, since, true, nil
	}
	select {
	case l.reads <- struct{}{}:
		defer func() { <-l.reads }()
	case <-l.goroutines.context().Done():
		return nil, 0, false, ErrClosed
	}
	ctx, cancel := l.goroutines.withTimeout(requestTimeout)
	defer cancel()
	return l.read(ctx, user, since, now)
}

// read returns the frames of a user after a sequence number, and the newest sequence
// number. known is false when the gap is larger than the log. The frames show the user's
// counts of the snapshot, or newer ones when there are frames after it.
func (l *replayLog) read(ctx context.Context, user, since int64, now *inbox.Snapshot) (frames []frame, newest int64, known bool, err error) {
	logged, newest, known, err := l.channels.Replay(ctx, user, since)
	if err != nil || !known || len(logged) == 0 {
		return nil, newest, known, err
	}
	unreads := now.Unreads
	if newest != now.Seq {
		if unreads, err = l.counters.Unreads(ctx, user); err != nil {
			return nil, 0, false, err
		}
	}
	if err := l.fillMessages(ctx, user, logged); err != nil {
		return nil, 0, false, err
	}
	for _, f := range logged {
		f.Unreads = &unreads
		made, err := l.frames.newFrame(user, f)
		if err != nil {
			return nil, 0, false, err
		}
		frames = append(frames, made)
	}
	return frames, newest, true, nil
}

// fillMessages fills in the bodies of message frames, to which the log only refers.
func (l *replayLog) fillMessages(ctx context.Context, user int64, logged []model.Frame) error {
	var ids []string
	for _, f := range logged {
		if f.Kind == model.FrameMessage {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	members, err := l.chat.MessageMembers(ctx, user, ids)
	if err != nil {
		return err
	}
	for i, f := range logged {
		if f.Kind == model.FrameMessage {
			logged[i].Body = string(members[f.ID])
		}
	}
	return nil
}
