package live

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox"
)

//go:embed revoke.lua
var revokeSource string
var revokeScript = inbox.NewScript(revokeSource)

// revokedFor is how long a revocation is remembered for processes that have not
// heard of it: longer than a pub/sub connection may be away.
const revokedFor = 24 * time.Hour

// Kick closes the sockets that a user has open, in every process, with 4001: their
// token is not good any more. Call it after the token was changed. A process whose
// pub/sub connection is away does so when it is back.
func (h *Hub) Kick(ctx context.Context, user int64) error {
	channel := h.Inbox.Channel(user)
	c := revokeScript.Command(ctx, []string{revokedKey(channel)}, revokedFor.Milliseconds(), h.publishCommand(), channel)
	if err := h.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("revoke sockets: %w", err)
	}
	return nil
}

// revokedAt returns when the user's sockets were revoked, or 0.
func (h *Hub) revokedAt(ctx context.Context, a *audience) (int64, error) {
	c := inbox.NewCommand(ctx, "get", revokedKey(a.channel))
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
