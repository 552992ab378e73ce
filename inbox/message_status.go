package inbox

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed message_status.lua
var messageStatusSource string
var messageStatusScript = script(messageStatusSource).ReadOnly()

// A MessageStatus says whether a message still has to be pushed.
type MessageStatus struct {
	Seen   bool // it was read or deleted, or a socket has said that it was seen
	Unread int  // unread messages of its conversation
}

// StatusCommand returns the command that asks for a message's status, to be read with
// ReadMessageStatus after Batcher.Do.
func (c *Conversations) StatusCommand(ctx context.Context, receiver int64, conversation, id string) *rdb.Command {
	k := c.keys(receiver)
	return messageStatusScript.Command(ctx, []string{k.receivedUnread(conversation), c.messageRecord(receiver, id), k.meta()}, id)
}

// ReadMessageStatus reads the reply to StatusCommand.
func ReadMessageStatus(c *rdb.Command) (MessageStatus, error) {
	reply, err := c.Int64s(2)
	if err != nil {
		return MessageStatus{}, fmt.Errorf("read message status: %w", err)
	}
	return MessageStatus{Seen: reply[0] == 1, Unread: int(reply[1])}, nil
}
