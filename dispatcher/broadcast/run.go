package broadcast

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// pollEvery is how often a process looks for broadcasts that no process walks.
const pollEvery = time.Second

// Run sends the broadcasts that no other process sends, each in a goroutine of its own,
// until ctx ends. It returns once they have given up their leases.
func (b *Broadcasts) Run(ctx context.Context) {
	batcher := rdb.NewBatcher(b.redis, 0)
	defer batcher.Close()
	var broadcasters sync.WaitGroup
	defer broadcasters.Wait()
	var mine sync.Map // keys of the broadcasts that this process walks
	for ctx.Err() == nil {
		open, err := b.store.open(ctx)
		if err != nil && ctx.Err() == nil {
			b.log.Warn("broadcasts cannot be listed", "error", err)
		}
		for _, r := range open {
			if _, walking := mine.Load(r.key); walking {
				continue
			}
			c, err := b.take(ctx, batcher, r)
			if err != nil && ctx.Err() == nil {
				b.log.Error("a broadcast cannot be sent", "error", err)
			}
			if c == nil {
				continue
			}
			mine.Store(r.key, true)
			broadcasters.Go(func() {
				defer mine.Delete(r.key)
				c.run(ctx)
			})
		}
		b.waitForNudge(ctx)
	}
}

// waitForNudge waits for a nudge, pollEvery at most.
func (b *Broadcasts) waitForNudge(ctx context.Context) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-b.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// take returns a broadcaster for a broadcast whose time has come and that no process
// walks, or nil. It closes broadcasts that are over and ends those that have expired.
func (b *Broadcasts) take(ctx context.Context, batcher *rdb.Batcher, r record) (*broadcaster, error) {
	switch {
	case r.state == "" || r.state.Over(): // forgotten, or not closed by the process that ended it
		return nil, b.close(ctx, batcher, r.key)
	case r.state == preparing || r.held:
		return nil, nil
	}
	def, err := readDefinition(r.definition)
	if err != nil {
		return nil, err
	}
	now := b.now().UnixMilli()
	switch {
	case now >= def.Expires:
		err := b.end(ctx, r.key, Expired)
		if errors.Is(err, ErrState) { // another process was faster
			err = nil
		}
		return nil, err
	case r.state == Paused || now < def.At:
		return nil, nil
	}
	w, err := b.store.startWalk(ctx, batcher, r.key, b.consumer, b.lease)
	if err != nil || w == nil {
		return nil, err
	}
	return b.newBroadcaster(r.key, def, w), nil
}

// close closes a broadcast that is over, once the report for its service is queued.
func (b *Broadcasts) close(ctx context.Context, batcher *rdb.Batcher, key string) error {
	s, err := b.status(ctx, key)
	if err == nil {
		err = b.reports.Ended(ctx, batcher, s.Source, report.Broadcast{
			ID: s.ID, State: string(s.State), Total: s.Total, Sent: s.Sent, Skipped: s.Skipped,
			Pushed: s.Pushed, Failed: s.Failed, Finished: s.FinishedAt,
		})
	}
	if err != nil && !errors.Is(err, inbox.ErrNotFound) { // forgotten: there is nothing to report
		return err
	}
	return b.store.close(ctx, key)
}
