package live

import (
	"context"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// tidyLoop removes users whose last socket was lost Options.Linger ago, and refreshes the
// presence of the others, until ctx ends.
func (h *Hub) tidyLoop(ctx context.Context) {
	refreshed := time.Now()
	for rdb.Sleep(ctx, min(h.opts.Linger/4, refreshInterval)) {
		h.users.removeIdle(h.opts.Linger, func(u *userSockets) { h.depart(u, time.Since(u.left)) })
		if time.Since(refreshed) < refreshInterval {
			continue
		}
		refreshed = time.Now()
		for _, u := range h.users.all() {
			if !u.empty() {
				h.presence.add(presenceUpdate{user: u, online: onlineTTL})
			}
		}
	}
}

// lingerOnline keeps the users of this process online for Options.Linger, since most
// of them reconnect to another process at once. It waits until that is written.
func (h *Hub) lingerOnline(ctx context.Context) {
	for _, u := range h.users.all() {
		h.presence.add(presenceUpdate{user: u, online: h.opts.Linger})
	}
	h.presence.write(ctx)
}
