package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed conversation_page.lua
var conversationPageSource string
var conversationPageScript = script(conversationPageSource).ReadOnly()

// A Conversation is one entry of a user's inbox.
type Conversation struct {
	ID      string
	Partner int64
	Last    Message // the message with the greatest id
}

// Conversations reads, searches and deletes a user's own copies of conversations.
type Conversations struct{ *base }

// List returns the conversations of a user from offset on, the one with the
// newest message first; with unread only those that have unread messages.
func (c *Conversations) List(ctx context.Context, user int64, unread bool, offset, count int) ([]Conversation, error) {
	key := c.keys(user).conversations()
	if unread {
		key = c.keys(user).unreadConversations()
	}
	ids, err := c.redis.ZRevRange(ctx, key, int64(offset), int64(offset+count-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("list conversations: %w", err)
	}
	return c.lookUp(ctx, user, ids)
}

// lookUp returns conversations with their last messages, in one round trip. Those that
// were deleted meanwhile are left out.
func (c *Conversations) lookUp(ctx context.Context, user int64, ids []string) ([]Conversation, error) {
	k := c.keys(user)
	pages := make([]*rdb.Command, len(ids))
	for i, id := range ids {
		pages[i] = c.pageCommand(ctx, k, id, 0, 1)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if err := c.batcher.Do(ctx, pages...); err != nil {
		return nil, fmt.Errorf("list conversations: %w", err)
	}
	all := make([]Conversation, 0, len(ids))
	for i, id := range ids {
		last, err := readPage(pages[i])
		if err != nil {
			return nil, err
		}
		if len(last) == 1 {
			all = append(all, Conversation{ID: id, Partner: last[0].Partner(user), Last: last[0]})
		}
	}
	return all, nil
}

func (c *Conversations) pageCommand(ctx context.Context, k userKeys, conversation string, offset, count int) *rdb.Command {
	return conversationPageScript.Command(ctx, []string{
		k.messages(conversation), k.receivedUnread(conversation), k.sentUnread(conversation), k.bodies(),
	}, offset, count)
}

func readPage(c *rdb.Command) ([]Message, error) {
	reply, err := c.Slice()
	if err != nil {
		return nil, fmt.Errorf("read conversation: %w", err)
	}
	page := make([]Message, 0, len(reply)/4)
	for i := 0; i+3 < len(reply); i += 4 {
		id, _ := reply[i].(string)
		read, _ := reply[i+1].(int64)
		readAt, _ := reply[i+2].(string)
		stored, ok := reply[i+3].(string)
		if !ok {
			continue // a message without a body cannot be shown
		}
		m, err := parseMessage(id, stored, readAt, read == 1)
		if err != nil {
			return nil, err
		}
		page = append(page, m)
	}
	return page, nil
}

// Messages returns messages of a user's conversation from offset on, the newest
// first, or ErrNotFound when the user has no such conversation.
func (c *Conversations) Messages(ctx context.Context, user int64, conversation string, offset, count int) ([]Message, error) {
	k := c.keys(user)
	page := c.pageCommand(ctx, k, conversation, offset, count)
	known := rdb.NewCommand(ctx, "zscore", k.conversations(), conversation)
	if err := c.batcher.Do(ctx, page, known); err != nil {
		return nil, fmt.Errorf("read conversation: %w", err)
	}
	if errors.Is(known.Err(), redis.Nil) {
		return nil, ErrNotFound
	}
	return readPage(page)
}

// Message returns one message of a user's, or ErrNotFound.
func (c *Conversations) Message(ctx context.Context, user int64, id string) (Message, error) {
	k := c.keys(user)
	if !model.ValidID(id) {
		return Message{}, ErrNotFound
	}
	fields, err := c.redis.HMGet(ctx, k.bodies(), id, readPrefix+id).Result()
	if err != nil {
		return Message{}, fmt.Errorf("read message: %w", err)
	}
	stored, ok := fields[0].(string)
	if !ok {
		return Message{}, ErrNotFound
	}
	readAt, _ := fields[1].(string) // else nil: it is unread
	m, err := parseMessage(id, stored, readAt, false)
	if err != nil {
		return Message{}, err
	}
	pipe := c.redis.Pipeline()
	kept := pipe.ZScore(ctx, k.messages(m.Conversation), id)
	received := pipe.ZScore(ctx, k.receivedUnread(m.Conversation), id)
	sent := pipe.ZScore(ctx, k.sentUnread(m.Conversation), id)
	_, _ = pipe.Exec(ctx) // each reply holds its own error
	for _, reply := range []*redis.FloatCmd{kept, received, sent} {
		if err := reply.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return Message{}, fmt.Errorf("read message: %w", err)
		}
	}
	if kept.Err() != nil { // its conversation was deleted
		return Message{}, ErrNotFound
	}
	m.Read = received.Err() != nil && sent.Err() != nil
	return m, nil
}

// Partner returns the partner in a user's conversation, or ErrNotFound.
func (c *Conversations) Partner(ctx context.Context, user int64, conversation string) (int64, error) {
	text, err := c.redis.HGet(ctx, c.keys(user).conversation(conversation), "partner").Result()
	if errors.Is(err, redis.Nil) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("read conversation: %w", err)
	}
	partner, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("conversation %s: partner: %w", conversation, err)
	}
	return partner, nil
}

// MessagesByID returns messages of a user's by id. Those that the user does not
// have (any more) are missing.
func (c *Conversations) MessagesByID(ctx context.Context, user int64, ids []string) (map[string]Message, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	stored, err := c.redis.HMGet(ctx, c.keys(user).bodies(), ids...).Result()
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	messages := make(map[string]Message, len(ids))
	for i, v := range stored {
		if text, ok := v.(string); ok {
			if messages[ids[i]], err = parseMessage(ids[i], text, "", false); err != nil {
				return nil, err
			}
		}
	}
	return messages, nil
}
