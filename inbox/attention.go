package inbox

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed message_status.lua
	messageStatusSource string
	//go:embed mark_seen.lua
	markSeenSource string

	messageStatusScript = script(messageStatusSource)
	markSeenScript      = script(markSeenSource)
)

// A MessageStatus is what the receiver of a message has done with it.
type MessageStatus struct {
	Seen   bool // it was read or deleted, or a socket said that it was seen
	Unread int  // messages of the conversation that were not read
}

// StatusCommand returns the command that asks about a message, to be read with
// ReadMessageStatus after Batcher.Do.
func (c *Conversations) StatusCommand(ctx context.Context, user int64, conversation, id string) *rdb.Command {
	k := c.keys(user)
	return messageStatusScript.Command(ctx, []string{k.receivedUnread(conversation), c.messageRecord(user, id), k.meta()}, id)
}

// ReadMessageStatus reads the reply to StatusCommand.
func ReadMessageStatus(c *rdb.Command) (MessageStatus, error) {
	n, err := c.Int64Slice()
	if err != nil || len(n) != 2 {
		return MessageStatus{}, fmt.Errorf("look whether a message was read: reply %v: %w", n, err)
	}
	return MessageStatus{Seen: n[0] == 1, Unread: int(n[1])}, nil
}
