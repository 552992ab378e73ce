package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed delete_messages.lua
	deleteMessagesSource string
	//go:embed delete_conversation.lua
	deleteConversationSource string
	//go:embed purge.lua
	purgeSource string

	deleteMessagesScript     = script(deleteMessagesSource)
	deleteConversationScript = script(deleteConversationSource)
	purgeScript              = script(purgeSource)
)

// DeleteMessage deletes a message from the user's own copy. The partner keeps
// theirs. The error is ErrNotFound when the user has no such message.
func (s *Store) DeleteMessage(ctx context.Context, user int64, id string) error {
	m, err := s.Message(ctx, user, id)
	if err != nil {
		return err
	}
	c := s.deleteCommand(ctx, s.keys(user), m.Conversation, m)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("delete message: %w", err)
	}
	if n, err := c.Int(); err != nil || n == 0 {
		return errors.Join(ErrNotFound, err)
	}
	return nil
}

// deleteCommand deletes messages of one conversation, purgeMost of them at most; its
// reply is how many there were.
func (s *Store) deleteCommand(ctx context.Context, k userKeys, conversation string, messages ...Message) *rdb.Command {
	args := []any{conversation, s.publish, k.channel(), len(messages)}
	for i := range messages {
		args = append(args, messages[i].ID)
	}
	for i := range messages {
		args = append(args, messages[i].postings()...)
	}
	return deleteMessagesScript.Command(ctx, []string{
		k.messages(conversation), k.received(conversation), k.sent(conversation), k.bodies(), k.words(), k.open(),
		k.inboxes(), k.unreadInboxes(), k.conversation(conversation),
	}, args...)
}

// DeleteConversation deletes the user's own copy of a conversation. A new message
// brings it back, without the old ones. The error is ErrNotFound when the user has
// no such conversation.
func (s *Store) DeleteConversation(ctx context.Context, user int64, conversation string) error {
	k := s.keys(user)
	gone := k.messages(conversation) + ":" + model.NewID(s.Now())
	c := deleteConversationScript.Command(ctx, []string{
		k.messages(conversation), k.received(conversation), k.sent(conversation), k.open(), k.inboxes(), k.unreadInboxes(),
		k.conversation(conversation), k.trash(), gone,
	}, conversation, s.publish, k.channel())
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("delete conversation: %w", err)
	}
	if n, err := c.Int(); err != nil || n == 0 {
		return errors.Join(ErrNotFound, err)
	}
	return s.purge(ctx, user)
}

// purgeMost is how many messages one script purges.
const purgeMost = 100

// purge removes what deleted conversations have left, of this and of interrupted
// earlier calls.
func (s *Store) purge(ctx context.Context, user int64) error {
	k := s.keys(user)
	trash, err := s.Redis.SMembers(ctx, k.trash()).Result()
	if err != nil {
		return fmt.Errorf("purge messages: %w", err)
	}
	for _, key := range trash {
		for {
			ids, err := s.Redis.ZRange(ctx, key, 0, purgeMost-1).Result()
			if err != nil {
				return fmt.Errorf("purge messages: %w", err)
			}
			if err := s.purgeMessages(ctx, k, key, ids); err != nil {
				return fmt.Errorf("purge messages: %w", err)
			}
			if len(ids) < purgeMost {
				break
			}
		}
	}
	return nil
}

func (s *Store) purgeMessages(ctx context.Context, k userKeys, key string, ids []string) error {
	args := []any{len(ids)}
	for _, id := range ids {
		args = append(args, id)
	}
	if len(ids) > 0 {
		bodies, err := s.Redis.HMGet(ctx, k.bodies(), ids...).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for i, body := range bodies {
			if stored, ok := body.(string); ok {
				m, err := parseMessage(ids[i], stored, true)
				if err != nil {
					return err
				}
				args = append(args, m.postings()...)
			}
		}
	}
	c := purgeScript.Command(ctx, []string{key, k.trash(), k.bodies(), k.words()}, args...)
	return s.Batcher.Do(ctx, c)
}
