package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	castEvery = time.Second           // how often a process looks for broadcasts that nobody walks
	castPause = 50 * time.Millisecond // how often a walker looks again whose pushes are not taken
	castTick  = 10 * time.Millisecond // what one tells at a time: as many as its rate brings in that time
	castMost  = 64                    // users of a partition in one step
	paceEvery = time.Second           // how often a walker says how fast it is

	// castSoon is when every retry is due at the latest, but what a provider puts off.
	castSoon = maxBackoff * 4 / 3 // 20 min
	// castDelayed is how many delayed entries of a partition a broadcast puts up with
	// beside those that Options.Backlog counts: some 20 MB of pushes that wait for the
	// end of their users' quiet hours, for which nobody else is to wait.
	castDelayed = 50_000
)

// nudgeBroadcasts says that there may be a broadcast to walk. It never blocks.
func (d *Dispatcher) nudgeBroadcasts() {
	select {
	case d.casts <- struct{}{}:
	default:
	}
}

// walkBroadcasts walks the broadcasts that nobody else walks, each in a goroutine of
// its own, until ctx ends. It returns once they have given up their leases.
func (d *Dispatcher) walkBroadcasts(ctx context.Context) {
	b := rdb.NewBatcher(d.Redis, 0) // of its own: a broadcast does not hold up who publishes
	defer b.Close()
	var walkers sync.WaitGroup
	defer walkers.Wait()
	var mine sync.Map // keys of those that this process walks
	for ctx.Err() == nil {
		open, err := d.Inbox.Broadcasts.OpenBroadcasts(ctx)
		if err != nil && ctx.Err() == nil {
			d.Log.Warn("broadcasts cannot be looked up", "error", err)
		}
		for _, found := range open {
			if _, walking := mine.Load(found.Key); walking {
				continue
			}
			c, err := d.takeBroadcast(ctx, b, found)
			if err != nil && ctx.Err() == nil {
				d.Log.Error("a broadcast cannot be walked", "error", err)
			}
			if c == nil {
				continue
			}
			mine.Store(found.Key, true)
			walkers.Go(func() {
				defer mine.Delete(found.Key)
				c.run(ctx)
			})
		}
		select {
		case <-d.casts:
		case <-time.After(castEvery):
		case <-ctx.Done():
		}
	}
}

// takeBroadcast returns a walker for a broadcast whose time has come and that nobody
// walks, or nil. Those that are over or whose time is over it puts away.
func (d *Dispatcher) takeBroadcast(ctx context.Context, b *rdb.Batcher, found inbox.Broadcast) (*caster, error) {
	switch {
	case found.State == "" || found.State.Over(): // forgotten, or whoever ended it died over it
		return nil, d.closeBroadcast(ctx, b, found.Key)
	case found.State == inbox.BroadcastPreparing || found.Held:
		return nil, nil
	}
	def, err := readDefinition(found.Definition)
	if err != nil {
		return nil, err
	}
	now := d.Now().UnixMilli()
	switch {
	case now >= def.Expires:
		err := d.endBroadcast(ctx, found.Key, inbox.BroadcastExpired, inbox.BroadcastActive, inbox.BroadcastPaused)
		if errors.Is(err, inbox.ErrBroadcastState) { // another process was faster
			err = nil
		}
		return nil, err
	case found.State == inbox.BroadcastPaused || now < def.At:
		return nil, nil
	}
	walk, err := d.Inbox.Broadcasts.HoldBroadcast(ctx, b, found.Key, d.consumer, d.Lease)
	if err != nil || walk == nil {
		return nil, err
	}
	return &caster{
		d: d, key: found.Key, def: def, walk: walk,
		limiter: newCastLimiter(def.Rate),
		done:    make([]bool, d.Partitions.Len()), noted: time.Now(),
	}, nil
}

// closeBroadcast puts a broadcast away that is over, once its service is told.
func (d *Dispatcher) closeBroadcast(ctx context.Context, b *rdb.Batcher, key string) error {
	s, err := d.broadcastStatus(ctx, key)
	if err == nil {
		err = d.reportBroadcast(ctx, b, &s)
	}
	if err != nil && !errors.Is(err, inbox.ErrNotFound) { // forgotten
		return err
	}
	return d.Inbox.Broadcasts.CloseBroadcast(ctx, key)
}

// A caster tells the users of one broadcast, for as long as it holds the lease.
type caster struct {
	d       *Dispatcher
	key     string
	def     definition
	walk    *inbox.Walk
	limiter *rate.Limiter
	done    []bool // by partition
	next    int    // the partition whose turn it is

	told  int       // users since noted
	noted time.Time // when the lease was renewed
	pace  float64   // users told a second of late
}

// newCastLimiter allows so many users a second, and a tenth of a second's at once.
func newCastLimiter(perSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/10))
}

// run walks until the broadcast or the lease is over, or ctx ends.
func (c *caster) run(ctx context.Context) {
	defer c.release(ctx)
	for ctx.Err() == nil {
		idle, left, err := c.round(ctx)
		if err == nil && left == 0 {
			err = c.finish(ctx, inbox.BroadcastDone)
		}
		switch {
		case errors.Is(err, inbox.ErrFenced), errors.Is(err, inbox.ErrBroadcastState), errors.Is(err, errOver):
			return
		case err != nil && ctx.Err() == nil:
			c.d.Log.Warn("a broadcast is held up", "broadcast", c.def.ID, "error", err)
			wait(ctx, pause)
		case idle > 0:
			wait(ctx, idle)
		}
	}
}

// errOver reports that the broadcast has been finished.
var errOver = errors.New("the broadcast is over")

// release lets another process go on at once.
func (c *caster) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := c.walk.Release(ctx); err != nil {
		c.d.Log.Warn("a broadcast cannot be handed over at once", "broadcast", c.def.ID, "error", err)
	}
}

// round takes a step in every partition that is not done, as far as the outbox
// allows; where the rate allows no more it ends, and the next one goes on there. It
// returns for how long to wait before that, and how many partitions are left of
// those that it came to.
func (c *caster) round(ctx context.Context) (idle time.Duration, left int, err error) {
	idle = castPause // unless somebody is reached
	for range c.done {
		p := c.next
		if c.done[p] {
			c.next = (p + 1) % len(c.done)
			continue
		}
		left++
		if c.d.Now().UnixMilli() >= c.def.Expires {
			return 0, left, c.finish(ctx, inbox.BroadcastExpired)
		}
		if err := c.keep(ctx); err != nil {
			return 0, left, err
		}
		most := c.allowed()
		if most == 0 {
			return castTick, left, nil
		}
		c.next = (p + 1) % len(c.done)
		n, err := c.step(ctx, p, most)
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

// allowed returns how many users a step may tell by the rate: 0 until there are as
// many as castTick brings. Steps of one user each, as soon as there is one, would
// cost Redis, the bulk lane, and whoever waits behind them, several times as much.
func (c *caster) allowed() int {
	most := min(castMost, int(c.limiter.TokensAt(c.d.Now())))
	if most < min(castMost, int(float64(c.def.Rate)*castTick.Seconds())) {
		return 0
	}
	return most
}

// keep renews the lease when it is time, and says how fast the walk is.
func (c *caster) keep(ctx context.Context) error {
	since := time.Since(c.noted)
	if since < min(paceEvery, c.d.keepEvery()) {
		return nil
	}
	now := float64(c.told) / since.Seconds()
	if c.pace == 0 {
		c.pace = now
	}
	c.pace += (now - c.pace) / 4 // even out
	c.told, c.noted = 0, time.Now()
	return c.walk.Renew(ctx, c.pace)
}

// step tells the next users of a partition, most of them at most, and returns how
// many were reached.
func (c *caster) step(ctx context.Context, p, most int) (reached int, err error) {
	now := c.d.Now()
	if room, err := c.d.roomFor(ctx, p); err != nil || !room {
		return 0, err
	}
	users, err := c.walk.Next(ctx, p, c.def.Named > 0, castMost)
	if err != nil {
		return 0, err
	}
	if c.done[p] = len(users) == 0; c.done[p] {
		return 0, nil
	}
	fit, err := c.d.judge(ctx, c.def.Audience, users)
	if err != nil {
		return 0, err
	}
	shares, told := make([]inbox.Share, 0, len(users)), 0
	for i, user := range users {
		share := inbox.Share{User: user}
		if fit[i] {
			if told == most {
				break
			}
			told++
			share.Put = c.share(p, user, now)
		}
		shares = append(shares, share)
	}
	c.limiter.AllowN(now, told) // there are as many
	if err := c.walk.Step(ctx, p, shares); err != nil {
		return 0, err
	}
	c.told += told
	c.d.metrics.walked.WithLabelValues("sent").Add(float64(told))
	c.d.metrics.walked.WithLabelValues("skipped").Add(float64(len(shares) - told))
	c.d.lanes[push.Bulk].nudge()
	return len(shares), nil
}

// share is what a user of the audience is told.
func (c *caster) share(p int, user int64, now time.Time) *inbox.NewNotification {
	e := &entry{
		User: user, Event: c.key, Type: c.def.Type, Expires: c.def.Expires,
		Until: min(c.def.Expires, now.Add(c.d.RetryFor).UnixMilli()),
	}
	return &inbox.NewNotification{
		Receiver: user, Event: c.key, Content: c.def.Content, Type: c.def.Type, Listed: true,
		Body:  []byte(inbox.Reference(c.key)),
		State: model.State{Order: now},
		Entry: &inbox.OutboxEntry{Stream: c.d.outKey(p, push.Bulk), Header: e.header()},
	}
}

// finish ends the broadcast. The error is errOver when it did.
func (c *caster) finish(ctx context.Context, state inbox.BroadcastState) error {
	s, err := c.d.broadcastStatus(ctx, c.key)
	if err != nil {
		return err
	}
	total := s.Total
	if state == inbox.BroadcastDone {
		total = s.Walked
	}
	if err := c.walk.Finish(ctx, state, total); err != nil {
		return err
	}
	c.d.nudgeBroadcasts() // to be put away
	return errOver
}

// roomFor reports whether a partition's bulk lane has room for a step. So a
// broadcast fills Redis no faster than its pushes are sent, and promotions that wait
// for the end of quiet hours hold it up only when they are very many.
func (d *Dispatcher) roomFor(ctx context.Context, p int) (bool, error) {
	soon := d.Now().Add(castSoon).UnixMilli()
	pipe := d.Redis.Pipeline()
	out := pipe.XLen(ctx, d.outKey(p, push.Bulk))
	near := pipe.ZCount(ctx, d.delayedKey(p, push.Bulk), "-inf", strconv.FormatInt(soon, 10))
	delayed := pipe.ZCard(ctx, d.delayedKey(p, push.Bulk))
	if _, err := pipe.Exec(ctx); err != nil {
		return false, fmt.Errorf("measure the outbox: %w", err)
	}
	return out.Val()+near.Val() < int64(d.Backlog) && delayed.Val() < castDelayed, nil
}
