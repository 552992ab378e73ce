package delivery

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	queueTimeout = 500 * time.Millisecond // how long the reader waits for a full queue, once
	// registeringDelay is how long a push waits for its device's registration.
	registeringDelay = 500 * time.Millisecond
	// maxRateWait bounds how long pushes wait that find a device's budget used up: the
	// longer, the older they are, so that many of them cost little.
	maxRateWait = time.Minute
	busyDelay   = 10 * time.Second // how long a push waits that a full queue turned away
)

// A job is one push to one device.
type job struct {
	task     *task
	device   devices.Device
	route    push.Route
	app      *app // of the route; nil without a sender
	delivery push.Delivery
	telling  *model.Telling // what the push tells the device of what was read; or nil
	started  time.Time      // of the newest request, by Redis' clock; zero: none was made
}

// A queue holds the jobs of one lane for one route. It sends at most cap(slots) pushes
// at a time.
type queue struct {
	lane    *lane
	app     *app
	batcher *rdb.Batcher // checks owners; not shared, so that they do not wait behind other commands
	slots   chan struct{}
	sending sync.WaitGroup // goroutines of the lines

	mu      sync.Mutex
	lines   map[string]*line
	checked *sync.Cond // an attempt has passed its check, or failed
}

// A line holds the jobs of a queue whose owner records lie on one shard. A shard that does
// not answer blocks only its own line, and at most that line's share of the queue's slots.
type line struct {
	*queue
	jobs     chan *job
	attempts sync.WaitGroup
	logged   atomic.Int64 // the second of the newest log line about owners
	checking int          // attempts that have not passed their check; guarded by the queue's mu

	mu    sync.Mutex // held by enqueue, which readers and the claimer call
	stuck bool       // the line stayed full for longer than queueTimeout
}

func newQueue(l *lane, a *app, inFlight int) *queue {
	q := &queue{
		lane:    l,
		app:     a,
		batcher: rdb.NewBatcher(l.w.Redis, 0),
		slots:   make(chan struct{}, inFlight),
		lines:   make(map[string]*line),
	}
	q.checked = sync.NewCond(&q.mu)
	return q
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

// share returns how many attempts of a line may wait for their checks. The caller holds mu.
func (q *queue) share() int { return max(1, cap(q.slots)/len(q.lines)) }

// put queues a job. It waits while the line is full. When the line does not move, for
// example because the provider hangs, put returns jobs to the outbox, so that jobs of the
// other provider do not wait behind them.
func (q *queue) put(ctx context.Context, j *job) {
	if ctx.Err() == nil && q.line(ctx, j).enqueue(ctx, j) {
		return
	}
	r := push.Result{Outcome: push.Later, Reason: push.ReasonBusy, RetryAfter: busyDelay}
	if ctx.Err() != nil {
		r = stopping
	}
	q.lane.unsent(j, r)
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

// stopping is the result of a push that was not sent because the process stops.
var stopping = push.Result{Outcome: push.Later, Reason: push.ReasonStopping}

// run sends the queued jobs until the line is closed, and waits for the attempts.
func (l *line) run(ctx context.Context) {
	defer l.attempts.Wait()
	for j := range l.jobs {
		select {
		case l.slots <- struct{}{}:
		default:
			l.slots <- struct{}{}
			time.Sleep(linger) // so that several attempts begin together, and check owners in one round trip
		}
		if ctx.Err() != nil {
			l.giveBack(j, stopping)
			continue
		}
		e := j.task.entry
		a := l.app.admit(l.lane.lane, e.User, e.Waits == string(push.ReasonCircuitOpen))
		if a.wait > 0 {
			l.giveBack(j, push.Result{Outcome: push.Later, Reason: a.reason, RetryAfter: a.wait})
			continue
		}
		l.beginCheck()
		l.attempts.Go(func() { l.attempt(ctx, j) })
	}
}

// giveBack finishes a job without an attempt and frees its slot.
func (q *queue) giveBack(j *job, r push.Result) {
	<-q.slots
	q.lane.unsent(j, r)
}

// beginCheck waits until the line may have another attempt that has not passed its check:
// if this line's shard does not answer, the attempts of other lines find slots.
func (l *line) beginCheck() {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	for l.checking >= l.share() {
		l.checked.Wait()
	}
	l.checking++
}

func (l *line) endCheck() {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	l.checking--
	l.checked.Broadcast()
}

// attempt makes one attempt and frees its slot.
func (l *line) attempt(ctx context.Context, j *job) {
	w := l.lane.w
	endCheck := sync.OnceFunc(l.endCheck)
	j.delivery.Check = func(ctx context.Context) error {
		err := l.check(ctx, j)
		endCheck()
		return err
	}
	// The context bounds what the attempt waits for. A request that was made is finished
	// even when the process is to stop.
	wait, cancel := context.WithTimeout(ctx, w.waitTimeout())
	r := l.app.sender.Send(wait, &j.delivery)
	cancel()
	endCheck()
	<-l.slots
	if r.Outcome == push.Unsent || j.started.IsZero() && ctx.Err() != nil {
		l.lane.unsent(j, l.unsentResult(ctx, r.Err))
		return
	}
	if r.Outcome == push.Later && j.started.IsZero() {
		r.Lost = true // so that it waits shortly: it only waited for a place or a connection
	}
	if r.Outcome == push.Refused && j.started.IsZero() { // by the SDK: the provider said nothing
		l.lane.answered(j, r)
		return
	}
	l.report(j, &r)
	if r.Outcome == push.Accepted && !j.task.entry.Dismisses() {
		w.metrics.latency.WithLabelValues(l.lane.lane.String()).Observe(w.age(j.task).Seconds())
	}
	if r.Outcome == push.SlowDown && r.Scope != push.ScopeProject {
		l.putOff(j, &r)
	}
	l.lane.answered(j, r)
}

// age returns how long ago the push of a task was accepted.
func (w *Workers) age(t *task) time.Duration {
	at, err := model.IDTime(t.entry.ID)
	if err != nil {
		return 0
	}
	return w.redisNow(t).Sub(at)
}

// putOff has other pushes to the device wait, too: the provider asked to send it less.
func (l *line) putOff(j *job, r *push.Result) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	now := l.lane.w.redisNow(j.task)
	c := l.lane.w.Devices.PutOffCommand(ctx, j.device, now, now.Add(cmp.Or(r.RetryAfter, r.Backoff)))
	if err := l.batcher.Do(ctx, c); err != nil {
		l.lane.w.Log.Warn("a device cannot be put off", "", j.route, "error", err)
	}
}

// errMoved reports that the device belongs to another user, or to a newer registration.
var errMoved = errors.New("the device has another owner")

// A waitError reports that a push may not be sent yet.
type waitError struct {
	reason push.Reason
	wait   time.Duration
}

// Error implements error.
func (e *waitError) Error() string { return "not yet: " + string(e.reason) }

// spare is how many pushes of a device's budget each lane leaves for those above it.
var spare = [len(push.Lanes)]int{push.Urgent: 0, push.Chat: 20, push.Bulk: 60}

// check returns an error unless the device still belongs to the receiver (G4) and may be
// pushed to now. Concurrent checks share a round trip.
func (l *line) check(ctx context.Context, j *job) error {
	w, user := l.lane.w, j.task.entry.User
	c := w.Devices.AdmitCommand(ctx, user, j.device, spare[l.lane.lane])
	_ = l.batcher.Do(ctx, c) // the command holds its error
	owner, wait, err := devices.ReadAdmission(c, w.redisNow(j.task))
	switch {
	case err != nil:
		if second := w.Now().Unix(); ctx.Err() == nil && l.logged.Swap(second) != second {
			w.Log.Error("owners of devices cannot be read", "lane", l.lane.lane.String(), "error", err)
		}
		return err
	case !owner.Owns(user, j.device):
		return l.disowned(ctx, j, owner)
	case wait > 0:
		return &waitError{push.ReasonRate, max(wait, min(w.age(j.task)/4, maxRateWait))}
	}
	j.started = w.redisNow(j.task)
	return nil
}

// disowned returns why a device is not the receiver's. It takes the device off the
// receiver's list, unless the receiver is registering it anew at this moment.
func (l *line) disowned(ctx context.Context, j *job, owner devices.Owner) error {
	user, w := j.task.entry.User, l.lane.w
	if owner.User == user && w.redisNow(j.task).Sub(time.UnixMicro(owner.Generation)) < settleTimeout {
		return &waitError{push.ReasonRegistering, registeringDelay}
	}
	if err := w.Devices.Unlist(ctx, user, j.device); err != nil {
		w.Log.Warn("a device that has another owner cannot be unlisted", "error", err)
	}
	return errMoved
}

// unsentResult returns the result of a push whose check failed with err.
func (l *line) unsentResult(ctx context.Context, err error) push.Result {
	r := push.Result{Outcome: push.Later, Reason: push.ReasonRedis, RetryAfter: redisPause}
	var later *waitError
	switch {
	case ctx.Err() != nil:
		r = stopping
	case errors.Is(err, errMoved):
		r = push.Result{Outcome: push.Unsent, Reason: push.ReasonMoved}
	case errors.As(err, &later):
		r.Reason, r.RetryAfter = later.reason, later.wait
	case errors.Is(err, rdb.ErrSilent): // each further read would cost commands on healthy shards
		r.RetryAfter = busyDelay
	}
	return r
}
