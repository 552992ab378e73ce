package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed erasure_step.lua
	erasureStepSource string
	//go:embed erase_receiver.lua
	eraseReceiverSource string
	//go:embed due_erasures.lua
	dueErasuresSource string

	erasureStepScript   = script(erasureStepSource)
	eraseReceiverScript = script(eraseReceiverSource)
	dueErasuresScript   = script(dueErasuresSource).ReadOnly()
)

const (
	eraseBatch = 100 // records or conversations in one round trip
	maxID      = "g" // above every id
	// minGenerationTTL is longer than a request can take to hand a message over, and
	// shorter than tombstoneTTL, after which the user's generation expires.
	minGenerationTTL = 24 * time.Hour
	// maxErasureDelay is longer than Begin, Resume and Finish put an erasure off.
	maxErasureDelay = 5 * time.Minute
)

// Eraser erases users. Call Begin, then EraseAtPartner for each user that Partners returns,
// then EraseUser and Finish. When the caller dies in between, Due returns the user, and the
// process that resumes the erasure repeats every step after Begin.
type Eraser struct {
	*base
	conversations *Conversations
	live          *Live
}

// Begin writes a user's tombstone, after which events and messages for the user are
// dropped, and closes the user's live sockets. The erasure becomes Due if it is not
// finished within timeout. Begin raises the user's generation, so that messages which were
// accepted from the user before are dropped when they arrive later.
func (e *Eraser) Begin(ctx context.Context, user int64, timeout time.Duration) error {
	if _, err := e.step(ctx, user, "bury", timeout); err != nil {
		return err
	}
	return e.live.Revoke(ctx, user)
}

// Resume takes over an erasure that is due; it is due again after timeout. It returns false
// when the tombstone is gone, so that nothing is left to do.
func (e *Eraser) Resume(ctx context.Context, user int64, timeout time.Duration) (bool, error) {
	return e.step(ctx, user, "resume", timeout)
}

// Finish ends an erasure. The first time it schedules the erasure once more, due after
// delay: operations that began before the tombstone may have stored data since.
func (e *Eraser) Finish(ctx context.Context, user int64, delay time.Duration) error {
	_, err := e.step(ctx, user, "finish", delay)
	return err
}

func (e *Eraser) step(ctx context.Context, user int64, step string, dueIn time.Duration) (bool, error) {
	c, err := e.batcher.Run(ctx, erasureStepScript, []string{e.keys(user).meta(), e.erasures(e.parts.OfUser(user))},
		user, step, e.tombstoneTTL().Milliseconds(), dueIn.Milliseconds())
	if err != nil {
		return false, fmt.Errorf("erase user: %w", err)
	}
	n, err := c.Int()
	if err != nil {
		return false, fmt.Errorf("erase user: %w", err)
	}
	return n == 1, nil
}

// Erased reports whether the user was erased, that is, has a tombstone.
func (e *Eraser) Erased(ctx context.Context, user int64) (bool, error) {
	erased, err := e.redis.HExists(ctx, e.keys(user).meta(), "erased").Result()
	if err != nil {
		return false, fmt.Errorf("read tombstone: %w", err)
	}
	return erased, nil
}

// Due returns users whose erasure another process has to resume, at most limit of each
// partition, in one round trip. With an error it may also return users, from the
// partitions that answered.
func (e *Eraser) Due(ctx context.Context, limit int) ([]int64, error) {
	commands := make([]*rdb.Command, e.parts.Len())
	for p := range commands {
		commands[p] = dueErasuresScript.Command(ctx, []string{e.erasures(p)}, limit, maxErasureDelay.Milliseconds(), e.testTime())
	}
	_ = e.batcher.Do(ctx, commands...) // each command holds its own error
	var due []int64
	var failed error
	for _, c := range commands {
		members, err := c.StringSlice()
		if err != nil {
			failed = fmt.Errorf("read erasures: %w", err)
		}
		due = append(due, splitUsers(strings.Join(members, " "))...)
	}
	return due, failed
}

// Partners returns, sorted, the users who hold data of a user: the receivers of the user's
// messages, and the partners in the user's conversations and transactions.
func (e *Eraser) Partners(ctx context.Context, user int64) ([]int64, error) {
	k := e.keys(user)
	members, err := e.redis.SMembers(ctx, k.partners()).Result()
	if err != nil {
		return nil, fmt.Errorf("list partners: %w", err)
	}
	conversations, err := e.redis.ZRange(ctx, k.conversations(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list partners: %w", err)
	}
	for some := range slices.Chunk(conversations, eraseBatch) {
		commands := make([]*rdb.Command, len(some))
		for i, c := range some {
			commands[i] = rdb.NewCommand(ctx, "hget", k.conversation(c), "partner")
		}
		if err := e.batcher.Do(ctx, commands...); err != nil {
			return nil, fmt.Errorf("list partners: %w", err)
		}
		for _, c := range commands {
			partner, _ := c.Text() // nil: there is none
			members = append(members, partner)
		}
	}
	fields, err := e.redis.HKeys(ctx, k.contacts()).Result()
	if err != nil {
		return nil, fmt.Errorf("list partners: %w", err)
	}
	for _, field := range fields {
		c, err := parseContact(field, "{}")
		if err != nil {
			return nil, err
		}
		members = append(members, strconv.FormatInt(c.Partner, 10))
	}
	partners := splitUsers(strings.Join(members, " "))
	slices.Sort(partners)
	return slices.Compact(partners), nil
}

// Scheduled returns the events that wait for their time and have a user among their
// receivers.
func (e *Eraser) Scheduled(ctx context.Context, user int64) ([]string, error) {
	k := e.keys(user)
	events, err := e.redis.ZRange(ctx, k.recordIndex(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("find scheduled events: %w", err)
	}
	var scheduled []string
	for some := range slices.Chunk(events, eraseBatch) {
		commands := make([]*rdb.Command, len(some))
		for i, event := range some {
			commands[i] = rdb.NewCommand(ctx, "get", k.record(event))
		}
		_ = e.batcher.Do(ctx, commands...) // each command holds its own error
		for i, c := range commands {
			text, err := c.Text()
			if err != nil && !errors.Is(err, redis.Nil) {
				return nil, fmt.Errorf("find scheduled events: %w", err)
			}
			if newRecord(user, text).Push == PushScheduled {
				scheduled = append(scheduled, some[i])
			}
		}
	}
	return scheduled, nil
}

// EraseAtPartner erases a user's data from a partner's inbox: the messages that the user
// has sent, from every set, and the contacts that name the user. The partner's own messages
// stay.
func (e *Eraser) EraseAtPartner(ctx context.Context, partner, user int64) error {
	k, conversation := e.keys(partner), model.ConversationID(partner, user)
	// A message that a request accepted earlier and has not handed over yet is dropped when
	// it arrives.
	generation, err := e.redis.HGet(ctx, e.keys(user).meta(), "generation").Result()
	if err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	if err := e.redis.Set(ctx, k.minGeneration(conversation), generation, minGenerationTTL).Err(); err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	if err := e.conversations.purge(ctx, partner); err != nil { // bodies of deleted conversations
		return err
	}
	sentByUser := func(m *Message) bool { return m.Sender == user }
	if _, _, err := e.conversations.dropMessages(ctx, k, conversation, maxID, sentByUser); err != nil {
		return err
	}
	fields, err := e.redis.HKeys(ctx, k.contacts()).Result() // at most maxContacts
	if err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	pipe := e.redis.TxPipeline()
	for _, field := range fields {
		if c, err := parseContact(field, "{}"); err == nil && c.Partner == user {
			pipe.HDel(ctx, k.contacts(), field)
			pipe.ZRem(ctx, k.recentContacts(), field)
		}
	}
	pipe.SRem(ctx, k.partners(), user)
	pipe.ZRem(ctx, k.live().Watchers, user)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	return nil
}

// EraseUser erases all data of a user in the store but the tombstone. partners is the
// result of Partners. Call EraseAtPartner first, because EraseUser erases the list of
// partners.
func (e *Eraser) EraseUser(ctx context.Context, user int64, partners []int64) error {
	k := e.keys(user)
	if err := e.eraseRecords(ctx, k, user); err != nil {
		return err
	}
	trash, err := e.redis.SMembers(ctx, k.trash()).Result()
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	keys := trash
	for _, partner := range partners {
		c := model.ConversationID(user, partner)
		keys = append(keys, k.conversation(c), k.messages(c), k.receivedUnread(c), k.sentUnread(c), k.minGeneration(c), k.pending(c))
	}
	live := k.live()
	keys = append(keys, k.notifications(), k.keptBodies(), k.unread(), k.counted(), k.replayLog(), k.profile(), k.conversations(), k.unreadConversations(),
		k.bodies(), k.words(), k.trash(), k.contacts(), k.recentContacts(), k.recordIndex(), k.heads(), k.shade(),
		live.Online, live.Seen, live.Watchers,
		k.partners()) // the last one, so that an erasure that is resumed still finds them
	for some := range slices.Chunk(keys, eraseBatch) {
		if err := e.redis.Unlink(ctx, some...).Err(); err != nil {
			return fmt.Errorf("erase user: %w", err)
		}
	}
	return e.unlist(ctx, user)
}

// unlist removes a user from the partition's list of users.
func (e *Eraser) unlist(ctx context.Context, user int64) error {
	users, member := e.parts.Listing(user)
	if err := e.batcher.Do(ctx, rdb.NewCommand(ctx, "zrem", users, member)); err != nil {
		return fmt.Errorf("unlist user: %w", err)
	}
	return nil
}

// eraseRecords erases the records of a user's events, and removes the user from the
// receivers of these events.
func (e *Eraser) eraseRecords(ctx context.Context, k userKeys, user int64) error {
	for {
		events, err := e.redis.ZRange(ctx, k.recordIndex(), 0, eraseBatch-1).Result()
		if err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
		if len(events) == 0 {
			return nil
		}
		commands := make([]*rdb.Command, 0, 2*len(events))
		done := []any{"zrem", k.recordIndex()}
		for _, event := range events {
			commands = append(commands, rdb.NewCommand(ctx, "del", k.record(event)),
				eraseReceiverScript.Command(ctx, []string{e.receivers(e.parts.OfUser(user), event)}, user))
			done = append(done, event)
		}
		if err := e.batcher.Do(ctx, commands...); err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
		if err := e.batcher.Do(ctx, rdb.NewCommand(ctx, done...)); err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
	}
}
