package dispatcher

import (
	"context"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	linger      = 2 * time.Millisecond // what a busy loop waits, so that the next round has more to carry
	maxTakeOver = 5                    // an entry taken over more often kills its workers: poison
	pause       = time.Second          // after Redis failed
)

// A lane carries the entries of one lane: a reader takes them from the outbox,
// queues send them, a settler writes what came of them, a keeper renews their
// leases and takes over what other processes left.
type lane struct {
	d        *Dispatcher
	lane     push.Lane
	queues   map[devices.Platform]*queue
	finished chan *work    // to the settler
	wake     chan struct{} // a nudge: there may be entries to read

	batcher *rdb.Batcher // while running
	mu      sync.Mutex
	held    map[heldKey]*work // read, not yet settled
	room    chan struct{}     // signalled when held shrinks
	most    int               // bound of held
}

type heldKey struct {
	partition int
	id        string
}

func newLane(d *Dispatcher, l push.Lane, inFlight int, gates map[devices.Platform]*gate) *lane {
	most := 256 + 4*inFlight*max(1, len(gates))
	ln := &lane{
		d:        d,
		lane:     l,
		queues:   make(map[devices.Platform]*queue),
		finished: make(chan *work, most+readMost*d.Partitions.Len()),
		wake:     make(chan struct{}, 1),
		held:     make(map[heldKey]*work),
		room:     make(chan struct{}, 1),
		most:     most,
	}
	for platform, gate := range gates {
		ln.queues[platform] = newQueue(ln, platform, d.Senders[platform], gate, inFlight)
	}
	return ln
}

// nudge says that there may be entries to read. It never blocks.
func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run carries pushes until ctx ends. Then it finishes the attempts that are under
// way, hands the rest back to the outbox, and returns; that takes as long as an
// attempt at most, a third of a lease.
func (d *Dispatcher) Run(ctx context.Context) {
	b := rdb.NewBatcher(d.Redis, 0)
	defer b.Close()
	var all sync.WaitGroup
	all.Go(func() { d.returnDue(ctx, b) })
	all.Go(func() { d.trimDead(ctx) })
	all.Go(func() { d.handOver(ctx) })
	all.Go(func() { d.takeCare(ctx, b) })
	all.Go(func() { d.walkBroadcasts(ctx) })
	for _, l := range d.lanes {
		all.Go(func() { l.run(ctx) })
	}
	for _, r := range d.hooks {
		all.Go(func() { r.run(ctx) })
	}
	all.Wait()
}

func (l *lane) run(ctx context.Context) {
	l.batcher = rdb.NewBatcher(l.d.Redis, 0) // of its own: lanes share no queue
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
	sending.Wait() // every work is finished
	close(l.finished)
	settling.Wait()
}

// read takes entries from the outbox as long as there is room for them.
func (l *lane) read(ctx context.Context) {
	for l.d.createGroups(ctx, l.lane) != nil {
		if !wait(ctx, pause) {
			return
		}
	}
	for {
		free := l.free(ctx)
		if free == 0 {
			return
		}
		messages, err := l.d.read(ctx, l.lane, free)
		if ctx.Err() == nil && err != nil {
			l.d.Log.Error("the outbox cannot be read", "lane", l.lane, "error", err)
			wait(ctx, pause)
			continue
		}
		l.take(ctx, messages)
		if len(messages) > 1 {
			wait(ctx, linger)
		}
	}
}

// free waits until the lane holds fewer entries than it may, and returns how many
// more it may take; 0 when ctx ended.
func (l *lane) free(ctx context.Context) int {
	for {
		l.mu.Lock()
		free := l.most - len(l.held)
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

// keep renews the leases of what the lane holds, and takes over entries whose
// consumer stopped.
func (l *lane) keep(ctx context.Context) {
	for wait(ctx, l.d.keepEvery()) {
		if err := l.renew(ctx); err != nil && ctx.Err() == nil {
			l.d.Log.Warn("leases cannot be renewed", "lane", l.lane, "error", err)
			continue
		}
		messages, err := l.d.claim(ctx, l.batcher, l.lane)
		if err != nil && ctx.Err() == nil {
			l.d.Log.Warn("entries cannot be taken over", "lane", l.lane, "error", err)
		}
		l.take(ctx, messages)
	}
}

// renew renews the leases of the entries that have been held for a while.
func (l *lane) renew(ctx context.Context) error {
	old := time.Now().Add(-l.d.keepEvery() / 2)
	ids := make(map[int][]any)
	l.mu.Lock()
	for key, w := range l.held {
		if w.heldSince.Before(old) {
			ids[key.partition] = append(ids[key.partition], key.id)
		}
	}
	l.mu.Unlock()
	var commands []*rdb.Command
	for p, ids := range ids {
		for len(ids) > 0 {
			n := min(len(ids), readMost)
			commands = append(commands, renewScript.Command(ctx, []string{l.d.outKey(p, l.lane)},
				append([]any{group, l.d.consumer}, ids[:n]...)...))
			ids = ids[n:]
		}
	}
	if len(commands) == 0 {
		return nil
	}
	return l.batcher.Do(ctx, commands...)
}

// take starts the work on entries. Those that it cannot start, because ctx ended,
// are handed back at once.
func (l *lane) take(ctx context.Context, messages []message) {
	works := make([]*work, 0, len(messages))
	for _, m := range messages {
		w, ok := l.hold(m)
		if !ok {
			continue // taken over from ourselves: the work on it goes on
		}
		entry, err := parseEntry(m.value)
		switch {
		case err != nil:
			l.d.Log.Error("an outbox entry cannot be read", "lane", l.lane, "id", m.id, "error", err)
			w.bury("", "unreadable", m.value)
			l.finished <- w
		case m.deliveries > maxTakeOver:
			w.entry = entry
			w.bury(entry.Owed, "poison", m.value)
			l.finished <- w
		default:
			w.entry = entry
			works = append(works, w)
		}
	}
	if len(works) == 0 {
		return
	}
	for {
		err := l.gather(ctx, works)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !wait(ctx, pause) {
			for _, w := range works {
				w.delay(w.entry, 0)
				l.finished <- w
			}
			return
		}
		l.d.Log.Error("devices cannot be looked up", "lane", l.lane, "error", err)
	}
	for _, w := range works {
		l.send(ctx, w)
	}
}

// hold notes an entry as held; it reports false for one that is held already.
func (l *lane) hold(m message) (*work, bool) {
	key := heldKey{m.partition, m.id}
	w := &work{key: key, heldSince: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, held := l.held[key]; held {
		return nil, false
	}
	l.held[key] = w
	return w, true
}

// release forgets settled entries.
func (l *lane) release(works []*work) {
	l.mu.Lock()
	for _, w := range works {
		delete(l.held, w.key)
	}
	l.mu.Unlock()
	select {
	case l.room <- struct{}{}:
	default:
	}
}
