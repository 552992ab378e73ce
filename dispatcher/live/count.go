package live

import (
	"context"
	"sync"
	"time"
)

// countAfter is how long changes of a user's numbers gather before they are
// counted: a burst leads to one frame.
const countAfter = 30 * time.Millisecond

// counters is how many users are counted for at once.
const counters = 16

// counting are the audiences whose numbers may have changed.
type counting struct {
	wake chan struct{} // capacity 1
	mu   mutex[countingLock]
	list []*audience
}

// count has a user's unreads counted and sent to all of their sockets, soon.
func (h *Hub) count(a *audience) {
	a.changes.Add(1)
	h.counts.mu.Lock()
	defer h.counts.mu.Unlock()
	if a.counting {
		return
	}
	a.counting = true
	h.counts.list = append(h.counts.list, a)
	select {
	case h.counts.wake <- struct{}{}:
	default:
	}
}

// countLoop counts until the hub is over.
func (h *Hub) countLoop(ctx context.Context) {
	for {
		select {
		case <-h.counts.wake:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, countAfter) {
			return
		}
		h.counts.mu.Lock()
		due := h.counts.list
		h.counts.list = nil
		for _, a := range due {
			a.counting = false // what changes from here on is counted again
		}
		h.counts.mu.Unlock()
		h.countAll(ctx, due)
	}
}

// countAll counts for several users at once. It is over before the next ones, so
// that a user's numbers are sent in order.
func (h *Hub) countAll(ctx context.Context, due []*audience) {
	next := make(chan *audience)
	var workers sync.WaitGroup
	for range min(counters, len(due)) {
		workers.Go(func() {
			for a := range next {
				h.countFor(ctx, a)
			}
		})
	}
	for _, a := range due {
		next <- a
	}
	close(next)
	workers.Wait()
}

func (h *Hub) countFor(hub context.Context, a *audience) {
	if a.empty() {
		return
	}
	ctx, cancel := context.WithTimeout(hub, askTimeout)
	defer cancel()
	unreads, err := h.Inbox.Unreads(ctx, a.user)
	if err != nil {
		if hub.Err() == nil {
			h.Log.Warn("unreads cannot be counted", "error", err)
			pause(hub, retryFirst)
			h.count(a)
		}
		return
	}
	frame := unreadsFrame(unreads)
	a.each(func(s *socket) { s.notify(frame) })
}
