package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	maxOwners    = 64                     // owner records read in one round trip
	queueTimeout = 500 * time.Millisecond // how long the reader waits for a full queue, once
	// registeringDelay is how long a push waits for its device's registration.
	registeringDelay = 500 * time.Millisecond
	busyDelay        = 10 * time.Second // how long a push waits that a full queue turned away
)

// A job is one push to one device.
type job struct {
	task     *task
	device   devices.Device
	delivery push.Delivery
}

// A queue holds the jobs of one lane for one provider. It sends at most cap(slots) pushes
// at a time.
type queue struct {
	lane    *lane
	sender  push.Sender
	breaker *breaker
	batcher *rdb.Batcher // reads owner records; not shared, so that they do not wait behind other commands
	slots   chan struct{}
	sending sync.WaitGroup // goroutines of the lines

	mu    sync.Mutex
	lines map[string]*line
}

// A line holds the jobs of a queue whose owner records lie on one shard. A shard that does
// not answer blocks only its own line, and at most that line's share of the queue's slots.
type line struct {
	*queue
	jobs     chan *job
	attempts sync.WaitGroup

	mu    sync.Mutex // held by enqueue, which readers and the claimer call
	stuck bool       // the line stayed full for longer than queueTimeout
}

func newQueue(l *lane, sender push.Sender, breaker *breaker, inFlight int) *queue {
	return &queue{
		lane:    l,
		sender:  sender,
		breaker: breaker,
		batcher: rdb.NewBatcher(l.w.Redis, 0),
		slots:   make(chan struct{}, inFlight),
		lines:   make(map[string]*line),
	}
}

// close sends the queued jobs and waits for the attempts. No job may be put after it was
// called.
func (q *queue) close() {
	for _, l := range q.lines {
		close(l.jobs)
	}
	q.sending.Wait()
	q.batcher.Close()
}

// line returns the line of a job. A line runs until close.
func (q *queue) line(ctx context.Context, j *job) *line {
	shard, _ := q.batcher.ShardOf(ctx, q.lane.w.Devices.OwnerKey(j.device)) // the owner check reports the error
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[shard]
	if l == nil {
		// All lines together hold far fewer jobs than the lane may hold.
		l = &line{queue: q, jobs: make(chan *job, max(1, 2*cap(q.slots)/(len(q.lines)+1)))}
		q.lines[shard] = l
		q.sending.Go(func() { l.run(ctx) })
	}
	return l
}

// share returns how many slots a line may take while it reads owner records.
func (q *queue) share() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return min(maxOwners, max(1, cap(q.slots)/len(q.lines)))
}

// put queues a job. It waits while the line is full. When the line does not move, for
// example because the provider hangs, put returns jobs to the outbox, so that jobs of the
// other provider do not wait behind them.
func (q *queue) put(ctx context.Context, j *job) {
	if ctx.Err() == nil && q.line(ctx, j).enqueue(ctx, j) {
		return
	}
	r := push.Result{Outcome: push.Later, Reason: push.ReasonBusy, RetryAfter: busyDelay}
	if ctx.Err() != nil {
		r = push.Result{Outcome: push.Later, Reason: push.ReasonStopping}
	}
	q.lane.finish(j, r, false)
}

func (l *line) enqueue(ctx context.Context, j *job) bool {
	l.mu.Lock() // callers may wait for each other here, but at most for queueTimeout
	defer l.mu.Unlock()
	select {
	case l.jobs <- j:
		l.stuck = false
		return true
	default:
	}
	if l.stuck {
		return false
	}
	timer := time.NewTimer(queueTimeout)
	defer timer.Stop()
	select {
	case l.jobs <- j:
		return true
	case <-timer.C:
		l.stuck = true
	case <-ctx.Done():
	}
	return false
}

// run sends the queued jobs until the line is closed, and waits for the attempts.
func (l *line) run(ctx context.Context) {
	defer l.attempts.Wait()
	for first := range l.jobs {
		batch := l.collect(first)
		if ctx.Err() != nil {
			l.giveBack(batch, push.Result{Outcome: push.Later, Reason: push.ReasonStopping})
			continue
		}
		for _, j := range l.owned(ctx, l.admitted(batch)) {
			l.attempts.Go(func() { l.attempt(ctx, j) })
		}
	}
}

// collect returns first and further queued jobs, as many as there are free slots, and takes
// the slots. If no slot is free it waits for one and lingers, so that the owners of several
// jobs are read in one round trip.
func (l *line) collect(first *job) []*job {
	select {
	case l.slots <- struct{}{}:
	default:
		l.slots <- struct{}{}
		time.Sleep(linger)
	}
	most := l.share()
	batch := append(make([]*job, 0, most), first)
	for len(batch) < most {
		select {
		case l.slots <- struct{}{}:
		default:
			return batch
		}
		select {
		case j, ok := <-l.jobs:
			if !ok {
				<-l.slots
				return batch
			}
			batch = append(batch, j)
		default:
			<-l.slots
			return batch
		}
	}
	return batch
}

// giveBack finishes jobs without an attempt and frees their slots.
func (q *queue) giveBack(batch []*job, r push.Result) {
	for _, j := range batch {
		<-q.slots
		q.lane.finish(j, r, false)
	}
}

// admitted returns the jobs that the circuit breaker lets through, and delays the others.
func (q *queue) admitted(batch []*job) []*job {
	through := batch[:0]
	for _, j := range batch {
		if wait, reason := q.breaker.admit(q.lane.lane); wait > 0 {
			q.giveBack([]*job{j}, push.Result{Outcome: push.Later, Reason: reason, RetryAfter: wait})
			continue
		}
		through = append(through, j)
	}
	return through
}

// owned returns the jobs whose device still belongs to the receiver (G4). It reads the
// owner records just before the attempts. A record that cannot be read delays only its own
// job.
func (l *line) owned(ctx context.Context, batch []*job) []*job {
	commands := make([]*rdb.Command, len(batch))
	for i, j := range batch {
		commands[i] = rdb.NewCommand(ctx, "get", l.lane.w.Devices.OwnerKey(j.device))
	}
	_ = l.batcher.Do(ctx, commands...) // each command holds its own error
	own := batch[:0]
	var failed error
	for i, j := range batch {
		owner, err := devices.ReadOwner(commands[i])
		if err == nil && owner.Owns(j.task.entry.User, j.device) {
			own = append(own, j)
			continue
		}
		l.breaker.release()
		if err != nil {
			l.giveBack([]*job{j}, unknownOwner(ctx, err))
			failed = err
			continue
		}
		<-l.slots
		l.attempts.Go(func() { l.lane.finish(j, l.disowned(ctx, j, owner), false) })
	}
	if failed != nil && ctx.Err() == nil {
		l.lane.w.Log.Error("device owners cannot be read", "lane", l.lane.lane, "error", failed)
	}
	return own
}

// unknownOwner returns the result of a push whose owner record cannot be read.
func unknownOwner(ctx context.Context, err error) push.Result {
	r := push.Result{Outcome: push.Later, Reason: push.ReasonRedis, RetryAfter: redisPause}
	switch {
	case ctx.Err() != nil:
		r = push.Result{Outcome: push.Later, Reason: push.ReasonStopping}
	case errors.Is(err, rdb.ErrSilent): // each further read would cost commands on healthy shards
		r.RetryAfter = busyDelay
	}
	return r
}

// disowned returns the result of a push whose device belongs to another user, or to a newer
// registration.
func (q *queue) disowned(ctx context.Context, j *job, owner devices.Owner) push.Result {
	user, w := j.task.entry.User, q.lane.w
	if owner.User == user && w.redisNow(j.task).Sub(time.UnixMicro(owner.Generation)) < settleTimeout {
		// The same user is registering the device anew at this moment.
		return push.Result{Outcome: push.Later, Reason: push.ReasonRegistering, RetryAfter: registeringDelay}
	}
	if err := w.Devices.Unlist(ctx, user, j.device); err != nil {
		w.Log.Warn("a device that has another owner cannot be unlisted", "error", err)
	}
	return push.Result{Outcome: push.DeadToken, Reason: push.ReasonMoved}
}

// attempt makes one attempt and frees its slot.
func (q *queue) attempt(ctx context.Context, j *job) {
	w := q.lane.w
	started := w.Now()
	// An attempt that began is finished even when the process is to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.attemptTimeout())
	defer cancel()
	r := q.sender.Send(ctx, &j.delivery)
	<-q.slots
	q.breaker.report(q.lane.lane, started, &r)
	if r.Outcome == push.Accepted {
		if at, err := model.IDTime(j.task.entry.ID); err == nil {
			w.metrics.latency.WithLabelValues(q.lane.lane.String()).Observe(w.redisNow(j.task).Sub(at).Seconds())
		}
	}
	q.lane.finish(j, r, true)
}
