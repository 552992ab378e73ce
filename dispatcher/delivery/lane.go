package delivery

import (
	"context"
	"slices"
	"sync"
	"time"

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

// A lane delivers the entries of one lane: readers take them from the outbox, a claimer
// takes over the entries of workers that died, queues send them, settlers write the
// outcomes, and a keeper renews the leases until everything is settled.
type lane struct {
	w        *Workers
	lane     push.Lane
	queues   map[push.Route]*queue
	finished chan *task // to the settlers

	batcher *rdb.Batcher // while running; of its own: lanes share no queue
	mu      sync.Mutex
	held    map[outbox.Key]*task // read, not yet settled
	stuck   map[int]int          // by partition: outcomes whose writing has failed
	room    []chan struct{}      // by shard: signalled when held shrinks
	maxHeld int
	shardOf []int // by partition, while running; see outbox.Outbox.Shards
	heldOf  []int // by shard: how many of held
}

func newLane(w *Workers, l push.Lane, inFlight int) *lane {
	maxHeld := maxUnsettled + 4*inFlight*max(1, len(w.apps))
	ln := &lane{
		w:        w,
		lane:     l,
		queues:   make(map[push.Route]*queue),
		finished: make(chan *task, maxHeld+w.Outbox.MaxRead()),
		held:     make(map[outbox.Key]*task),
		stuck:    make(map[int]int),
		maxHeld:  maxHeld,
	}
	for route, a := range w.apps {
		ln.queues[route] = newQueue(ln, a, inFlight)
	}
	return ln
}

func (l *lane) run(ctx context.Context) {
	l.batcher = rdb.NewBatcher(l.w.Redis, 0)
	defer l.batcher.Close()
	shards := l.w.Outbox.Shards(ctx)
	l.shardOf, l.heldOf = shardOf(shards), make([]int, len(shards))
	l.room = make([]chan struct{}, len(shards))
	for i := range l.room {
		l.room[i] = make(chan struct{}, 1)
	}
	unsettled, allSettled := context.WithCancel(context.Background())
	var intake, settling, keeping sync.WaitGroup
	keeping.Go(func() { l.keep(unsettled) })
	settling.Go(func() { l.settle(unsettled) })
	for i := range shards {
		others := slices.Concat(slices.Delete(slices.Clone(shards), i, i+1)...)
		intake.Go(func() { l.read(ctx, i, others) })
	}
	intake.Go(func() { l.claim(ctx) })

	intake.Wait() // no new jobs after this
	for _, q := range l.queues {
		q.close()
	}
	// Every task is finished by now.
	close(l.finished)
	late := time.AfterFunc(settleTimeout, allSettled)
	settling.Wait()
	late.Stop()
	allSettled()
	keeping.Wait()
}

// shardOf returns the shard of each partition.
func shardOf(shards [][]int) []int {
	of := make([]int, len(slices.Concat(shards...)))
	for i, partitions := range shards {
		for _, p := range partitions {
			of[p] = i
		}
	}
	return of
}

// read takes entries from the outbox while there is room for them. It leaves out the
// partitions of other readers.
func (l *lane) read(ctx context.Context, shard int, others []int) {
	for {
		free := l.free(ctx, shard)
		if free == 0 {
			return
		}
		messages, err := l.w.Outbox.Read(ctx, l.lane, free, append(l.blocked(), others...)...)
		l.take(ctx, messages)
		switch {
		case err != nil && ctx.Err() == nil:
			l.w.Log.Error("the outbox cannot be read", "lane", l.lane, "error", err)
			rdb.Sleep(ctx, redisPause)
		case len(messages) > 1:
			rdb.Sleep(ctx, linger)
		}
	}
}

// free waits until the lane holds fewer entries than it may, and returns how many more
// it may take; 0 when ctx ended.
func (l *lane) free(ctx context.Context, shard int) int {
	for {
		free := l.freeNow(shard)
		if ctx.Err() != nil {
			return 0
		}
		if free > 0 {
			return free
		}
		select {
		case <-l.room[shard]:
		case <-ctx.Done():
		}
	}
}

// freeNow returns how many more entries the lane may hold of a shard. No shard takes more
// than half of the room, so that one that hangs leaves some for the others.
func (l *lane) freeNow(shard int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := l.maxHeld - len(l.held)
	if len(l.heldOf) > 1 {
		free = min(free, l.maxHeld/2-l.heldOf[shard])
	}
	return free
}

// blocked returns the partitions with many outcomes that cannot be written. Readers take no
// entries from them, so that they do not fill the room that other partitions need.
func (l *lane) blocked() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var partitions []int
	for p, n := range l.stuck {
		if n >= max(1, l.maxHeld/(2*len(l.shardOf))) {
			partitions = append(partitions, p)
		}
	}
	return partitions
}

// keep renews the leases of the lane's entries until ctx ends. So no process takes over
// from a live one, however long an outcome cannot be written. After an error keep retries
// soon, because other processes may take over half a lease after Redis is back.
func (l *lane) keep(ctx context.Context) {
	every := l.w.Outbox.RenewEvery()
	for wait := every; rdb.Sleep(ctx, wait); {
		wait = every
		if err := l.w.Outbox.Renew(ctx, l.batcher, l.lane, l.heldFor(every/2)); err != nil && ctx.Err() == nil {
			l.w.Log.Warn("leases cannot be renewed", "lane", l.lane, "error", err)
			wait = min(every, redisPause)
		}
	}
}

// claim takes over entries whose consumers stopped.
func (l *lane) claim(ctx context.Context) {
	claimer := l.w.Outbox.NewClaimer(l.lane)
	for {
		held := l.heldNow()
		messages, err := claimer.Claim(ctx, l.batcher, l.blocked()...)
		if err != nil && ctx.Err() == nil {
			l.w.Log.Warn("entries cannot be taken over", "lane", l.lane, "error", err)
		}
		// An entry that was held is this lane's own. It may be settled by now.
		l.take(ctx, slices.DeleteFunc(messages, func(m outbox.Message) bool { return held[m.Key] }))
		if !rdb.Sleep(ctx, l.w.Outbox.RenewEvery()) {
			return
		}
	}
}

// heldNow returns the entries that the lane holds.
func (l *lane) heldNow() map[outbox.Key]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make(map[outbox.Key]bool, len(l.held))
	for key := range l.held {
		held[key] = true
	}
	return held
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

// take starts a task for each entry. It handles each shard separately, so that entries do
// not wait for look-ups on another shard that does not answer.
func (l *lane) take(ctx context.Context, messages []outbox.Message) {
	tasks := l.newTasks(messages)
	if len(tasks) == 0 {
		return
	}
	shards := make(map[string][]*task, 1)
	for _, t := range tasks {
		shard, _ := l.batcher.ShardOf(ctx, l.w.Devices.ListKey(t.entry.User)) // the look-up reports the error
		shards[shard] = append(shards[shard], t)
	}
	var all sync.WaitGroup
	for _, tasks := range shards {
		start := func() {
			for _, t := range l.prefetch(ctx, tasks) {
				l.send(ctx, t)
			}
		}
		if len(shards) == 1 {
			start()
			return
		}
		all.Go(start)
	}
	all.Wait()
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
		if err != nil {
			l.w.Log.Error("an outbox entry cannot be read", "lane", l.lane, "id", m.ID, "error", err)
			t.bury("", push.Route{}, push.ReasonUnreadable, m.Value)
			l.finished <- t
			continue
		}
		t.entry, t.poison, t.again = entry, m.Deliveries > maxDeliveries, m.Deliveries > 1 || entry.Attempt > 0
		if entry.Dismisses() {
			l.w.beginDismissal(entry)
		}
		tasks = append(tasks, t)
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
	l.heldOf[l.shardOf[key.Partition]]++
	return t, true
}

// signal tells the readers that there may be room.
func (l *lane) signal() {
	for _, room := range l.room {
		select {
		case room <- struct{}{}:
		default:
		}
	}
}
