package live

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	// countDelay is how long changes are collected before they are counted, so that
	// a burst of changes causes one frame.
	countDelay = 30 * time.Millisecond
	// countWorkers is how many users are counted at the same time.
	countWorkers = 16
)

// A countQueue recounts the unreads of users for whom they may have changed, and sends the
// numbers to their sockets.
type countQueue struct {
	counters Counters
	log      *slog.Logger
	wake     chan struct{} // capacity 1

	mu   mutex[countQueueLock]
	list []*userSockets
}

func newCountQueue(counters Counters, log *slog.Logger) *countQueue {
	return &countQueue{counters: counters, log: log, wake: make(chan struct{}, 1)}
}

// add requests that a user's unreads are counted and sent to all of their sockets.
// It does not wait.
func (q *countQueue) add(u *userSockets) {
	u.changes.Add(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if u.counting {
		return
	}
	u.counting = true
	q.list = append(q.list, u)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run carries out the requested counts until ctx ends.
func (q *countQueue) run(ctx context.Context) {
	for {
		select {
		case <-q.wake:
		case <-ctx.Done():
			return
		}
		if !rdb.Sleep(ctx, countDelay) {
			return
		}
		q.countAll(ctx, q.take())
	}
}

// take empties the queue, and returns the users that were in it.
func (q *countQueue) take() []*userSockets {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := q.list
	q.list = nil
	for _, u := range due {
		u.counting = false // a change from now on is counted again
	}
	return due
}

// countAll counts for several users at once. It waits for all of them, so that the
// frames of one user are sent in order.
func (q *countQueue) countAll(ctx context.Context, due []*userSockets) {
	next := make(chan *userSockets)
	var workers sync.WaitGroup
	for range min(countWorkers, len(due)) {
		workers.Go(func() {
			for u := range next {
				q.countFor(ctx, u)
			}
		})
	}
	for _, u := range due {
		next <- u
	}
	close(next)
	workers.Wait()
}

// countFor counts a user's unreads and sends them. It requests another count after an error,
// and when a frame has told newer numbers meanwhile: what was counted may be older.
func (q *countQueue) countFor(ctx context.Context, u *userSockets) {
	if u.empty() {
		return
	}
	version := u.changes.Load()
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	unreads, err := q.counters.Unreads(request, u.id)
	if err != nil {
		if ctx.Err() == nil {
			q.log.Warn("unreads cannot be counted", "error", err)
			rdb.Sleep(ctx, minRetryDelay)
			q.add(u)
		}
		return
	}
	n := numbers{frame: unreadsFrame(unreads), version: version}
	newest := true
	u.each(func(s *socket) { newest = s.offerNumbers(n) && newest })
	if !newest {
		q.add(u)
	}
}
