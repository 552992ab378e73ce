package delivery

import (
	"context"
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

// settle writes the outcomes of finished tasks, several at a time, until the channel is
// closed.
func (l *lane) settle() {
	for first := range l.finished {
		batch := []*task{first}
		for more := true; more && len(batch) < maxSettle; {
			select {
			case t, ok := <-l.finished:
				if more = ok; ok {
					batch = append(batch, t)
				}
			default:
				more = false
			}
		}
		l.write(batch)
		l.release(batch)
		if len(batch) > 1 {
			time.Sleep(linger)
		}
	}
}

// write settles tasks in Redis. While Redis is away it tries again for as long as the
// leases hold; after that others take the entries over, which G3 allows.
func (l *lane) write(batch []*task) {
	ctx, cancel := context.WithTimeout(context.Background(), l.w.Outbox.Lease())
	defer cancel()
	settlements := make([]outbox.Settlement, len(batch))
	for i, t := range batch {
		settlements[i] = l.settlement(t)
	}
	commands := make([]*rdb.Command, len(batch))
	for {
		for i := range batch {
			commands[i] = l.w.Outbox.SettleCommand(ctx, &settlements[i])
		}
		err := l.batcher.Do(ctx, commands...)
		if err == nil {
			break
		}
		l.w.Log.Error("outcomes cannot be written", "lane", l.lane, "error", err)
		if !rdb.Sleep(ctx, redisPause) {
			return
		}
	}
	for i, t := range batch {
		l.count(t, &settlements[i], commands[i])
	}
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
func (l *lane) count(t *task, s *outbox.Settlement, c *rdb.Command) {
	for _, d := range t.dead {
		l.w.metrics.dead.WithLabelValues(l.lane.String(), d.Reason).Inc()
	}
	held, results, err := outbox.ReadSettled(c)
	if err != nil {
		l.w.Log.Error("the reply to a settled entry cannot be read", "lane", l.lane, "error", err)
		return
	}
	if t.entry == nil {
		return
	}
	dropped := 0
	if held && len(s.Additions) > 0 && s.Additions[0].Fragment == report.Fragment.Name {
		dropped = int(results[0])
	}
	l.w.Reports.Queued(t.entry.Service, dropped)
}
