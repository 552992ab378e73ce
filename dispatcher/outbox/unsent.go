package outbox

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// The index of unsent pushes says how old the oldest push is that was delayed and is still
// to be sent, without a look at every entry. Settling writes it: an entry joins when it is
// delayed, and leaves when it is settled and not delayed again. A push that was never
// delayed is not in it, so its first attempt costs nothing; the first entry of the stream
// says how old the oldest of these is.
//
// A member whose entry is gone would look older and older for ever. Other builds and people
// may remove entries without the index, so a sweep drops such members; see sweep.lua.

// sweepEvery is how often a process sweeps the index.
const sweepEvery = time.Minute

var (
	//go:embed sweep.lua
	sweepSource string
	sweepScript = rdb.NewScript(sweepSource)
)

// sweepUnsent drops members of the index whose entries are gone. It takes two calls.
func (k *keys) sweepUnsent(ctx context.Context, b *rdb.Batcher) error {
	routes := k.routes.all()
	commands := make([]*rdb.Command, k.partitions.Len())
	for p := range commands {
		var keys []string
		for _, l := range push.Lanes {
			keys = append(keys, k.unsentKey(p, l), k.StreamKey(p, l))
			keys = append(keys, k.delayedKeys(p, l, routes)...)
		}
		commands[p] = sweepScript.Command(ctx, keys, 1+len(routes))
	}
	return b.Do(ctx, commands...)
}

// forgetUnsent removes members from the index.
func (k *keys) forgetUnsent(ctx context.Context, client redis.UniversalClient, partition int, l push.Lane, members []any) error {
	key := k.unsentKey(partition, l)
	for len(members) > 0 {
		n := min(len(members), scanPage)
		pipe := client.Pipeline()
		pipe.ZRem(ctx, key, members[:n]...)
		pipe.ZRem(ctx, key+":due", members[:n]...)
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("drop from the index of unsent pushes: %w", err)
		}
		members = members[n:]
	}
	return nil
}

// unsentAge returns the age of the oldest push that is still to be sent, of those that the
// first members of the index and the first entries of streams stand for.
func unsentAge(index []*redis.ZSliceCmd, streams []*redis.XMessageSliceCmd, now time.Time) time.Duration {
	var age time.Duration
	for _, r := range index {
		for _, z := range r.Val() {
			age = max(age, now.Sub(time.UnixMilli(int64(z.Score))))
		}
	}
	for _, r := range streams {
		for _, m := range r.Val() {
			age = max(age, now.Sub(messageSince(m)))
		}
	}
	return age
}

// messageSince returns the moment from which the age of a stream's entry counts.
func messageSince(m redis.XMessage) time.Time {
	value, _ := m.Values[EntryField].(string)
	if e, err := ParseEntry(value); err == nil && e.since() != 0 {
		return time.UnixMilli(e.since())
	}
	return idTime(m.ID)
}
