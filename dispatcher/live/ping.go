package live

import (
	"context"
	"time"
)

// pingLoop pings sockets that are silent, drops those that stay so, and closes those
// whose credential has expired, until the hub is over. One walk over all of them costs less than a timer for each.
func (h *Hub) pingLoop(ctx context.Context) {
	const walks = 4 // in an interval
	for pause(ctx, h.PingInterval/walks) {
		for i := range h.shards {
			now := time.Now().UnixMilli()
			for _, a := range h.shards[i].all() {
				a.each(func(s *socket) { s.checkAlive(now) })
			}
		}
	}
}

// checkAlive pings a socket that has been silent for the interval, and drops one
// that was so for half as long again.
func (s *socket) checkAlive(now int64) {
	interval := s.hub.PingInterval.Milliseconds()
	silent := now - s.conn.heard.Load()
	s.mu.Lock()
	ping := silent >= interval && !s.pinged && s.greeted
	s.pinged = silent >= interval && (s.pinged || ping)
	drop := silent >= interval+interval/2 && s.pinged && !ping
	if ping {
		s.push(nil)
	}
	if s.until != 0 && now >= s.until && s.greeted {
		s.end(codeRevoked, "the credential has expired")
	}
	s.mu.Unlock()
	if drop {
		s.drop("silent")
	}
}
