package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"
)

var (
	//go:embed mark_messages_read.lua
	markMessagesReadSource string
	//go:embed apply_receipt.lua
	applyReceiptSource string

	markMessagesReadScript = script(markMessagesReadSource)
	applyReceiptScript     = script(applyReceiptSource)
)

// ErrPending reports that a copy lacks a message that is still pending for it.
var ErrPending = errors.New("the message is still pending")

// A ReadReceipt says which messages of a conversation a user has read.
type ReadReceipt struct {
	User         int64
	Conversation string
	Message      string // the only message that was read; or ""
	UpTo         string // all up to this one were read, unless Message is set
	Partner      int64  // the sender of the messages
	// At is when the messages were read; to the second in both copies.
	At time.Time `json:",omitzero"`
	// Handoff is the member of the hand-offs that stands for the receipt until the
	// partner's copy has it; not empty.
	Handoff string `json:"-"`
}

// markReadBatch is how many messages one script marks.
const markReadBatch = 500

// MarkRead marks messages that the user has received as read, and leaves the hand-off of
// the receipt if it marked any. It returns how many it marked.
func (c *Conversations) MarkRead(ctx context.Context, r ReadReceipt) (int, error) {
	k := c.keys(r.User)
	keys, dismissal := c.withShade(k,
		k.receivedUnread(r.Conversation), k.counted(), k.unreadConversations(), c.handoffs(c.parts.OfUser(r.User)), k.bodies())
	total := 0
	for {
		cmd, err := c.batcher.Run(ctx, markMessagesReadScript, keys,
			r.Conversation, r.Message, r.UpTo, markReadBatch, r.Handoff, handoffDelay.Milliseconds(), c.publish, k.channel(), r.At.Unix(), dismissal)
		if err != nil {
			return total, fmt.Errorf("mark messages as read: %w", err)
		}
		reply, err := cmd.Int64s(2)
		if err != nil {
			return total, fmt.Errorf("mark messages as read: %w", err)
		}
		total += int(reply[0])
		if more := reply[1] == 1; !more {
			return total, nil
		}
	}
}

// NewestUnread returns the id of the newest message of a conversation that the user has
// not read, or "".
func (c *Conversations) NewestUnread(ctx context.Context, user int64, conversation string) (string, error) {
	ids, err := c.redis.ZRevRange(ctx, c.keys(user).receivedUnread(conversation), 0, 0).Result()
	if err != nil {
		return "", fmt.Errorf("read conversation: %w", err)
	}
	if len(ids) == 0 {
		return "", nil
	}
	return ids[0], nil
}

// ApplyReceipt applies a partner's read receipt to a sender's copy. frame is what the
// sender's sockets get, JSON, once for each 500 messages. It may be repeated. The error is ErrPending when the copy
// lacks the messages, unless nothingPending says that they will never arrive.
func (c *Conversations) ApplyReceipt(ctx context.Context, sender int64, r ReadReceipt, frame []byte, nothingPending bool) error {
	k := c.keys(sender)
	for {
		cmd, err := c.batcher.Run(ctx, applyReceiptScript, []string{k.sentUnread(r.Conversation), k.heads(), k.bodies()},
			r.Message, r.UpTo, c.publish, k.channel(), frame, r.Conversation, boolArg(nothingPending), r.At.Unix(), markReadBatch)
		if err != nil {
			return fmt.Errorf("apply read receipt: %w", err)
		}
		reply, err := cmd.Int64s(2)
		if err != nil {
			return fmt.Errorf("apply read receipt: %w", err)
		}
		if reply[0] < 0 {
			return ErrPending
		}
		if more := reply[1] == 1; !more {
			return nil
		}
	}
}

// boolArg returns a boolean in the form that scripts take.
func boolArg(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
