package live

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed typing.lua
var typingSource string

var typingScript = rdb.NewScript(typingSource)

// A publisher publishes frames that are not logged.
type publisher struct {
	batcher  *rdb.Batcher
	channels Channels
	sharded  bool // through sharded pub/sub
}

// command returns the command that sends a frame to a user's sockets, in every process.
// body holds the members after op.
func (p *publisher) command(ctx context.Context, user int64, kind, body string) *rdb.Command {
	return rdb.NewCommand(ctx, p.publish(), p.channels.Channel(user), payload(kind, body))
}

// typing tells a user's sockets that another user is typing, unless they were told within
// the interval: then it returns false.
func (p *publisher) typing(ctx context.Context, user, other int64, body string, interval time.Duration) (told bool, err error) {
	key := p.channels.Keys(user).Typing + strconv.FormatInt(other, 10)
	c, err := p.batcher.Run(ctx, typingScript, []string{key},
		interval.Milliseconds(), p.publish(), p.channels.Channel(user), payload(kindTyping, body))
	if err == nil {
		told, err = c.Bool()
	}
	if err != nil {
		return false, fmt.Errorf("tell that a user is typing: %w", err)
	}
	return told, nil
}

// publish returns the command that publishes.
func (p *publisher) publish() string {
	if p.sharded {
		return "spublish"
	}
	return "publish"
}

// payload returns what is published of a frame that is not logged.
func payload(kind, body string) string { return kind + " 0 0 -\n" + body }
