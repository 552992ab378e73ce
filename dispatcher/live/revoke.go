package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Kick closes the open sockets of a user with 4001, in every process. Call it after
// the user's token was changed. A process that has lost its pub/sub connection closes
// them when it has reconnected.
func (h *Hub) Kick(ctx context.Context, user int64) error {
	return h.Channels.Revoke(ctx, user)
}

// revokedAt returns when the user's sockets were last revoked (Unix µs), or 0.
func (h *Hub) revokedAt(ctx context.Context, u *userSockets) (int64, error) {
	c := rdb.NewCommand(ctx, "get", h.Channels.Keys(u.id).Revoked)
	if err := h.Batcher.Do(ctx, c); err != nil {
		return 0, fmt.Errorf("read the last revocation: %w", err)
	}
	at, err := c.Int64()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the last revocation: %w", err)
	}
	return at, nil
}

// revoke closes the socket if it was greeted before the revocation.
func (s *socket) revoke(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revokedAt = max(s.revokedAt, at)
	s.checkRevoked()
}

// checkRevoked closes the socket if it was revoked after it was greeted. s.mu is held.
func (s *socket) checkRevoked() {
	if s.greeted && s.revokedAt > s.revokedBefore {
		s.beginClose(codeRevoked, "not signed in any more")
	}
}
