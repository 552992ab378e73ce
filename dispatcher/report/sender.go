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
	maxInFlight   = 16              // attempts under way for one service in this process
	pollEvery     = time.Second     // how often due reports are looked for without a nudge
	maxBackoff    = 2 * time.Hour   // the longest wait between two attempts
	maxPause      = time.Hour       // the longest pause of a service that wants no reports or asks to wait
	settleTimeout = 5 * time.Second // for settling a report
)

// A sender delivers the reports of one service. Each service has its own, so that a slow
// webhook holds up no other service. The sender leases reports: those of a process that
// died are delivered by another one when the lease ends.
type sender struct {
	r       *Reports
	service string
	hook    Hook
	slots   chan struct{} // holds a value for each attempt under way
	wake    chan struct{} // a nudge: there may be reports

	batcher *rdb.Batcher // set by run
	next    int          // the partition to take from next; used by run alone

	mu          sync.Mutex
	pausedUntil time.Time
}

func newSender(r *Reports, service string, hook Hook) *sender {
	hook.RetryFor = min(cmp.Or(hook.RetryFor, retryFor), retryFor)
	hook.Backoff = cmp.Or(hook.Backoff, 5*time.Second)
	s := &sender{r: r, service: service, hook: hook, slots: make(chan struct{}, maxInFlight), wake: make(chan struct{}, 1)}
	s.countDropped("full", 0) // the metric is there before the first report is dropped
	return s
}

// nudge says that there may be reports. It never blocks.
func (s *sender) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// countDropped counts reports that the service will never get.
func (s *sender) countDropped(reason string, n int) {
	s.r.metrics.dropped.WithLabelValues(s.service, reason).Add(float64(n))
	if n > 0 && reason == "full" {
		s.r.log.Warn("too many reports wait: the oldest are dropped", "service", s.service, "dropped", n)
	}
}

// keys returns the first two keys of each script.
func (s *sender) keys(partition int) []string {
	return []string{s.r.streamKey(partition, s.service), s.r.dueKey(partition, s.service)}
}

// put queues a report, to be sent when the delay is over, and returns the id of its entry.
// It queues nothing, and returns "", when there is a key mark; else it sets that key.
// Without a mark ("") it always queues the report.
func (s *sender) put(
	ctx context.Context, b *rdb.Batcher, partition int, delay time.Duration, report *Report, mark string,
) (entry string, err error) {
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
	s.countDropped("full", int(n))
	s.nudge()
	return entry, nil
}

// settleCommand returns the command that removes a report, or delays its next attempt by
// so many milliseconds when delay is not "".
func (s *sender) settleCommand(ctx context.Context, partition int, entry, delay string) *rdb.Command {
	return settleScript.Command(ctx, s.keys(partition), entry, delay)
}

// run sends reports until ctx ends, and waits for the attempts under way.
func (s *sender) run(ctx context.Context) {
	s.batcher = rdb.NewBatcher(s.r.redis, 0)
	defer s.batcher.Close()
	var attempts sync.WaitGroup
	defer attempts.Wait()
	empty := 0 // partitions asked in a row that had no report
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
		if empty += asked; len(leases) > 0 {
			empty = 0
		}
		if empty >= s.r.partitions.Len() || err != nil {
			empty = 0
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

// pause stops sending to the service for t, maxPause at most. It never shortens a pause.
func (s *sender) pause(t time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := s.r.now().Add(min(t, maxPause)); until.After(s.pausedUntil) {
		s.pausedUntil = until
	}
}

// waitForReports waits for a nudge, pollEvery at most.
func (s *sender) waitForReports(ctx context.Context) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-s.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// takeSlots waits for a free slot, takes all that are free, and returns how many it took;
// 0 when ctx ended.
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

// take leases due reports, limit of them at most. It asks up to limit partitions, those
// that were not asked for the longest time, and returns how many it asked. With an error
// there may be leases, too: those of the partitions that answered.
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
		if len(reply)%4 != 0 && err == nil {
			err = rdb.ErrReply
		}
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

// attempt tries to deliver a report and settles it. It finishes even when ctx ends
// meanwhile.
func (s *sender) attempt(ctx context.Context, l lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.hook.Timeout)
	defer cancel()
	answer := s.hook.Client.Deliver(ctx, &l.Report)
	if answer.Outcome == push.Refused || answer.Outcome == push.SlowDown {
		s.pause(cmp.Or(answer.RetryAfter, maxPause))
	}
	delay := ""
	switch again := retryDelay(answer, l.age, s.hook.Backoff); {
	case answer.Outcome == push.Accepted:
		s.r.metrics.sent.WithLabelValues(s.service).Inc()
	case answer.Outcome == push.Refused, l.age+again > s.hook.RetryFor:
		s.countDropped(string(answer.Reason), 1)
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

// retryDelay returns how long a report waits for its next attempt: as long as the service
// asked for, else as long as it has existed, which doubles its age with each attempt; first
// is the shortest such wait. Up to a quarter is added at random, so that reports that
// failed together are not retried together.
func retryDelay(answer push.Result, age, first time.Duration) time.Duration {
	delay := answer.RetryAfter
	if delay == 0 {
		delay = max(first, age)
	}
	delay = min(delay, maxBackoff)
	return delay + rand.N(delay/4+1)
}
