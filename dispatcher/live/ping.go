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
	for rdb.Sleep(ctx, h.PingInterval/checks) {
		for i := range h.shards {
			now := time.Now().UnixMilli()
			for _, u := range h.shards[i].all() {
				u.each(func(s *socket) { s.checkAlive(now) })
			}
		}
	}
}

// checkAlive pings a socket that was silent for an interval, drops one that was
// pinged and has been silent for one and a half, and closes one whose credential has
// expired.
func (s *socket) checkAlive(now int64) {
	interval := s.hub.PingInterval.Milliseconds()
	silent := now - s.conn.lastRead.Load()
	s.mu.Lock()
	ping := silent >= interval && !s.pinged && s.greeted
	s.pinged = silent >= interval && (s.pinged || ping)
	drop := silent >= interval+interval/2 && s.pinged && !ping
	if ping {
		s.push(nil)
	}
	if s.expiresAt != 0 && now >= s.expiresAt && s.greeted {
		s.beginClose(codeRevoked, "the credential has expired")
	}
	s.mu.Unlock()
	if drop {
		s.drop("silent")
	}
}
