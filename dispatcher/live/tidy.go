package live

import (
	"context"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// tidyLoop removes users without sockets after Options.Linger, and refreshes the
// presence of the others, until ctx ends.
func (h *Hub) tidyLoop(ctx context.Context) {
	refreshed := time.Now()
	for rdb.Sleep(ctx, min(h.Linger/4, refreshInterval)) {
		var updates []presenceUpdate
		for i := range h.shards {
			for _, u := range h.shards[i].removeIdle(time.Now().Add(-h.Linger)) {
				h.pubsub.unsubscribe(u)
				updates = append(updates, presenceUpdate{user: u, idle: time.Since(u.left)})
			}
		}
		if time.Since(refreshed) >= refreshInterval {
			refreshed = time.Now()
			for _, u := range h.users() {
				if !u.empty() {
					updates = append(updates, presenceUpdate{user: u, online: onlineTTL})
				}
			}
		}
		if err := h.updatePresence(ctx, updates); err != nil && ctx.Err() == nil {
			h.Log.Warn("presence cannot be updated", "error", err)
		}
	}
}

// lingerOnline keeps the users of this process online for Options.Linger, since most
// of them reconnect to another process at once.
func (h *Hub) lingerOnline(ctx context.Context) {
	var updates []presenceUpdate
	for _, u := range h.users() {
		updates = append(updates, presenceUpdate{user: u, online: h.Linger})
	}
	if err := h.updatePresence(ctx, updates); err != nil {
		h.Log.Warn("presence cannot be updated", "error", err)
	}
}
