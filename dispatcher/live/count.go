package live

import (
	"context"
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

// A countQueue holds the users whose unreads may have changed.
type countQueue struct {
	wake chan struct{} // capacity 1
	mu   mutex[countQueueLock]
	list []*userSockets
}

// count requests that a user's unreads are counted and sent to all of their sockets.
// It does not wait.
func (h *Hub) count(u *userSockets) {
	u.changes.Add(1)
	h.counts.mu.Lock()
	defer h.counts.mu.Unlock()
	if u.counting {
		return
	}
	u.counting = true
	h.counts.list = append(h.counts.list, u)
	select {
	case h.counts.wake <- struct{}{}:
	default:
	}
}

// countLoop counts what was requested, until ctx ends.
func (h *Hub) countLoop(ctx context.Context) {
	for {
		select {
		case <-h.counts.wake:
		case <-ctx.Done():
			return
		}
		if !rdb.Sleep(ctx, countDelay) {
			return
		}
		h.countAll(ctx, h.counts.take())
	}
}

// take empties the queue, and returns what was in it.
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
func (h *Hub) countAll(ctx context.Context, due []*userSockets) {
	next := make(chan *userSockets)
	var workers sync.WaitGroup
	for range min(countWorkers, len(due)) {
		workers.Go(func() {
			for u := range next {
				h.countFor(ctx, u)
			}
		})
	}
	for _, u := range due {
		next <- u
	}
	close(next)
	workers.Wait()
}

// countFor counts a user's unreads and sends them. After an error it requests
// another count.
func (h *Hub) countFor(ctx context.Context, u *userSockets) {
	if u.empty() {
		return
	}
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	unreads, err := h.Counters.Unreads(request, u.id)
	if err != nil {
		if ctx.Err() == nil {
			h.Log.Warn("unreads cannot be counted", "error", err)
			rdb.Sleep(ctx, minRetryDelay)
			h.count(u)
		}
		return
	}
	frame := unreadsFrame(unreads)
	u.each(func(s *socket) { s.notify(frame) })
}
