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
	for rdb.Sleep(ctx, min(h.opts.Linger/4, refreshInterval)) {
		var updates []presenceUpdate
		h.users.removeIdle(h.opts.Linger, func(u *userSockets) {
			h.pubsub.unsubscribe(u)
			updates = append(updates, presenceUpdate{user: u, idle: time.Since(u.left)})
		})
		if time.Since(refreshed) >= refreshInterval {
			refreshed = time.Now()
			for _, u := range h.users.all() {
				if !u.empty() {
					updates = append(updates, presenceUpdate{user: u, online: onlineTTL})
				}
			}
		}
		if err := h.presence.update(ctx, updates); err != nil && ctx.Err() == nil {
			h.opts.Log.Warn("presence cannot be updated", "error", err)
		}
	}
}

// lingerOnline keeps the users of this process online for Options.Linger, since most
// of them reconnect to another process at once.
func (h *Hub) lingerOnline(ctx context.Context) {
	var updates []presenceUpdate
	for _, u := range h.users.all() {
		updates = append(updates, presenceUpdate{user: u, online: h.opts.Linger})
	}
	if err := h.presence.update(ctx, updates); err != nil {
		h.opts.Log.Warn("presence cannot be updated", "error", err)
	}
}
