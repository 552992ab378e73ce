package broadcast

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// errFenced reports that a walk is over: another process has taken the lease, or the
// broadcast is not active any more.
var errFenced = errors.New("another process walks, or the broadcast is not active")

// errCursor reports that the cursor was not where a step began, because the step before
// it failed.
var errCursor = errors.New("the cursor is elsewhere")

var (
	//go:embed lease.lua
	leaseSource string
	//go:embed may_step.lua
	mayStepSource string
	//go:embed notify.lua
	notifySource string
	//go:embed skip.lua
	skipSource string

	leaseScript = rdb.NewScript(leaseSource)
	skipScript  = rdb.NewScript(mayStepSource + skipSource)
)

// A walk is the progress of one broadcast through the users of all partitions, in each
// partition in the order of their ids, while this process holds the lease. The cursors are
// kept in Redis and move in the script that notifies a user, so that another process
// continues exactly where this one stopped; once another process holds the lease, this one
// can no longer notify anybody. It is used by one goroutine at a time.
type walk struct {
	s       *store
	batcher *rdb.Batcher
	key     string
	holder  string
	lease   time.Duration
	fence   int64
	cursors []string // by partition, the member of the last user reached
}

// startWalk takes the lease on an active broadcast. It returns nil when the broadcast is
// not active or another process holds the lease. Steps go through b.
func (s *store) startWalk(ctx context.Context, b *rdb.Batcher, key, holder string, lease time.Duration) (*walk, error) {
	w := &walk{s: s, batcher: b, key: key, holder: holder, lease: lease}
	fence, err := w.setLease(ctx, lease, 0)
	if err != nil || fence == 0 {
		return nil, err
	}
	w.fence = fence
	w.cursors, err = s.raiseFence(ctx, b, key, strconv.FormatInt(fence, 10))
	switch {
	case errors.Is(err, errFenced): // paused, or taken by another process, just now
		return nil, nil
	case err != nil:
		return nil, errors.Join(err, w.release(ctx))
	}
	return w, nil
}

// setLease takes, renews or, with 0, gives up the lease.
func (w *walk) setLease(ctx context.Context, lease time.Duration, pace float64) (fence int64, err error) {
	c := leaseScript.Command(ctx, []string{w.s.broadcastKey(w.key)},
		w.holder, lease.Milliseconds(), strconv.FormatFloat(pace, 'f', 2, 64), w.s.now().UnixMilli())
	if err := w.batcher.Do(ctx, c); err != nil {
		return 0, fmt.Errorf("lease broadcast: %w", err)
	}
	if fence, err = c.Int64(); err != nil {
		return 0, fmt.Errorf("lease broadcast: %w", err)
	}
	return fence, nil
}

// renew renews the lease and stores the pace, in users notified a second. The error is
// errFenced when the lease is lost.
func (w *walk) renew(ctx context.Context, pace float64) error {
	fence, err := w.setLease(ctx, w.lease, pace)
	if err == nil && fence != w.fence {
		err = errFenced
	}
	return err
}

// release gives the lease up, so that another process can continue at once.
func (w *walk) release(ctx context.Context) error {
	_, err := w.setLease(ctx, 0, 0)
	return err
}

// finish ends the broadcast in the state to, which is final; call store.close after it.
// total is the number of users that its status shows. The error is ErrState when the lease
// was lost.
func (w *walk) finish(ctx context.Context, to State, total int64) error {
	return w.s.change(ctx, w.key, to, []State{active}, strconv.FormatInt(w.fence, 10),
		"finished", w.s.now().UnixMilli(), "total", total)
}

// next returns the next users of a partition, limit of them at most; none when the
// partition is done. named says that the broadcast names its users.
func (w *walk) next(ctx context.Context, partition int, named bool, limit int) ([]int64, error) {
	set := w.s.partitions.Users(partition)
	if named {
		set = w.s.namedKey(partition, w.key)
	}
	return rdb.UsersAfter(ctx, w.s.redis, set, w.cursors[partition], limit)
}

// A candidate is a user whom the walk reaches.
type candidate struct {
	user int64
	// notification is what the user gets, its body a reference to the broadcast's; nil
	// when the user is not in the audience.
	notification *inbox.NewNotification
}

// step takes the walk over candidates, who must be the next users of a partition, in order.
// One script notifies a candidate and moves the cursor, and only if the script before it
// did. So after an error the cursor is at one of the candidates, and the next step
// continues from there. The error is errFenced when this walk is over.
func (w *walk) step(ctx context.Context, partition int, candidates []candidate) error {
	from, skipped := w.cursors[partition], 0
	var commands []*rdb.Command
	var reached []string
	fence, walkKey := strconv.FormatInt(w.fence, 10), w.s.walkKey(partition, w.key)
	for i, c := range candidates {
		to := rdb.UserMember(c.user)
		switch {
		case c.notification != nil:
			keys := []string{w.s.inbox.Texts.Key(partition, w.key), walkKey}
			commands = append(commands, w.s.notify.Command(ctx, c.notification, keys, fence, from, to, skipped))
			from, skipped = to, 0
		case i == len(candidates)-1:
			commands = append(commands, skipScript.Command(ctx, []string{walkKey}, fence, from, to, skipped+1))
		default:
			skipped++
			continue
		}
		reached = append(reached, to)
	}
	if err := w.batcher.Do(ctx, commands...); err != nil {
		return errors.Join(fmt.Errorf("notify users: %w", err), w.locate(ctx))
	}
	for i, c := range commands {
		switch may, err := c.Int(); {
		case err != nil:
			return errors.Join(fmt.Errorf("notify users: %w", err), w.locate(ctx))
		case may == -1:
			return errFenced
		case may == -2:
			return errors.Join(errCursor, w.locate(ctx))
		}
		w.cursors[partition] = reached[i]
	}
	return nil
}

// locate reads the cursors again, after a step that failed and may be half done.
func (w *walk) locate(ctx context.Context) error {
	cursors, err := w.s.raiseFence(ctx, w.batcher, w.key, strconv.FormatInt(w.fence, 10))
	if err == nil {
		w.cursors = cursors
	}
	return err
}
