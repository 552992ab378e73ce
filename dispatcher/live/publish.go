package live

import (
	"context"
	"fmt"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A publisher publishes frames that are not logged.
type publisher struct {
	batcher  *rdb.Batcher
	channels Channels
	sharded  bool // through sharded pub/sub
}

// publish sends a frame to a user's sockets, in every process. body holds the
// members after op.
func (p *publisher) publish(ctx context.Context, user int64, kind, body string) error {
	command := "publish"
	if p.sharded {
		command = "spublish"
	}
	c := rdb.NewCommand(ctx, command, p.channels.Channel(user), kind+" 0 0 -\n"+body)
	if err := p.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("publish to a user: %w", err)
	}
	return nil
}
