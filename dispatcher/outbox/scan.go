package outbox

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed drop.lua
var dropSource string

// scanPage is how many entries of a stream are read together.
const scanPage = 200

// DropEntries drops the entries of a partition that match: dead letters, delayed, waiting
// and queued ones, in the direction in which entries move, so that none is missed. A worker
// that holds one finds nothing to settle.
func (o *Outbox) DropEntries(ctx context.Context, partition int, match func(value string) bool) error {
	if err := o.scanStream(ctx, o.deadKey(partition), match); err != nil {
		return err
	}
	for _, l := range push.Lanes {
		var dropped []any // members of the index of unsent pushes
		matched := func(value string) bool {
			if !match(value) {
				return false
			}
			if e, err := ParseEntry(value); err == nil && e.Since != 0 {
				dropped = append(dropped, e.unsent())
			}
			return true
		}
		for _, set := range o.delayedKeys(partition, l, o.routes.all()) {
			if err := rdb.DropMembers(ctx, o.redis, set, matched); err != nil {
				return err
			}
		}
		if err := o.scanStream(ctx, o.StreamKey(partition, l), matched); err != nil {
			return err
		}
		if err := o.forgetUnsent(ctx, o.redis, partition, l, dropped); err != nil {
			return err
		}
	}
	return nil
}

// EachEntry calls f with every queued, delayed and waiting entry of a partition and the name of
// the set that it is in.
func (o *Outbox) EachEntry(ctx context.Context, partition int, f func(set, value string)) error {
	for _, l := range push.Lanes {
		visit := func(set string) func(string) bool {
			return func(value string) bool {
				f(set, value)
				return false // keep it
			}
		}
		if err := o.scanStream(ctx, o.StreamKey(partition, l), visit("out:"+l.String())); err != nil {
			return err
		}
		if err := rdb.DropMembers(ctx, o.redis, o.DelayedKey(partition, l), visit("delayed:"+l.String())); err != nil {
			return err
		}
		for _, route := range o.routes.all() {
			if err := rdb.DropMembers(ctx, o.redis, o.WaitingKey(partition, l, route), visit("delayed:"+l.String()+":"+route)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReleaseQuiet makes the delayed entries of a user due that wait for the end of quiet
// hours. Call it after the quiet hours have changed. It scans the delayed sets of the
// user's partition.
func (o *Outbox) ReleaseQuiet(ctx context.Context, user int64) error {
	waits := func(value string) bool {
		if !strings.Contains(value, `"q":true`) { // spares parsing the others
			return false
		}
		e, err := ParseEntry(value)
		return err == nil && e.Quiet && e.User == user
	}
	for _, l := range push.Lanes {
		if err := rdb.RescoreMembers(ctx, o.redis, o.DelayedKey(o.partitions.OfUser(user), l), 0, waits); err != nil {
			return fmt.Errorf("release entries that wait for quiet hours: %w", err)
		}
	}
	return nil
}

// scanStream drops the entries of a stream that match.
func (o *Outbox) scanStream(ctx context.Context, stream string, match func(value string) bool) error {
	for after := "-"; ; {
		page, err := o.redis.XRangeN(ctx, stream, after, "+", scanPage).Result()
		if err != nil {
			return fmt.Errorf("scan %s: %w", stream, err)
		}
		drop := []any{group}
		for _, m := range page {
			if value, _ := m.Values[EntryField].(string); match(value) {
				drop = append(drop, m.ID)
			}
			after = "(" + m.ID
		}
		if len(drop) > 1 {
			if err := o.redis.Eval(ctx, dropSource, []string{stream}, drop...).Err(); err != nil {
				return fmt.Errorf("drop from %s: %w", stream, err)
			}
		}
		if len(page) < scanPage {
			return nil
		}
	}
}
