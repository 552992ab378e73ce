package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// ErrFenced reports that a walk is over: another walker has come, or nobody may
// walk any more.
var ErrFenced = errors.New("another walker has come, or nobody may walk")

// errElsewhere reports that the walk was not where a step began, because the one
// before it failed.
var errElsewhere = errors.New("the walk is elsewhere")

var (
	//go:embed broadcast_hold.lua
	holdSource string
	//go:embed broadcast_step.lua
	stepSource string
	//go:embed broadcast_tell.lua
	tellSource string
	//go:embed broadcast_pass.lua
	passSource string

	holdScript = script(holdSource)
	tellScript = WrapStore(stepSource + tellSource)
	passScript = rdb.NewScript(stepSource + passSource)
)

// A Walk takes one broadcast over the users of all partitions, in each in the order
// of their ids. Its place is kept in Redis and moves in the script that tells a
// user, so that another walker goes on exactly where this one stopped; and as soon
// as another one holds the lease this one cannot tell anybody any more. It is used
// by one goroutine at a time.
type Walk struct {
	s       *Broadcasts
	batcher *rdb.Batcher
	key     string
	holder  string
	lease   time.Duration
	fence   int64
	cursors []string // by partition, the member of the last user reached
}

// HoldBroadcast takes the lease on an active broadcast. It returns nil when the
// broadcast is not active or somebody else holds it. Steps go through b.
func (s *Broadcasts) HoldBroadcast(ctx context.Context, b *rdb.Batcher, key, holder string, lease time.Duration) (*Walk, error) {
	w := &Walk{s: s, batcher: b, key: key, holder: holder, lease: lease}
	fence, err := w.hold(ctx, lease, 0)
	if err != nil || fence == 0 {
		return nil, err
	}
	w.fence = fence
	w.cursors, err = s.raiseFence(ctx, b, key, strconv.FormatInt(fence, 10))
	switch {
	case errors.Is(err, ErrFenced): // paused, or taken over, just now
		return nil, nil
	case err != nil:
		return nil, errors.Join(err, w.Release(ctx))
	}
	return w, nil
}

func (w *Walk) hold(ctx context.Context, lease time.Duration, pace float64) (fence int64, err error) {
	c := holdScript.Command(ctx, []string{w.s.broadcast(w.key)},
		w.holder, lease.Milliseconds(), strconv.FormatFloat(pace, 'f', 2, 64), w.s.now().UnixMilli())
	if err := w.batcher.Do(ctx, c); err != nil {
		return 0, fmt.Errorf("hold broadcast: %w", err)
	}
	if fence, err = c.Int64(); err != nil {
		return 0, fmt.Errorf("hold broadcast: %w", err)
	}
	return fence, nil
}

// Renew renews the lease and notes how many users were told a second of late. The
// error is ErrFenced when the lease is lost.
func (w *Walk) Renew(ctx context.Context, pace float64) error {
	fence, err := w.hold(ctx, w.lease, pace)
	if err == nil && fence != w.fence {
		err = ErrFenced
	}
	return err
}

// Release gives the lease up, so that another walker can go on at once.
func (w *Walk) Release(ctx context.Context) error {
	_, err := w.hold(ctx, 0, 0)
	return err
}

// Finish ends the broadcast: state is one that is over; Store.CloseBroadcast comes
// after it. total is the number of
// users to be shown of it. The error is ErrBroadcastState when the lease was lost.
func (w *Walk) Finish(ctx context.Context, state BroadcastState, total int64) error {
	return w.s.setBroadcast(ctx, w.key, state, []BroadcastState{BroadcastActive}, strconv.FormatInt(w.fence, 10),
		"finished", w.s.now().UnixMilli(), "total", total)
}

// Next returns the users of a partition who come next, at most the given number of
// them; none when the partition is done. named says that the broadcast names whom
// it is for.
func (w *Walk) Next(ctx context.Context, partition int, named bool, most int) ([]int64, error) {
	set := w.s.parts.Users(partition)
	if named {
		set = w.s.named(partition, w.key)
	}
	return rdb.UsersAfter(ctx, w.s.redis, set, w.cursors[partition], most)
}

// A Share is one user's part in a broadcast: a Put, whose body is a Reference, or
// nil when the user is not of the audience.
type Share struct {
	User int64
	Put  *NewNotification
}

// Step takes the walk over users, who must be the next ones of a partition, in
// order. Each is told and passed in one script, and only if the one before was, so
// that after an error the walk is at one of them: the next step goes on from there.
// The error is ErrFenced when this walk is over.
func (w *Walk) Step(ctx context.Context, partition int, shares []Share) error {
	from, skipped := w.cursors[partition], 0
	var commands []*rdb.Command
	var reached []string
	fence, walk := strconv.FormatInt(w.fence, 10), w.s.walk(partition, w.key)
	for i, share := range shares {
		to := rdb.UserMember(share.User)
		switch {
		case share.Put != nil:
			commands = append(commands, w.s.notifications.WrappedCommand(ctx, tellScript, share.Put,
				[]string{w.s.text(partition, w.key), walk}, fence, from, to, skipped))
			from, skipped = to, 0
		case i == len(shares)-1:
			commands = append(commands, passScript.Command(ctx, []string{walk}, fence, from, to, skipped+1))
		default:
			skipped++
			continue
		}
		reached = append(reached, to)
	}
	if err := w.batcher.Do(ctx, commands...); err != nil {
		return errors.Join(fmt.Errorf("tell users: %w", err), w.locate(ctx))
	}
	for i, c := range commands {
		switch may, err := c.Int(); {
		case err != nil:
			return errors.Join(fmt.Errorf("tell users: %w", err), w.locate(ctx))
		case may == -1:
			return ErrFenced
		case may == -2:
			return errors.Join(errElsewhere, w.locate(ctx))
		}
		w.cursors[partition] = reached[i]
	}
	return nil
}

// locate reads where the walk is, after a step of which not all may have been done.
func (w *Walk) locate(ctx context.Context) error {
	cursors, err := w.s.raiseFence(ctx, w.batcher, w.key, strconv.FormatInt(w.fence, 10))
	if err == nil {
		w.cursors = cursors
	}
	return err
}
