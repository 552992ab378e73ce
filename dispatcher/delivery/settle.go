package delivery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/report"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	maxSettle = 128 // outcomes in one write
	// settleLinger is how long outcomes wait for more of them, so that a write costs less for
	// each. An outcome that is pressing waits for linger at most.
	settleLinger = 15 * time.Millisecond
	// maxUnsettled is how many outcomes may wait before they are written at once, on all
	// shards together. A lane may hold that many entries beside those that its attempts need.
	maxUnsettled  = 256
	settleTimeout = 5 * time.Second // for settling after the process was told to stop
)

// An ending is a finished task with its settlement.
type ending struct {
	*task
	settlement outbox.Settlement
	stuck      bool // the first write failed
}

// settle writes the outcomes of finished tasks, until the channel is closed and all are
// written, or ctx ends. Each shard of a cluster has its own settler, so that a shard that
// does not answer blocks only its own partitions.
func (l *lane) settle(ctx context.Context) {
	var all sync.WaitGroup
	settlers := make(map[int]*settler)
	for t := range l.finished {
		shard := l.shardOf[t.key.Partition]
		s, ok := settlers[shard]
		if !ok {
			s = &settler{lane: l, finished: make(chan *task, cap(l.finished)), hurry: make(chan struct{}, 1)}
			settlers[shard] = s
			all.Go(func() { s.run(ctx) })
		}
		s.add(ctx, t, maxUnsettled/len(l.heldOf))
	}
	for _, s := range settlers {
		close(s.finished)
		s.signal()
	}
	all.Wait()
}

// A settler writes the outcomes of a shard's tasks. Only one goroutine may use it.
type settler struct {
	lane     *lane
	finished chan *task
	hurry    chan struct{} // signalled when finished must be written now
	failed   []*ending     // endings whose writing failed, in the order of their retries
	down     bool          // no ending could be written
}

// run writes the outcomes of finished tasks in batches. It retries failed writes without a
// limit, while the keeper renews their leases. Other outcomes wait for these retries only
// when no write at all succeeds.
func (s *settler) run(ctx context.Context) {
	var again <-chan time.Time // when to retry failed writes
	for open := true; open || len(s.failed) > 0; {
		finished := s.finished
		if !open {
			finished = nil
		}
		select {
		case t, ok := <-finished:
			if !ok {
				open = false
				continue
			}
			if n := s.writeFirst(ctx, t); n < maxSettle && !s.down {
				s.rest(n)
			}
		case <-again:
			again = nil
			s.writeAgain(ctx)
		case <-ctx.Done():
			s.lane.w.Log.Error("outcomes could not be written before the end: these pushes are sent again",
				"lane", s.lane.lane, "entries", len(s.failed)+len(s.finished))
			return
		}
		if again == nil && len(s.failed) > 0 {
			again = time.After(redisPause)
		}
	}
}

// add hands a task to the settler, and ends its rest for one that is pressing, or when limit
// tasks wait.
func (s *settler) add(ctx context.Context, t *task, limit int) {
	pressing := t.pressing() // not later: the settler owns it then
	select {
	case s.finished <- t:
	case <-ctx.Done(): // the settler may have ended; see run
	}
	if pressing || len(s.finished) >= limit {
		s.signal()
	}
}

// pressing reports whether an outcome must be written soon: something becomes due because
// of it, or it says that a device is not to blame any more.
func (t *task) pressing() bool {
	return len(t.delayed) > 0 || slices.ContainsFunc(t.amended, func(a amendment) bool {
		return a.device.Suspect != nil || a.device.Suspended != ""
	})
}

// signal ends the settler's rest.
func (s *settler) signal() {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}

// rest lets outcomes gather after a batch of n was written.
func (s *settler) rest(n int) {
	if n > 1 {
		time.Sleep(linger)
	}
	select {
	case <-s.hurry:
	case <-time.After(settleLinger - linger):
	}
}

// writeFirst writes the outcomes of first and of further finished tasks, at most maxSettle,
// unless no write succeeds now. It returns the size of the batch.
func (s *settler) writeFirst(ctx context.Context, first *task) int {
	batch := []*ending{{task: first, settlement: s.lane.settlement(first)}}
	for more := true; more && len(batch) < maxSettle; {
		select {
		case t, ok := <-s.finished:
			if more = ok; ok {
				batch = append(batch, &ending{task: t, settlement: s.lane.settlement(t)})
			}
		default:
			more = false
		}
	}
	left := batch
	if !s.down {
		left, s.down = s.write(ctx, batch)
	}
	s.lane.stick(left)
	s.failed = append(s.failed, left...)
	return len(batch)
}

// writeAgain retries failed writes until a whole batch fails. Endings that fail again go to
// the end of the queue.
func (s *settler) writeAgain(ctx context.Context) {
	failed := s.failed
	var left []*ending
	for len(failed) > 0 {
		n := min(maxSettle, len(failed))
		again, down := s.write(ctx, failed[:n])
		failed, left = failed[n:], append(left, again...)
		if s.down = down; down {
			break
		}
	}
	s.failed = append(failed, left...)
}

// write settles tasks in Redis and returns those that failed. down is true when
// nothing can be written: none was written, and not because of its own keys.
func (s *settler) write(ctx context.Context, batch []*ending) (failed []*ending, down bool) {
	l := s.lane
	settlements := make([]*outbox.Settlement, len(batch))
	for i, e := range batch {
		settlements[i] = &e.settlement
	}
	down = true
	var settled []*ending
	var failure error // the first one
	for i, result := range l.w.Outbox.Settle(ctx, l.batcher, settlements) {
		e := batch[i]
		if err := result.Err; err != nil {
			failed, failure = append(failed, e), cmp.Or(failure, err)
			down = down && !redis.HasErrorPrefix(err, "WRONGTYPE") && !errors.Is(err, rdb.ErrReply)
			continue
		}
		down = false
		l.count(e, result.Held, result.Results)
		settled = append(settled, e)
	}
	if len(failed) > 0 {
		l.w.Log.Error("outcomes cannot be written", "lane", l.lane, "entries", len(failed), "error", failure)
	}
	l.release(settled)
	return failed, down
}

// stick counts outcomes whose first write failed.
func (l *lane) stick(endings []*ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range endings {
		e.stuck = true
		l.stuck[e.key.Partition]++
	}
}

// release removes settled tasks from the lane.
func (l *lane) release(settled []*ending) {
	l.mu.Lock()
	for _, e := range settled {
		delete(l.held, e.key)
		l.heldOf[l.shardOf[e.key.Partition]]--
		if e.stuck {
			l.stuck[e.key.Partition]--
		}
	}
	l.mu.Unlock()
	l.signal()
}

// settlement returns the settlement of a task's entry.
func (l *lane) settlement(t *task) outbox.Settlement {
	s := outbox.Settlement{Key: t.key, Lane: l.lane, Entry: t.entry, Delayed: t.delayed, Dead: t.dead}
	if t.entry == nil {
		return s
	}
	if t.entry.Event != "" {
		s.Record = l.w.Inbox.Records.Key(t.entry.User, t.entry.Event)
		s.Lines = string(t.outcomes) + inbox.PushOutcome(t.progress())
	}
	s.Additions = append(s.Additions, l.w.Reports.Failures(t.key.Partition, t.entry, t.dead))
	s.Additions = append(s.Additions, t.amendments...)
	s.Additions = append(s.Additions, l.w.shadeChanges(t)...)
	if key, ok := t.broadcast(); ok {
		s.Additions = append(s.Additions, l.w.Broadcasts.Tally(t.key.Partition, key, t.accepted, t.failed))
	}
	s.Additions = slices.DeleteFunc(s.Additions, func(a outbox.Addition) bool { return a.Fragment == "" })
	return s
}

// logBuried logs a dead letter with its event.
func (l *lane) logBuried(t *task, d outbox.Dead) {
	attrs := []any{"lane", l.lane.String(), "reason", d.Reason, "device", d.Device, "", d.Route}
	if e := t.entry; e != nil {
		attrs = append(attrs, "user", e.User, "type", e.Type, "notification", e.ID, "source", e.Source, "event", e.EventID)
	}
	l.w.Log.Warn("a push is buried", attrs...)
}

// count updates the metrics once a settlement is written.
func (l *lane) count(e *ending, held bool, results []int64) {
	for _, d := range e.dead {
		l.w.metrics.dead.WithLabelValues(of(d.Route, l.lane.String(), d.Reason)...).Inc()
		l.logBuried(e.task, d)
	}
	if e.entry == nil {
		return
	}
	if held {
		l.w.Reports.Queued(e.entry.Service, l.w.applied(e, results))
	} else {
		l.w.Reports.Queued(e.entry.Service, 0)
	}
}

// applied reads the results of a settlement's additions. It returns how many reports were
// dropped, and clears devices whose listing has changed before an acceptance was noted.
func (w *Workers) applied(e *ending, results []int64) (dropped int) {
	amended := e.amended
	for i, a := range e.settlement.Additions {
		switch a.Fragment {
		case report.Fragment.Name:
			dropped = int(results[i])
		case amendFragment.Name:
			if results[i] == 0 && amended[0].accepted {
				w.clear(e.entry.User, amended[0])
			}
			amended = amended[1:]
		}
	}
	return dropped
}
