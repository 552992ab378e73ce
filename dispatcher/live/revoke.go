package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Kick closes the sockets that a user has open, in every process, with 4001: their
// token is not good any more. Call it after the token was changed. A process whose
// pub/sub connection is away does so when it is back.
func (h *Hub) Kick(ctx context.Context, user int64) error {
	return h.Channels.Revoke(ctx, user)
}

// revokedAt returns when the user's sockets were revoked, or 0.
func (h *Hub) revokedAt(ctx context.Context, a *audience) (int64, error) {
	c := rdb.NewCommand(ctx, "get", h.Channels.Keys(a.user).Revoked)
	if err := h.Batcher.Do(ctx, c); err != nil {
		return 0, fmt.Errorf("ask for revocations: %w", err)
	}
	at, err := c.Int64()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	return at, err
}

// revoke closes the socket, unless it was opened after the moment.
func (s *socket) revoke(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kicked = max(s.kicked, at)
	s.checkRevoked()
}

// checkRevoked closes the socket when it was revoked since its hello was made.
// s.mu is held.
func (s *socket) checkRevoked() {
	if s.greeted && s.kicked > s.revoked {
		s.end(codeRevoked, "not signed in any more")
	}
}
