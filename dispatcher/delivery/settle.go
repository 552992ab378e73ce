package delivery

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	maxSettle     = 64
	settleTimeout = 5 * time.Second // for settling after the process was told to stop
)

// An ending is a finished task with its settlement.
type ending struct {
	*task
	settlement outbox.Settlement
	stuck      bool // it could not be written at once
}

// settle has settlers write the outcomes of finished tasks, until the channel is closed
// and all is written, or ctx ends. On a cluster each partition has a settler of its own,
// so that a shard that does not answer holds up its own partitions only.
func (l *lane) settle(ctx context.Context) {
	var all sync.WaitGroup
	settlers := make(map[int]chan *task)
	for t := range l.finished {
		group := l.w.Outbox.SettleGroup(t.key.Partition)
		settler, ok := settlers[group]
		if !ok {
			settler = make(chan *task, cap(l.finished))
			settlers[group] = settler
			all.Go(func() { l.settleGroup(ctx, settler) })
		}
		settler <- t
	}
	for _, settler := range settlers {
		close(settler)
	}
	all.Wait()
}

// settleGroup writes the outcomes of finished tasks, several at a time. What cannot be
// written is tried again for as long as that takes, while its lease is renewed. The others
// wait for it only when nothing at all can be written.
func (l *lane) settleGroup(ctx context.Context, finished <-chan *task) {
	var failed []*ending
	var down bool              // nothing can be written
	var again <-chan time.Time // when what failed is tried again
	for finished != nil || len(failed) > 0 {
		select {
		case t, ok := <-finished:
			if !ok {
				finished = nil
				continue
			}
			batch := l.endings(t, finished)
			left := batch
			if !down {
				left = l.write(ctx, batch)
				down = len(left) == len(batch)
			}
			l.stick(left)
			if failed = append(failed, left...); len(failed) > 0 && again == nil {
				again = time.After(redisPause)
			}
			if !down && len(batch) > 1 {
				time.Sleep(linger)
			}
		case <-again:
			var wrote bool
			failed, wrote = l.writeAgain(ctx, failed)
			down = down && !wrote
			if again = nil; len(failed) > 0 {
				again = time.After(redisPause)
			}
		case <-ctx.Done():
			l.w.Log.Error("outcomes could not be written before the end: these pushes are sent again",
				"lane", l.lane, "entries", len(failed)+len(finished))
			return
		}
	}
}

// endings returns first and other finished tasks with their settlements, maxSettle of them
// at most.
func (l *lane) endings(first *task, finished <-chan *task) []*ending {
	batch := []*ending{{task: first, settlement: l.settlement(first)}}
	for len(batch) < maxSettle {
		select {
		case t, ok := <-finished:
			if !ok {
				return batch
			}
			batch = append(batch, &ending{task: t, settlement: l.settlement(t)})
		default:
			return batch
		}
	}
	return batch
}

// writeAgain writes what could not be written before, until a batch fails as a whole. It
// returns what is left, what failed again last, and whether anything was written.
func (l *lane) writeAgain(ctx context.Context, failed []*ending) (left []*ending, wrote bool) {
	for len(failed) > 0 {
		n := min(maxSettle, len(failed))
		again := l.write(ctx, failed[:n])
		failed, left = failed[n:], append(left, again...)
		if len(again) == n {
			break
		}
		wrote = true
	}
	return append(failed, left...), wrote
}

// write settles tasks in Redis and returns those that it could not.
func (l *lane) write(ctx context.Context, batch []*ending) (failed []*ending) {
	commands := make([]*rdb.Command, len(batch))
	for i, e := range batch {
		commands[i] = l.w.Outbox.SettleCommand(ctx, &e.settlement)
	}
	err := l.batcher.Do(ctx, commands...)
	var settled []*ending
	for i, e := range batch {
		held, results, unread := outbox.ReadSettled(commands[i])
		if unread != nil {
			failed, err = append(failed, e), cmp.Or(err, unread)
			continue
		}
		l.count(e, held, results)
		settled = append(settled, e)
	}
	if len(failed) > 0 {
		l.w.Log.Error("outcomes cannot be written", "lane", l.lane, "entries", len(failed), "error", err)
	}
	l.release(settled)
	return failed
}

// stick notes that outcomes could not be written.
func (l *lane) stick(endings []*ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range endings {
		e.stuck = true
		l.stuck[e.key.Partition]++
	}
}

// release forgets settled tasks.
func (l *lane) release(settled []*ending) {
	l.mu.Lock()
	for _, e := range settled {
		delete(l.held, e.key)
		if e.stuck {
			l.stuck[e.key.Partition]--
		}
	}
	l.mu.Unlock()
	l.signal()
}

// settlement returns the settlement of a task's entry.
func (l *lane) settlement(t *task) outbox.Settlement {
	s := outbox.Settlement{Key: t.key, Lane: l.lane, Delayed: t.delayed, Dead: t.dead}
	if t.entry == nil {
		return s
	}
	if t.entry.Event != "" {
		s.Record = l.w.Inbox.Records.Key(t.entry.User, t.entry.Event)
		s.Lines = string(t.outcomes) + inbox.PushOutcome(t.progress())
	}
	s.Additions = append(s.Additions, l.w.Reports.Failures(t.key.Partition, t.entry, t.dead))
	if key, ok := t.broadcast(); ok {
		s.Additions = append(s.Additions, l.w.Broadcasts.Tally(t.key.Partition, key, t.accepted, t.failed))
	}
	return s
}

// count updates the metrics once a settlement is written.
func (l *lane) count(e *ending, held bool, results []int64) {
	for _, d := range e.dead {
		l.w.metrics.dead.WithLabelValues(l.lane.String(), d.Reason).Inc()
	}
	if e.entry == nil {
		return
	}
	dropped := 0
	if additions := e.settlement.Additions; held && len(additions) > 0 && additions[0].Fragment == report.Fragment.Name {
		dropped = int(results[0])
	}
	l.w.Reports.Queued(e.entry.Service, dropped)
}
