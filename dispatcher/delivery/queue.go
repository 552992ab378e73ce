package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	maxOwners    = 64                     // owner records read in one round trip
	queueTimeout = 500 * time.Millisecond // how long the reader waits for a full queue, once
	// registeringDelay is how long a push waits for its device's registration.
	registeringDelay = 500 * time.Millisecond
	busyDelay        = 10 * time.Second // after which a push that a full queue turned away comes again
)

// A job is one push to one device.
type job struct {
	task     *task
	device   devices.Device
	delivery push.Delivery
}

// A queue is one lane's way to one provider. It sends at most cap(slots) pushes at a
// time.
type queue struct {
	lane    *lane
	sender  push.Sender
	breaker *breaker
	jobs    chan *job
	slots   chan struct{}

	mu    sync.Mutex // of the reader and the keeper, which both put
	stuck bool       // the queue stayed full for longer than queueTimeout
}

func newQueue(l *lane, sender push.Sender, breaker *breaker, inFlight int) *queue {
	return &queue{
		lane:    l,
		sender:  sender,
		breaker: breaker,
		jobs:    make(chan *job, 2*inFlight),
		slots:   make(chan struct{}, inFlight),
	}
}

// put queues a job. It waits for a full queue; when the queue does not move, for instance
// because the provider hangs, jobs are turned away so that the other provider's do not
// wait behind them.
func (q *queue) put(ctx context.Context, j *job) {
	if ctx.Err() == nil && q.enqueue(ctx, j) {
		return
	}
	r := push.Result{Outcome: push.Later, Reason: push.ReasonBusy, RetryAfter: busyDelay}
	if ctx.Err() != nil {
		r = push.Result{Outcome: push.Later, Reason: push.ReasonStopping}
	}
	q.lane.finish(j, r, false)
}

func (q *queue) enqueue(ctx context.Context, j *job) bool {
	q.mu.Lock() // the keeper may wait for the reader here, but no longer than queueTimeout
	defer q.mu.Unlock()
	select {
	case q.jobs <- j:
		q.stuck = false
		return true
	default:
	}
	if q.stuck {
		return false
	}
	timer := time.NewTimer(queueTimeout)
	defer timer.Stop()
	select {
	case q.jobs <- j:
		return true
	case <-timer.C:
		q.stuck = true
	case <-ctx.Done():
	}
	return false
}

// run sends the queued jobs until the queue is closed, and waits for the attempts.
func (q *queue) run(ctx context.Context) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	for first := range q.jobs {
		batch := q.collect(first)
		if ctx.Err() != nil {
			q.giveBack(batch, push.Result{Outcome: push.Later, Reason: push.ReasonStopping})
			continue
		}
		for _, j := range q.owned(ctx, q.admitted(batch)) {
			attempts.Go(func() { q.attempt(ctx, j) })
		}
	}
}

// collect returns first and what else is queued, as many as there are free slots, and
// takes the slots. When there was none at first it lingers, so that the next look-up of
// owners is for several.
func (q *queue) collect(first *job) []*job {
	select {
	case q.slots <- struct{}{}:
	default:
		q.slots <- struct{}{}
		time.Sleep(linger)
	}
	batch := append(make([]*job, 0, maxOwners), first)
	for len(batch) < maxOwners {
		select {
		case q.slots <- struct{}{}:
		default:
			return batch
		}
		select {
		case j, ok := <-q.jobs:
			if !ok {
				<-q.slots
				return batch
			}
			batch = append(batch, j)
		default:
			<-q.slots
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

// owned returns the jobs whose device still belongs to the receiver (G4): the owner
// records are read here, just before the attempts.
func (q *queue) owned(ctx context.Context, batch []*job) []*job {
	if len(batch) == 0 {
		return nil
	}
	list := make([]devices.Device, len(batch))
	for i, j := range batch {
		list[i] = j.device
	}
	owners, err := q.lane.w.Devices.Owners(ctx, list)
	if err != nil {
		q.lane.w.Log.Error("device owners cannot be read", "lane", q.lane.lane, "error", err)
		q.breaker.release()
		q.giveBack(batch, push.Result{Outcome: push.Later, Reason: push.ReasonRedis, RetryAfter: redisPause})
		return nil
	}
	own := batch[:0]
	for i, j := range batch {
		if owners[i].Owns(j.task.entry.User, j.device) {
			own = append(own, j)
			continue
		}
		q.breaker.release()
		q.giveBack([]*job{j}, q.disowned(ctx, j, owners[i]))
	}
	return own
}

// disowned decides about a push whose device belongs to somebody else, or to a newer
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
	return push.Result{Outcome: push.Forget, Reason: push.ReasonMoved}
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
