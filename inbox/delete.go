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
	//go:embed purge_messages.lua
	purgeMessagesSource string

	deleteMessagesScript     = script(deleteMessagesSource)
	deleteConversationScript = script(deleteConversationSource)
	purgeMessagesScript      = script(purgeMessagesSource)
)

// DeleteMessage deletes a message from the user's own copy. The partner keeps
// theirs. The error is ErrNotFound when the user has no such message.
func (c *Conversations) DeleteMessage(ctx context.Context, user int64, id string) error {
	m, err := c.Message(ctx, user, id)
	if err != nil {
		return err
	}
	cmd := c.deleteCommand(ctx, c.keys(user), m.Conversation, m)
	if err := c.batcher.Do(ctx, cmd); err != nil {
		return fmt.Errorf("delete message: %w", err)
	}
	n, err := cmd.Int()
	if err != nil {
		return fmt.Errorf("delete message: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// deleteCommand deletes messages of one conversation, purgeBatch of them at most. The
// reply is how many there were.
func (c *Conversations) deleteCommand(ctx context.Context, k userKeys, conversation string, messages ...Message) *rdb.Command {
	keys, dismissal := c.withShade(k,
		k.messages(conversation), k.receivedUnread(conversation), k.sentUnread(conversation), k.bodies(), k.words(), k.counted(),
		k.conversations(), k.unreadConversations(), k.conversation(conversation))
	args := []any{conversation, c.publish, k.channel(), dismissal, len(messages)}
	for i := range messages {
		args = append(args, messages[i].ID)
	}
	for i := range messages {
		args = append(args, messages[i].postings()...)
	}
	return deleteMessagesScript.Command(ctx, keys, args...)
}

// Delete deletes the user's own copy of a conversation. A new message
// brings it back, without the old ones. The error is ErrNotFound when the user has
// no such conversation.
func (c *Conversations) Delete(ctx context.Context, user int64, conversation string) error {
	k := c.keys(user)
	deleted := k.messages(conversation) + ":" + model.NewID(c.now())
	keys, dismissal := c.withShade(k,
		k.messages(conversation), k.receivedUnread(conversation), k.sentUnread(conversation), k.counted(), k.conversations(), k.unreadConversations(),
		k.conversation(conversation), k.trash(), deleted)
	cmd, err := c.batcher.Run(ctx, deleteConversationScript, keys, conversation, c.publish, k.channel(), dismissal)
	if err != nil {
		return fmt.Errorf("delete conversation: %w", err)
	}
	n, err := cmd.Int()
	if err != nil {
		return fmt.Errorf("delete conversation: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return c.purge(ctx, user)
}

// purgeBatch is how many messages one script purges.
const purgeBatch = 100

// purge removes the bodies and postings of deleted conversations, including what an
// interrupted call left behind.
func (c *Conversations) purge(ctx context.Context, user int64) error {
	k := c.keys(user)
	trash, err := c.redis.SMembers(ctx, k.trash()).Result()
	if err != nil {
		return fmt.Errorf("purge messages: %w", err)
	}
	for _, key := range trash {
		for {
			ids, err := c.redis.ZRange(ctx, key, 0, purgeBatch-1).Result()
			if err != nil {
				return fmt.Errorf("purge messages: %w", err)
			}
			if err := c.purgeMessages(ctx, k, key, ids); err != nil {
				return fmt.Errorf("purge messages: %w", err)
			}
			if len(ids) < purgeBatch {
				break
			}
		}
	}
	return nil
}

func (c *Conversations) purgeMessages(ctx context.Context, k userKeys, key string, ids []string) error {
	args := []any{len(ids)}
	for _, id := range ids {
		args = append(args, id)
	}
	if len(ids) > 0 {
		bodies, err := c.redis.HMGet(ctx, k.bodies(), ids...).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for i, body := range bodies {
			if stored, ok := body.(string); ok {
				m, err := parseMessage(ids[i], stored, "", true)
				if err != nil {
					return err
				}
				args = append(args, m.postings()...)
			}
		}
	}
	_, err := c.batcher.Run(ctx, purgeMessagesScript, []string{key, k.trash(), k.bodies(), k.words()}, args...)
	return err
}

// dropMessages deletes those messages of a user's copy of a conversation whose id is below
// before, if they have no body or drop returns true for them; a nil drop deletes all. It
// returns how many it deleted, and whether the copy is empty now.
func (c *Conversations) dropMessages(ctx context.Context, k userKeys, conversation, before string, drop func(*Message) bool) (total int, emptied bool, err error) {
	for after := "-"; ; {
		ids, err := c.redis.ZRangeByLex(ctx, k.messages(conversation), &redis.ZRangeBy{
			Min: after, Max: "(" + before, Count: purgeBatch,
		}).Result()
		if err != nil {
			return total, false, fmt.Errorf("drop messages: %w", err)
		}
		if len(ids) == 0 {
			break
		}
		after = "(" + ids[len(ids)-1]
		messages, err := c.bodiesOf(ctx, k, ids)
		if err != nil {
			return total, false, err
		}
		var dropped []Message
		for i := range messages {
			if drop == nil || messages[i].Conversation == "" || drop(&messages[i]) {
				dropped = append(dropped, messages[i])
			}
		}
		if len(dropped) == 0 {
			continue
		}
		cmd := c.deleteCommand(ctx, k, conversation, dropped...)
		if err := c.batcher.Do(ctx, cmd); err != nil {
			return total, false, fmt.Errorf("drop messages: %w", err)
		}
		n, err := cmd.Int()
		if err != nil {
			return total, false, fmt.Errorf("drop messages: %w", err)
		}
		total += n
	}
	left, err := c.redis.Exists(ctx, k.messages(conversation)).Result()
	if err != nil {
		return total, false, fmt.Errorf("drop messages: %w", err)
	}
	return total, left == 0, nil
}

// bodiesOf returns messages in the order of ids. Those without a body have nothing but
// their id.
func (c *Conversations) bodiesOf(ctx context.Context, k userKeys, ids []string) ([]Message, error) {
	bodies, err := c.redis.HMGet(ctx, k.bodies(), ids...).Result()
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	messages := make([]Message, len(ids))
	for i, body := range bodies {
		messages[i].ID = ids[i]
		if stored, ok := body.(string); ok {
			if messages[i], err = parseMessage(ids[i], stored, "", false); err != nil {
				return nil, err
			}
		}
	}
	return messages, nil
}
