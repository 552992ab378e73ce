package dispatcher

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	reportsAtOnce = 16            // attempts under way for one service, in this process
	reportPoll    = time.Second   // how often reports that became due are looked for
	reportBackoff = 2 * time.Hour // the longest wait between two attempts …
	reportPause   = time.Hour     // … and of a service that wants no reports, or asks to wait
)

// A reporter brings one service its reports. Those of each partition wait in Redis
// (report.lua); whoever takes one lends it for a lease, so that nothing is lost with a
// process. Each service has a reporter of its own, so that none waits for another's.
type reporter struct {
	d       *Dispatcher
	service string
	hook    Hook
	slots   chan struct{}
	wake    chan struct{} // a nudge: there may be reports

	batcher *rdb.Batcher // while running
	next    int          // partition to look at; of run alone

	mu    sync.Mutex
	until time.Time // pausing
}

func newReporter(d *Dispatcher, service string, hook Hook) *reporter {
	hook.Timeout = cmp.Or(hook.Timeout, d.attemptFor())
	hook.RetryFor = min(cmp.Or(hook.RetryFor, reportFor), reportFor)
	hook.Backoff = cmp.Or(hook.Backoff, 5*time.Second)
	r := &reporter{d: d, service: service, hook: hook, slots: make(chan struct{}, reportsAtOnce), wake: make(chan struct{}, 1)}
	r.dropped("full", 0) // so that the metric is there before the first one
	return r
}

// nudge says that there may be reports. It never blocks.
func (r *reporter) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) dropped(reason string, n int) {
	r.d.metrics.reportsDropped.WithLabelValues(r.service, reason).Add(float64(n))
	if n > 0 && reason == "full" {
		r.d.Log.Warn("too many reports wait: the oldest are dropped", "service", r.service, "dropped", n)
	}
}

// put queues a report, to be sent after a delay at the earliest, and returns the id of
// its entry. Of reports with the same mark, a key or "", only the first is queued.
func (r *reporter) put(ctx context.Context, b *rdb.Batcher, partition int, delay time.Duration, report *Report, mark string) (entry string, err error) {
	keys := []string{r.d.reportsKey(partition, r.service), r.d.reportsDueKey(partition, r.service)}
	if mark != "" {
		keys = append(keys, mark)
	}
	c := reportPutScript.Command(ctx, keys,
		mostReports, reportKeep.Milliseconds(), delay.Milliseconds(), report.ID, report.Body)
	if err := b.Do(ctx, c); err != nil {
		return "", fmt.Errorf("queue report: %w", err)
	}
	reply, err := c.Slice()
	if err != nil {
		return "", fmt.Errorf("queue report: %w", err)
	}
	if len(reply) == 2 {
		entry, _ = reply[0].(string)
		n, _ := reply[1].(int64)
		r.dropped("full", int(n))
	}
	r.nudge()
	return entry, nil
}

// settleCommand removes a report, or puts it off by so many milliseconds.
func (r *reporter) settleCommand(ctx context.Context, partition int, entry, delay string) *rdb.Command {
	return reportSettleScript.Command(ctx,
		[]string{r.d.reportsKey(partition, r.service), r.d.reportsDueKey(partition, r.service)}, entry, delay)
}

// run sends reports until ctx ends, and waits for the attempts under way.
func (r *reporter) run(ctx context.Context) {
	r.batcher = rdb.NewBatcher(r.d.Redis, 0)
	defer r.batcher.Close()
	var attempts sync.WaitGroup
	defer attempts.Wait()
	seen := 0 // partitions without a report, in a row
	for r.pausing(ctx) {
		free := r.free(ctx)
		if free == 0 {
			return
		}
		loans, asked, err := r.take(ctx, free)
		if err != nil && ctx.Err() == nil {
			r.d.Log.Warn("reports cannot be taken", "service", r.service, "error", err)
		}
		for range free - len(loans) {
			<-r.slots
		}
		for _, l := range loans {
			attempts.Go(func() {
				r.attempt(ctx, l)
				<-r.slots
			})
		}
		if seen += asked; len(loans) > 0 {
			seen = 0
		}
		if seen >= r.d.Partitions.Len() || err != nil {
			seen = 0
			r.rest(ctx)
		}
	}
}

// pausing waits until the service's pause is over, and reports false when ctx ended.
func (r *reporter) pausing(ctx context.Context) bool {
	for ctx.Err() == nil {
		r.mu.Lock()
		left := r.until.Sub(r.d.Now())
		r.mu.Unlock()
		if left <= 0 {
			return true
		}
		wait(ctx, min(left, time.Minute))
	}
	return false
}

func (r *reporter) pause(t time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := r.d.Now().Add(min(t, reportPause)); until.After(r.until) {
		r.until = until
	}
}

// rest waits for a nudge or a moment.
func (r *reporter) rest(ctx context.Context) {
	timer := time.NewTimer(reportPoll)
	defer timer.Stop()
	select {
	case <-r.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// free takes all slots that are free, waiting for the first, and returns how many; 0
// when ctx ended.
func (r *reporter) free(ctx context.Context) int {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; ; n++ {
		select {
		case r.slots <- struct{}{}:
		default:
			return n
		}
	}
}

// A loan is a report that this process has taken.
type loan struct {
	Report
	partition int
	entry     string
	age       time.Duration
}

// take takes reports that are due, most of them at the most, from as many partitions
// as may have one each, and says how many those were.
func (r *reporter) take(ctx context.Context, most int) (loans []loan, asked int, err error) {
	n := r.d.Partitions.Len()
	asked = min(n, most)
	commands, partitions := make([]*rdb.Command, asked), make([]int, asked)
	for i := range commands {
		p := (r.next + i) % n
		partitions[i] = p
		commands[i] = reportTakeScript.Command(ctx, []string{r.d.reportsKey(p, r.service), r.d.reportsDueKey(p, r.service)},
			most/asked, (3 * r.hook.Timeout).Milliseconds())
	}
	r.next = (r.next + asked) % n
	err = r.batcher.Do(ctx, commands...)
	for i, c := range commands {
		reply, _ := c.Slice() // its error is in err
		for ; len(reply) >= 4; reply = reply[4:] {
			l := loan{partition: partitions[i]}
			l.entry, _ = reply[0].(string)
			age, _ := reply[1].(int64)
			l.age = time.Duration(age) * time.Millisecond
			l.ID, _ = reply[2].(string)
			body, _ := reply[3].(string)
			l.Body = []byte(body)
			loans = append(loans, l)
		}
	}
	return loans, asked, err
}

// attempt tries to deliver a report and settles what comes of it. An attempt that
// began is finished even when the process is to stop.
func (r *reporter) attempt(ctx context.Context, l loan) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.hook.Timeout)
	defer cancel()
	answer := r.hook.Courier.Deliver(ctx, &l.Report)
	if answer.Outcome == push.Forget || answer.Outcome == push.SlowDown {
		r.pause(cmp.Or(answer.RetryAfter, reportPause))
	}
	delay := ""
	switch again := retryReport(answer, l.age, r.hook.Backoff); {
	case answer.Outcome == push.Accepted:
		r.d.metrics.reportsSent.WithLabelValues(r.service).Inc()
	case answer.Outcome == push.Forget, l.age+again > r.hook.RetryFor:
		r.dropped(answer.Reason, 1)
		r.d.Log.Error("a report is dropped: the service did not take it",
			"service", r.service, "id", l.ID, "reason", answer.Reason, "age", l.age)
	default:
		r.d.metrics.reportsRetried.WithLabelValues(r.service, answer.Reason).Inc()
		delay = strconv.FormatInt(again.Milliseconds(), 10)
	}
	settle, stop := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer stop()
	if err := r.batcher.Do(settle, r.settleCommand(settle, l.partition, l.entry, delay)); err != nil {
		r.d.Log.Warn("a report cannot be settled, and is sent again", "service", r.service, "id", l.ID, "error", err)
	}
}

// retryReport is how long a report waits for its next attempt: what the service asks
// for, else until it is twice as old, which makes the waits grow exponentially; and a
// little more, so that reports that failed together do not come back together.
func retryReport(answer push.Result, age, first time.Duration) time.Duration {
	delay := answer.RetryAfter
	if delay == 0 {
		delay = max(first, age)
	}
	delay = min(delay, reportBackoff)
	return delay + rand.N(delay/4+1)
}
