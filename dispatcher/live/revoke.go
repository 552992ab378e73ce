package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// revocations reads when the sockets of users were revoked.
type revocations struct {
	batcher  *rdb.Batcher
	channels Channels
}

// last returns when a user's sockets were last revoked (Unix µs), or 0.
func (r *revocations) last(ctx context.Context, user int64) (int64, error) {
	c := rdb.NewCommand(ctx, "get", r.channels.Keys(user).Revoked)
	if err := r.batcher.Do(ctx, c); err != nil {
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

// checkRevoked closes the socket if it was revoked after it was greeted, and reports
// whether it was. s.mu is held.
func (s *socket) checkRevoked() bool {
	if !s.greeted || s.revokedAt <= s.revokedBefore {
		return false
	}
	s.queue.close(codeRevoked, "not signed in any more")
	return true
}
