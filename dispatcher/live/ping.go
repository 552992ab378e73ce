package live

import (
	"context"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// pingLoop checks all sockets several times in a ping interval, until ctx ends. One
// loop costs less than a timer for each socket.
func (h *Hub) pingLoop(ctx context.Context) {
	const checks = 4 // in an interval
	interval := h.opts.PingInterval.Milliseconds()
	for rdb.Sleep(ctx, h.opts.PingInterval/checks) {
		for users := range h.users.byShard() {
			now := time.Now().UnixMilli()
			for _, u := range users {
				u.each(func(s *socket) { s.checkAlive(now, interval) })
			}
		}
	}
}

// checkAlive pings a socket that was silent for an interval, drops one that was
// pinged and has been silent for one and a half, and closes one whose credential has
// expired. now and interval are in milliseconds.
func (s *socket) checkAlive(now, interval int64) {
	silent := now - s.conn.lastRead.Load()
	s.mu.Lock()
	ping := silent >= interval && !s.pinged && s.greeted
	s.pinged = silent >= interval && (s.pinged || ping)
	drop := silent >= interval+interval/2 && s.pinged && !ping
	if ping {
		s.queue.ping()
	}
	if s.expiresAt != 0 && now >= s.expiresAt && s.greeted {
		s.queue.close(codeRevoked, "the credential has expired")
	}
	s.mu.Unlock()
	if drop {
		s.queue.drop("silent")
	}
}
