package inbox

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed attention.lua
	attentionSource string
	//go:embed seen_seq.lua
	seenSeqSource string

	attentionScript = script(attentionSource)
	seenSeqScript   = script(seenSeqSource)
)

// An Attention is what the receiver of a message has done with it.
type Attention struct {
	Paid   bool // it was read or deleted, or a socket said that it was seen
	Unread int  // messages of the conversation that were not read
}

// AttentionCommand returns the command that asks about a message, to be read with
// ReadAttention after Batcher.Do.
func (s *Store) AttentionCommand(ctx context.Context, user int64, conversation, id string) *rdb.Command {
	k := s.keys(user)
	return attentionScript.Command(ctx, []string{k.received(conversation), s.MessageRecordKey(user, id), k.meta()}, id)
}

// ReadAttention reads the reply to AttentionCommand.
func ReadAttention(c *rdb.Command) (Attention, error) {
	n, err := c.Int64Slice()
	if err != nil || len(n) != 2 {
		return Attention{}, fmt.Errorf("look whether a message was read: reply %v: %w", n, err)
	}
	return Attention{Paid: n[0] == 1, Unread: int(n[1])}, nil
}

// SeenUpTo notes that a user has everything up to a frame in front of them. A
// number beyond the newest frame counts as that one.
func (s *Store) SeenUpTo(ctx context.Context, user, seq int64) error {
	if err := s.Batcher.Do(ctx, seenSeqScript.Command(ctx, []string{s.keys(user).meta()}, seq)); err != nil {
		return fmt.Errorf("note what was seen: %w", err)
	}
	return nil
}
