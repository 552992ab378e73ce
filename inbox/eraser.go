package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed erasure_step.lua
	erasureStepSource string
	//go:embed erase_receiver.lua
	eraseReceiverSource string
	//go:embed revoke.lua
	revokeSource string

	erasureStepScript   = script(erasureStepSource)
	eraseReceiverScript = script(eraseReceiverSource)
	revokeScript        = script(revokeSource)
)

const (
	revokedFor = 24 * time.Hour // longer than a pub/sub connection may be away
	eraseMost  = 100            // records or conversations in one round trip
	anyID      = "g"            // comes after every id
)

// Eraser erases users.
type Eraser struct {
	*base
	conversations *Conversations
	live          *Live
}

// Begin raises a user's tombstone: from here on, what is stored for the user is
// dropped, and a user without a tombstone does not become one by it. It notes the
// user for Erasures in case the caller dies, and ends the user's live sockets.
// Whoever calls it goes on with Partners, EraseAt, EraseUser and FinishErasure.
func (e *Eraser) Begin(ctx context.Context, user int64, patience time.Duration) error {
	if _, err := e.step(ctx, user, "bury", patience); err != nil {
		return err
	}
	return e.live.Revoke(ctx, user)
}

// Resume claims an erasure that was left, for as long as patience. It reports
// false when there is nothing to be done any more.
func (e *Eraser) Resume(ctx context.Context, user int64, patience time.Duration) (bool, error) {
	return e.step(ctx, user, "resume", patience)
}

// Finish says that all of the user is erased. The first time it has Erasures
// name the user once more, after a time in which everything that was under way
// before the tombstone has come to its end.
func (e *Eraser) Finish(ctx context.Context, user int64, again time.Duration) error {
	_, err := e.step(ctx, user, "finish", again)
	return err
}

func (e *Eraser) step(ctx context.Context, user int64, step string, later time.Duration) (bool, error) {
	c := erasureStepScript.Command(ctx, []string{e.keys(user).meta(), e.erasures(e.parts.OfUser(user))},
		user, step, e.tombstoneTTL().Milliseconds(), later.Milliseconds())
	if err := e.batcher.Do(ctx, c); err != nil {
		return false, fmt.Errorf("erase user: %w", err)
	}
	n, err := c.Int()
	if err != nil {
		return false, fmt.Errorf("erase user: %w", err)
	}
	return n == 1, nil
}

// Erased reports whether the user's tombstone stands.
func (e *Eraser) Erased(ctx context.Context, user int64) (bool, error) {
	erased, err := e.redis.HExists(ctx, e.keys(user).meta(), "erased").Result()
	if err != nil {
		return false, fmt.Errorf("look for a tombstone: %w", err)
	}
	return erased, nil
}

// Due returns users whose erasing is to be gone on with, at most the given
// number of each partition, in one round trip.
func (e *Eraser) Due(ctx context.Context, most int) ([]int64, error) {
	now := strconv.FormatInt(e.now().UnixMilli(), 10)
	commands := make([]*rdb.Command, e.parts.Len())
	for p := range commands {
		commands[p] = rdb.NewCommand(ctx, "zrangebyscore", e.erasures(p), "-inf", now, "limit", 0, most)
	}
	if err := e.batcher.Do(ctx, commands...); err != nil {
		return nil, fmt.Errorf("read erasures: %w", err)
	}
	var due []int64
	for _, c := range commands {
		members, err := c.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("read erasures: %w", err)
		}
		due = append(due, splitUsers(strings.Join(members, " "))...)
	}
	return due, nil
}

// Partners returns, in order, those at whom something of a user lies: whom the user
// has sent messages, has a conversation or has had a transaction with.
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
	for some := range slices.Chunk(conversations, eraseMost) {
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

// EraseAtPartner erases what lies of a user at a partner: the messages that the user has
// sent, in whichever sets they are, and what the partner's contacts say. The
// partner's own messages stay.
func (e *Eraser) EraseAtPartner(ctx context.Context, partner, user int64) error {
	k, conversation := e.keys(partner), model.ConversationID(partner, user)
	// A message that a request is still handing over is dropped when it comes.
	if err := e.redis.Set(ctx, k.erasedUpTo(conversation), model.NewID(e.now()), e.tombstoneTTL()).Err(); err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	if err := e.conversations.purge(ctx, partner); err != nil { // bodies that a deleted conversation has left
		return err
	}
	theirs := func(m *Message) bool { return m.Sender == user }
	if _, _, err := e.conversations.dropMessages(ctx, k, conversation, anyID, theirs); err != nil {
		return err
	}
	fields, err := e.redis.HKeys(ctx, k.contacts()).Result() // mostContacts at most
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
	pipe.ZRem(ctx, e.live.Keys(partner).Watchers, user)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	return nil
}

// EraseUser erases everything that the store keeps of a user apart from the
// tombstone. Partners are those of Partners: at them it has to be erased before,
// because who they are is lost here.
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
		keys = append(keys, k.conversation(c), k.messages(c), k.receivedUnread(c), k.sentUnread(c), k.erasedUpTo(c), k.pending(c))
	}
	live := e.live.Keys(user)
	keys = append(keys, k.notifications(), k.unread(), k.counted(), k.replayLog(), k.profile(), k.conversations(), k.unreadConversations(),
		k.bodies(), k.words(), k.trash(), k.contacts(), k.recentContacts(), k.recordIndex(), k.heads(),
		live.Online, live.Seen, live.Watchers,
		k.partners()) // the last one: what leads to the others goes after them
	for some := range slices.Chunk(keys, eraseMost) {
		if err := e.redis.Unlink(ctx, some...).Err(); err != nil {
			return fmt.Errorf("erase user: %w", err)
		}
	}
	return e.unlist(ctx, user)
}

// unlist takes a user off the list of the partition's users.
func (e *Eraser) unlist(ctx context.Context, user int64) error {
	users, member := e.parts.Listing(user)
	if err := e.batcher.Do(ctx, rdb.NewCommand(ctx, "zrem", users, member)); err != nil {
		return fmt.Errorf("unlist user: %w", err)
	}
	return nil
}

// eraseRecords erases the records of a user's events, and the user from among their
// receivers.
func (e *Eraser) eraseRecords(ctx context.Context, k userKeys, user int64) error {
	for {
		events, err := e.redis.ZRange(ctx, k.recordIndex(), 0, eraseMost-1).Result()
		if err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
		if len(events) == 0 {
			return nil
		}
		commands := make([]*rdb.Command, 0, 2*len(events)+1)
		done := []any{"zrem", k.recordIndex()}
		for _, event := range events {
			commands = append(commands, rdb.NewCommand(ctx, "del", k.record(event)),
				eraseReceiverScript.Command(ctx, []string{e.receivers(event)}, user))
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
