package outbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	maxClaim     = 20               // entries of one partition taken over at once
	consumerIdle = 10 * time.Minute // how long a consumer without entries is kept
)

var (
	//go:embed claim.lua
	claimSource string
	claimScript = rdb.NewScript(claimSource)
)

// A Claimer takes over the entries of one lane whose consumers stopped.
//
// After an outage of Redis, a pause of this process, or a jump of Redis' clock, the leases
// of live consumers have ended, too. So a Claimer takes over entries of a partition only
// after half a lease in which Redis has answered it, with no gap longer than twice
// RenewEvery, and Redis' clock has run as fast as its own. By then every live consumer has
// renewed its leases.
//
// A Claimer is used by one goroutine.
type Claimer struct {
	o        *Outbox
	lane     push.Lane
	answered []answer // by partition
	now      func() time.Time
}

// An answer records how Redis answered a Claimer for a partition.
type answer struct {
	at    time.Time // time of the last question; zero when Redis did not answer it
	redis time.Time // Redis' clock at that time
	since time.Time // start of the time without gaps
}

// NewClaimer returns a Claimer for a lane.
func (o *Outbox) NewClaimer(l push.Lane) *Claimer {
	return &Claimer{o: o, lane: l, answered: make([]answer, o.partitions.Len()), now: time.Now}
}

// Claim takes over entries from consumers that stopped, and takes back entries that this
// consumer holds but never received. Call it every RenewEvery. It leaves out the given
// partitions. With an error it may also return messages, from the partitions that answered.
func (c *Claimer) Claim(ctx context.Context, b *rdb.Batcher, without ...int) ([]Message, error) {
	o, now := c.o, c.now()
	own := o.lease / 2 // later than any renewal of an entry that the process knows
	var asked []int
	var commands []*rdb.Command
	for p := range c.answered {
		if slices.Contains(without, p) {
			continue
		}
		asked = append(asked, p)
		commands = append(commands, claimScript.Command(ctx, []string{o.StreamKey(p, c.lane)}, group, o.consumer,
			o.claimAfter().Milliseconds(), own.Milliseconds(), maxClaim, consumerIdle.Milliseconds(), c.othersUntil(p, now)))
	}
	if len(commands) == 0 {
		return nil, nil
	}
	failed := b.Do(ctx, commands...)
	var messages []Message
	var errs []error
	for i, p := range asked {
		more, at, err := readClaimed(commands[i], p)
		messages = append(messages, more...)
		switch {
		case redis.HasErrorPrefix(err, "NOGROUP"): // nothing to take over
		case err != nil:
			errs = append(errs, err)
		default:
			c.note(p, now, at)
			continue
		}
		c.answered[p] = answer{}
	}
	switch {
	case len(errs) == 0:
		return messages, nil
	case len(errs) == len(asked) && failed != nil:
		return nil, fmt.Errorf("take over entries: %w", failed)
	}
	return messages, fmt.Errorf("take over entries: %w", errors.Join(errs...))
}

// othersUntil returns the Redis time in milliseconds until which entries of a partition may
// be taken over from other consumers, or 0 when they may not.
func (c *Claimer) othersUntil(partition int, now time.Time) int64 {
	a, every := &c.answered[partition], c.o.RenewEvery()
	elapsed := now.Sub(a.at)
	if a.at.IsZero() || elapsed > 2*every || now.Sub(a.since) < c.o.lease/2 {
		return 0
	}
	return a.redis.Add(elapsed + every).UnixMilli()
}

// note records that Redis answered for a partition, and its clock.
func (c *Claimer) note(partition int, now, redis time.Time) {
	a, every := &c.answered[partition], c.o.RenewEvery()
	elapsed := now.Sub(a.at)
	if a.at.IsZero() || elapsed > 2*every || (redis.Sub(a.redis)-elapsed).Abs() > every {
		a.since = now
	}
	a.at, a.redis = now, redis
}

// readClaimed reads the reply of claim.lua: messages and Redis' clock.
func readClaimed(c *rdb.Command, partition int) ([]Message, time.Time, error) {
	reply, err := c.Slice()
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(reply)%3 != 1 {
		return nil, time.Time{}, rdb.ErrReply
	}
	at, _ := reply[0].(int64)
	var messages []Message
	for i := 1; i < len(reply); i += 3 {
		m := Message{Key: Key{Partition: partition}}
		m.ID, _ = reply[i].(string)
		m.Deliveries, _ = reply[i+1].(int64)
		m.Value, _ = reply[i+2].(string)
		messages = append(messages, m)
	}
	return messages, time.UnixMilli(at), nil
}
