package live

import (
	"context"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A publisher publishes frames that are not logged.
type publisher struct {
	batcher  *rdb.Batcher
	channels Channels
	sharded  bool // through sharded pub/sub
}

// command returns the command that sends a frame to a user's sockets, in every process.
// body holds the members after op.
func (p *publisher) command(ctx context.Context, user int64, kind, body string) *rdb.Command {
	command := "publish"
	if p.sharded {
		command = "spublish"
	}
	return rdb.NewCommand(ctx, command, p.channels.Channel(user), kind+" 0 0 -\n"+body)
}
