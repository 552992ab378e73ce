package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// revocations reads when the credentials of users were revoked.
type revocations struct {
	batcher  *rdb.Batcher
	channels Channels
}

// last returns when a user's credentials were last revoked (Unix µs), or 0.
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

// revoke closes the socket if its session was vouched for before a revocation, whether it
// was greeted or not, and reports whether it was.
func (s *socket) revoke(at int64) bool {
	if at <= s.vouched {
		return false
	}
	s.queue.close(codeRevoked, "not signed in any more")
	return true
}
