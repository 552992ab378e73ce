package report

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
	maxInFlight   = 16              // attempts under way for one service, in this process
	pollEvery     = time.Second     // how often reports that became due are looked for
	maxBackoff    = 2 * time.Hour   // the longest wait between two attempts
	maxPause      = time.Hour       // of a service that wants no reports, or asks to wait
	settleTimeout = 5 * time.Second // for settling a report
)

// A sender delivers one service's reports. Those of each partition wait in Redis; a
// process that takes one leases it, so that nothing is lost when the process dies. Each
// service has a sender of its own, so that none waits for another's.
type sender struct {
	r       *Reports
	service string
	hook    Hook
	slots   chan struct{}
	wake    chan struct{} // a nudge: there may be reports

	batcher *rdb.Batcher // while running
	next    int          // partition to look at; of run alone

	mu          sync.Mutex
	pausedUntil time.Time
}

func newSender(r *Reports, service string, hook Hook) *sender {
	hook.RetryFor = min(cmp.Or(hook.RetryFor, retryFor), retryFor)
	hook.Backoff = cmp.Or(hook.Backoff, 5*time.Second)
	s := &sender{r: r, service: service, hook: hook, slots: make(chan struct{}, maxInFlight), wake: make(chan struct{}, 1)}
	s.dropped("full", 0) // so that the metric is there before the first one
	return s
}

// nudge says that there may be reports. It never blocks.
func (s *sender) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) dropped(reason string, n int) {
	s.r.metrics.dropped.WithLabelValues(s.service, reason).Add(float64(n))
	if n > 0 && reason == "full" {
		s.r.log.Warn("too many reports wait: the oldest are dropped", "service", s.service, "dropped", n)
	}
}

func (s *sender) keys(partition int) []string {
	return []string{s.r.streamKey(partition, s.service), s.r.dueKey(partition, s.service)}
}

// put queues a report, to be sent after a delay at the earliest, and returns the id of
// its entry. Of reports with the same mark, a key or "", only the first is queued.
func (s *sender) put(ctx context.Context, b *rdb.Batcher, partition int, delay time.Duration, report *Report, mark string) (entry string, err error) {
	keys := s.keys(partition)
	if mark != "" {
		keys = append(keys, mark)
	}
	c := putScript.Command(ctx, keys,
		maxQueued, keepFor.Milliseconds(), delay.Milliseconds(), report.ID, report.Body)
	if err := b.Do(ctx, c); err != nil {
		return "", fmt.Errorf("queue report: %w", err)
	}
	reply, err := c.Slice()
	if err != nil {
		return "", fmt.Errorf("queue report: %w", err)
	}
	if len(reply) != 2 {
		return "", fmt.Errorf("queue report: %w", rdb.ErrReply)
	}
	entry, _ = reply[0].(string)
	n, _ := reply[1].(int64)
	s.dropped("full", int(n))
	s.nudge()
	return entry, nil
}

// settleCommand removes a report, or delays it by so many milliseconds.
func (s *sender) settleCommand(ctx context.Context, partition int, entry, delay string) *rdb.Command {
	return settleScript.Command(ctx, s.keys(partition), entry, delay)
}

// run sends reports until ctx ends, and waits for the attempts under way.
func (s *sender) run(ctx context.Context) {
	s.batcher = rdb.NewBatcher(s.r.redis, 0)
	defer s.batcher.Close()
	var attempts sync.WaitGroup
	defer attempts.Wait()
	seen := 0 // partitions without a report, in a row
	for s.waitForPause(ctx) {
		free := s.takeSlots(ctx)
		if free == 0 {
			return
		}
		leases, asked, err := s.take(ctx, free)
		if err != nil && ctx.Err() == nil {
			s.r.log.Warn("reports cannot be read", "service", s.service, "error", err)
		}
		for range free - len(leases) {
			<-s.slots
		}
		for _, l := range leases {
			attempts.Go(func() {
				s.attempt(ctx, l)
				<-s.slots
			})
		}
		if seen += asked; len(leases) > 0 {
			seen = 0
		}
		if seen >= s.r.partitions.Len() || err != nil {
			seen = 0
			s.waitForReports(ctx)
		}
	}
}

// waitForPause waits until the service's pause is over. It reports false when ctx ended.
func (s *sender) waitForPause(ctx context.Context) bool {
	for ctx.Err() == nil {
		s.mu.Lock()
		left := s.pausedUntil.Sub(s.r.now())
		s.mu.Unlock()
		if left <= 0 {
			return true
		}
		rdb.Sleep(ctx, min(left, time.Minute))
	}
	return false
}

// pause stops sending to the service for a while.
func (s *sender) pause(t time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := s.r.now().Add(min(t, maxPause)); until.After(s.pausedUntil) {
		s.pausedUntil = until
	}
}

// waitForReports waits for a nudge or a moment.
func (s *sender) waitForReports(ctx context.Context) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-s.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// takeSlots takes all slots that are free, waiting for the first, and returns how many; 0
// when ctx ended.
func (s *sender) takeSlots(ctx context.Context) int {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; ; n++ {
		select {
		case s.slots <- struct{}{}:
		default:
			return n
		}
	}
}

// A lease is a report that this process has taken.
type lease struct {
	Report
	partition int
	entry     string
	age       time.Duration
}

// take leases reports that are due, limit of them at most, from as many partitions as may
// have one each, and says how many partitions those were.
func (s *sender) take(ctx context.Context, limit int) (leases []lease, asked int, err error) {
	n := s.r.partitions.Len()
	asked = min(n, limit)
	commands, partitions := make([]*rdb.Command, asked), make([]int, asked)
	for i := range commands {
		p := (s.next + i) % n
		partitions[i] = p
		commands[i] = takeScript.Command(ctx, s.keys(p), limit/asked, (3 * s.hook.Timeout).Milliseconds())
	}
	s.next = (s.next + asked) % n
	err = s.batcher.Do(ctx, commands...)
	for i, c := range commands {
		reply, _ := c.Slice() // its error is in err
		for ; len(reply) >= 4; reply = reply[4:] {
			l := lease{partition: partitions[i]}
			l.entry, _ = reply[0].(string)
			age, _ := reply[1].(int64)
			l.age = time.Duration(age) * time.Millisecond
			l.ID, _ = reply[2].(string)
			body, _ := reply[3].(string)
			l.Body = []byte(body)
			leases = append(leases, l)
		}
	}
	return leases, asked, err
}

// attempt tries to deliver a report and settles it. An attempt that began is finished
// even when the process is to stop.
func (s *sender) attempt(ctx context.Context, l lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.hook.Timeout)
	defer cancel()
	answer := s.hook.Client.Deliver(ctx, &l.Report)
	if answer.Outcome == push.Forget || answer.Outcome == push.SlowDown {
		s.pause(cmp.Or(answer.RetryAfter, maxPause))
	}
	delay := ""
	switch again := retryDelay(answer, l.age, s.hook.Backoff); {
	case answer.Outcome == push.Accepted:
		s.r.metrics.sent.WithLabelValues(s.service).Inc()
	case answer.Outcome == push.Forget, l.age+again > s.hook.RetryFor:
		s.dropped(string(answer.Reason), 1)
		s.r.log.Error("a report is dropped: the service did not take it",
			"service", s.service, "id", l.ID, "reason", answer.Reason, "age", l.age)
	default:
		s.r.metrics.retried.WithLabelValues(s.service, string(answer.Reason)).Inc()
		delay = strconv.FormatInt(again.Milliseconds(), 10)
	}
	settle, stop := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer stop()
	if err := s.batcher.Do(settle, s.settleCommand(settle, l.partition, l.entry, delay)); err != nil {
		s.r.log.Warn("a report cannot be settled, and is sent again", "service", s.service, "id", l.ID, "error", err)
	}
}

// retryDelay is how long a report waits for its next attempt: what the service asks for,
// else until it is twice as old, which makes the waits grow exponentially; and a little
// more, so that reports that failed together do not come back together.
func retryDelay(answer push.Result, age, first time.Duration) time.Duration {
	delay := answer.RetryAfter
	if delay == 0 {
		delay = max(first, age)
	}
	delay = min(delay, maxBackoff)
	return delay + rand.N(delay/4+1)
}
