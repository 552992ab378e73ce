package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	// linger is how long a busy loop waits, so that its next batch is larger.
	linger        = 2 * time.Millisecond
	maxDeliveries = 5           // an entry taken over more often kills its workers: poison
	redisPause    = time.Second // after Redis failed
)

// A lane delivers the entries of one lane: a reader takes them from the outbox, queues send
// them, a settler writes the outcomes, a keeper renews leases and takes over the entries of
// workers that died.
type lane struct {
	w        *Workers
	lane     push.Lane
	queues   map[devices.Platform]*queue
	finished chan *task // to the settler

	batcher *rdb.Batcher // while running; of its own: lanes share no queue
	mu      sync.Mutex
	held    map[outbox.Key]*task // read, not yet settled
	room    chan struct{}        // signalled when held shrinks
	maxHeld int
}

func newLane(w *Workers, l push.Lane, inFlight int, breakers map[devices.Platform]*breaker) *lane {
	maxHeld := 256 + 4*inFlight*max(1, len(breakers))
	ln := &lane{
		w:        w,
		lane:     l,
		queues:   make(map[devices.Platform]*queue),
		finished: make(chan *task, maxHeld+w.Outbox.MaxRead()),
		held:     make(map[outbox.Key]*task),
		room:     make(chan struct{}, 1),
		maxHeld:  maxHeld,
	}
	for platform, breaker := range breakers {
		ln.queues[platform] = newQueue(ln, w.Senders[platform], breaker, inFlight)
	}
	return ln
}

func (l *lane) run(ctx context.Context) {
	l.batcher = rdb.NewBatcher(l.w.Redis, 0)
	defer l.batcher.Close()
	var intake, sending, settling sync.WaitGroup
	settling.Go(l.settle)
	for _, q := range l.queues {
		sending.Go(func() { q.run(ctx) })
	}
	intake.Go(func() { l.read(ctx) })
	intake.Go(func() { l.keep(ctx) })

	intake.Wait() // no new jobs after this
	for _, q := range l.queues {
		close(q.jobs)
	}
	sending.Wait() // every task is finished
	close(l.finished)
	settling.Wait()
}

// read takes entries from the outbox as long as there is room for them.
func (l *lane) read(ctx context.Context) {
	for {
		err := l.w.Outbox.CreateGroups(ctx, l.lane)
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			l.w.Log.Error("the outbox cannot be read", "lane", l.lane, "error", err)
		}
		if !rdb.Sleep(ctx, redisPause) {
			return
		}
	}
	for {
		free := l.free(ctx)
		if free == 0 {
			return
		}
		messages, err := l.w.Outbox.Read(ctx, l.lane, free)
		if ctx.Err() == nil && err != nil {
			l.w.Log.Error("the outbox cannot be read", "lane", l.lane, "error", err)
			rdb.Sleep(ctx, redisPause)
			continue
		}
		l.take(ctx, messages)
		if len(messages) > 1 {
			rdb.Sleep(ctx, linger)
		}
	}
}

// free waits until the lane holds fewer entries than it may, and returns how many more
// it may take; 0 when ctx ended.
func (l *lane) free(ctx context.Context) int {
	for {
		l.mu.Lock()
		free := l.maxHeld - len(l.held)
		l.mu.Unlock()
		if ctx.Err() != nil {
			return 0
		}
		if free > 0 {
			return free
		}
		select {
		case <-l.room:
		case <-ctx.Done():
		}
	}
}

// keep renews the leases of the entries that the lane holds, and takes over entries whose
// consumer stopped.
func (l *lane) keep(ctx context.Context) {
	for rdb.Sleep(ctx, l.w.Outbox.RenewEvery()) {
		if err := l.w.Outbox.Renew(ctx, l.batcher, l.lane, l.heldFor(l.w.Outbox.RenewEvery()/2)); err != nil && ctx.Err() == nil {
			l.w.Log.Warn("leases cannot be renewed", "lane", l.lane, "error", err)
			continue
		}
		messages, err := l.w.Outbox.Claim(ctx, l.batcher, l.lane)
		if err != nil && ctx.Err() == nil {
			l.w.Log.Warn("entries cannot be taken over", "lane", l.lane, "error", err)
		}
		l.take(ctx, messages)
	}
}

// heldFor returns the entries that have been held for at least a while.
func (l *lane) heldFor(d time.Duration) []outbox.Key {
	before := time.Now().Add(-d)
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []outbox.Key
	for key, t := range l.held {
		if t.heldSince.Before(before) {
			keys = append(keys, key)
		}
	}
	return keys
}

// take starts a task for each entry. Those that it cannot start, because ctx ended, are
// handed back at once.
func (l *lane) take(ctx context.Context, messages []outbox.Message) {
	tasks := l.newTasks(messages)
	if len(tasks) == 0 {
		return
	}
	for {
		err := l.prefetch(ctx, tasks)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !rdb.Sleep(ctx, redisPause) {
			for _, t := range tasks {
				t.delay(t.entry, 0)
				l.finished <- t
			}
			return
		}
		l.w.Log.Error("devices cannot be looked up", "lane", l.lane, "error", err)
	}
	for _, t := range tasks {
		l.send(ctx, t)
	}
}

// newTasks returns a task for each entry that can be sent, and finishes the others.
func (l *lane) newTasks(messages []outbox.Message) []*task {
	tasks := make([]*task, 0, len(messages))
	for _, m := range messages {
		t, ok := l.hold(m.Key)
		if !ok {
			continue // taken over from ourselves: its task goes on
		}
		entry, err := outbox.ParseEntry(m.Value)
		switch {
		case err != nil:
			l.w.Log.Error("an outbox entry cannot be read", "lane", l.lane, "id", m.ID, "error", err)
			t.bury("", push.ReasonUnreadable, m.Value)
			l.finished <- t
		case m.Deliveries > maxDeliveries:
			t.entry = entry
			t.bury(entry.Owed, push.ReasonPoison, m.Value)
			l.finished <- t
		default:
			t.entry = entry
			tasks = append(tasks, t)
		}
	}
	return tasks
}

// hold notes an entry as held; it reports false for one that is held already.
func (l *lane) hold(key outbox.Key) (*task, bool) {
	t := &task{key: key, heldSince: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, held := l.held[key]; held {
		return nil, false
	}
	l.held[key] = t
	return t, true
}

// release forgets settled tasks.
func (l *lane) release(tasks []*task) {
	l.mu.Lock()
	for _, t := range tasks {
		delete(l.held, t.key)
	}
	l.mu.Unlock()
	select {
	case l.room <- struct{}{}:
	default:
	}
}
