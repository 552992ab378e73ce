package broadcast

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	roomEvery      = 50 * time.Millisecond // how often a broadcaster looks for room in the outbox
	tick           = 10 * time.Millisecond // least batch of a step: the users that the rate allows in this time
	maxStep        = 64                    // users of a partition in one step
	renewEvery     = time.Second           // how often a broadcaster renews its lease and notes its pace, at least
	retryAfter     = time.Second           // how long a broadcaster waits after Redis failed
	releaseTimeout = 5 * time.Second       // for giving up the lease when the process stops

	// retriesDue is when every retry is due at the latest, unless the provider asked for
	// longer: the longest backoff of a push with its jitter.
	retriesDue = 20 * time.Minute
	// maxDelayed is how many delayed entries a partition may hold in all before
	// broadcasts wait, those of quiet hours included: some 20 MB.
	maxDelayed = 50_000
)

// A broadcaster sends one broadcast, for as long as this process holds the lease.
type broadcaster struct {
	b       *Broadcasts
	key     string
	def     definition
	walk    *walk
	limiter *rate.Limiter
	done    []bool // by partition
	next    int    // the partition whose turn it is

	sent    int       // users notified since renewed
	renewed time.Time // when the lease was renewed
	pace    float64   // users notified a second, smoothed
}

func (b *Broadcasts) newBroadcaster(key string, def definition, w *walk) *broadcaster {
	return &broadcaster{
		b: b, key: key, def: def, walk: w, limiter: newLimiter(def.Rate),
		done: make([]bool, b.partitions.Len()), renewed: time.Now(),
	}
}

// newLimiter returns a limiter of perSecond users a second, with a burst of a tenth of
// that.
func newLimiter(perSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/10))
}

// run sends until the broadcast or the lease is over, or ctx ends.
func (c *broadcaster) run(ctx context.Context) {
	defer c.release(ctx)
	for ctx.Err() == nil {
		idle, left, err := c.round(ctx)
		if err == nil && left == 0 {
			err = c.finish(ctx, Done)
		}
		switch {
		case errors.Is(err, errFenced), errors.Is(err, ErrState), errors.Is(err, errFinished):
			return
		case err != nil && ctx.Err() == nil:
			c.b.log.Warn("a broadcast is delayed", "broadcast", c.def.ID, "error", err)
			rdb.Sleep(ctx, retryAfter)
		case idle > 0:
			rdb.Sleep(ctx, idle)
		}
	}
}

// errFinished reports that the broadcast has been finished.
var errFinished = errors.New("the broadcast is finished")

// release gives up the lease, so that another process can continue at once.
func (c *broadcaster) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := c.walk.release(ctx); err != nil {
		c.b.log.Warn("the lease on a broadcast cannot be given up", "broadcast", c.def.ID, "error", err)
	}
}

// round takes a step in every partition that is not done and has room in its outbox. It
// ends early when the rate is used up; the next round continues with that partition. It
// returns how long to wait before the next round, and how many of the partitions that it
// visited are not done.
func (c *broadcaster) round(ctx context.Context) (idle time.Duration, left int, err error) {
	idle = roomEvery // unless a user is reached
	for range c.done {
		p := c.next
		if c.done[p] {
			c.next = (p + 1) % len(c.done)
			continue
		}
		left++
		if c.b.now().UnixMilli() >= c.def.Expires {
			return 0, left, c.finish(ctx, Expired)
		}
		if err := c.renew(ctx); err != nil {
			return 0, left, err
		}
		limit := c.allowed()
		if limit == 0 {
			return tick, left, nil
		}
		c.next = (p + 1) % len(c.done)
		n, err := c.step(ctx, p, limit)
		if err != nil {
			return 0, left, err
		}
		if n > 0 {
			idle = 0
		}
		if c.done[p] {
			left--
		}
	}
	return idle, left, nil
}

// allowed returns how many users the rate lets a step notify: 0 until as many are allowed
// as a tick brings. Steps of one user each would cost Redis, and the bulk lane, several
// times as much.
func (c *broadcaster) allowed() int {
	n := min(maxStep, int(c.limiter.TokensAt(c.b.now())))
	if n < min(maxStep, int(float64(c.def.Rate)*tick.Seconds())) {
		return 0
	}
	return n
}

// renew renews the lease when it is time, and notes the pace.
func (c *broadcaster) renew(ctx context.Context) error {
	since := time.Since(c.renewed)
	if since < min(renewEvery, c.b.lease/4) {
		return nil
	}
	now := float64(c.sent) / since.Seconds()
	if c.pace == 0 {
		c.pace = now
	}
	c.pace += (now - c.pace) / 4 // smoothed
	c.sent, c.renewed = 0, time.Now()
	return c.walk.renew(ctx, c.pace)
}

// step notifies the next users of a partition, limit of them at most, and returns how
// many were reached.
func (c *broadcaster) step(ctx context.Context, p, limit int) (reached int, err error) {
	now := c.b.now()
	if room, err := c.b.hasRoom(ctx, p); err != nil || !room {
		return 0, err
	}
	users, err := c.walk.next(ctx, p, c.def.Named > 0, maxStep)
	if err != nil {
		return 0, err
	}
	if c.done[p] = len(users) == 0; c.done[p] {
		return 0, nil
	}
	matches, err := c.b.matchUsers(ctx, c.def.Audience, users)
	if err != nil {
		return 0, err
	}
	candidates, notified := make([]candidate, 0, len(users)), 0
	for i, user := range users {
		next := candidate{user: user}
		if matches[i] {
			if notified == limit {
				break
			}
			notified++
			next.notification = c.notification(p, user, now)
		}
		candidates = append(candidates, next)
	}
	c.limiter.AllowN(now, notified) // allowed has checked that there are as many tokens
	if err := c.walk.step(ctx, p, candidates); err != nil {
		return 0, err
	}
	c.sent += notified
	c.b.walked.WithLabelValues("sent").Add(float64(notified))
	c.b.walked.WithLabelValues("skipped").Add(float64(len(candidates) - notified))
	c.b.outbox.Nudge(push.Bulk)
	return len(candidates), nil
}

// notification returns the notification of a user in the audience.
func (c *broadcaster) notification(p int, user int64, now time.Time) *inbox.NewNotification {
	e := &outbox.Entry{User: user, Event: c.key, Type: c.def.Type}
	ttl := time.Duration(c.def.Expires-now.UnixMilli()) * time.Millisecond
	return &inbox.NewNotification{
		Receiver: user, Event: c.key, Content: c.def.Digest, Type: c.def.Type, Listed: true,
		Body: []byte(inbox.Reference(c.key)),
		Entry: &inbox.OutboxEntry{
			Stream: c.b.outbox.StreamKey(p, push.Bulk), Header: e.Header(),
			TTL: ttl, RetryFor: min(ttl, c.b.retryFor),
		},
	}
}

// finish ends the broadcast. The error is errFinished when it did.
func (c *broadcaster) finish(ctx context.Context, to State) error {
	s, err := c.b.status(ctx, c.key)
	if err != nil {
		return err
	}
	total := s.Total
	if to == Done {
		total = s.Walked
	}
	if err := c.walk.finish(ctx, to, total); err != nil {
		return err
	}
	c.b.nudge() // to be closed
	return errFinished
}

// hasRoom reports whether a partition's bulk lane has room for a step. So a broadcast fills
// Redis no faster than its pushes are sent. Pushes that are delayed for longer than
// retriesDue, until the end of quiet hours, count only against maxDelayed.
func (b *Broadcasts) hasRoom(ctx context.Context, p int) (bool, error) {
	soon, delayed, err := b.outbox.Backlog(ctx, p, push.Bulk, b.now().Add(retriesDue))
	if err != nil {
		return false, err
	}
	return soon < b.backlog && delayed < maxDelayed, nil
}
