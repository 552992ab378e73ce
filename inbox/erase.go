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

// Errors about users who are erased.
var (
	// ErrErased reports that the user's tombstone stands.
	ErrErased = errors.New("the user was erased")
	// ErrErasing reports that the user is being erased at the moment: the call may
	// be repeated soon.
	ErrErasing = errors.New("the user is being erased")
)

var (
	//go:embed erasure.lua
	erasureSource string
	//go:embed erase_receiver.lua
	eraseReceiverSource string
	//go:embed revoke.lua
	revokeSource string

	erasureScript       = script(erasureSource)
	eraseReceiverScript = script(eraseReceiverSource)
	revokeScript        = script(revokeSource)
)

const (
	tombstoneMargin = 24 * time.Hour
	revokedFor      = 24 * time.Hour // longer than a pub/sub connection may be away
	eraseMost       = 100            // records or conversations in one round trip
	anyID           = "g"            // comes after every id
)

// tombstoneFor is how long an erased user's tombstone stands, unless SetProfile
// lifts it: longer than events and messages from before may come again.
func (s *Store) tombstoneFor() time.Duration { return s.remember() + tombstoneMargin }

// Bury raises a user's tombstone: from here on, what is stored for the user is
// dropped, and a user without a tombstone does not become one by it. It notes the
// user for Erasures in case the caller dies, and ends the user's live sockets.
// Whoever calls it goes on with Partners, EraseAt, EraseUser and FinishErasure.
func (s *Store) Bury(ctx context.Context, user int64, patience time.Duration) error {
	if _, err := s.erasureStep(ctx, user, "bury", patience); err != nil {
		return err
	}
	return s.Revoke(ctx, user)
}

// ResumeErasure claims an erasure that was left, for as long as patience. It reports
// false when there is nothing to be done any more.
func (s *Store) ResumeErasure(ctx context.Context, user int64, patience time.Duration) (bool, error) {
	return s.erasureStep(ctx, user, "resume", patience)
}

// FinishErasure says that all of the user is erased. The first time it has Erasures
// name the user once more, after a time in which everything that was under way
// before the tombstone has come to its end.
func (s *Store) FinishErasure(ctx context.Context, user int64, again time.Duration) error {
	_, err := s.erasureStep(ctx, user, "finish", again)
	return err
}

func (s *Store) erasureStep(ctx context.Context, user int64, step string, later time.Duration) (bool, error) {
	c := erasureScript.Command(ctx, []string{s.keys(user).meta(), s.erasures(s.parts.OfUser(user))},
		user, step, s.tombstoneFor().Milliseconds(), later.Milliseconds())
	if err := s.Batcher.Do(ctx, c); err != nil {
		return false, fmt.Errorf("erase user: %w", err)
	}
	n, err := c.Int()
	if err != nil {
		return false, fmt.Errorf("erase user: %w", err)
	}
	return n == 1, nil
}

// Erased reports whether the user's tombstone stands.
func (s *Store) Erased(ctx context.Context, user int64) (bool, error) {
	erased, err := s.Redis.HExists(ctx, s.keys(user).meta(), "erased").Result()
	if err != nil {
		return false, fmt.Errorf("look for a tombstone: %w", err)
	}
	return erased, nil
}

// Erasures returns users whose erasing is to be gone on with, at most the given
// number of each partition, in one round trip.
func (s *Store) Erasures(ctx context.Context, most int) ([]int64, error) {
	now := strconv.FormatInt(s.Now().UnixMilli(), 10)
	commands := make([]*rdb.Command, s.parts.Len())
	for p := range commands {
		commands[p] = rdb.NewCommand(ctx, "zrangebyscore", s.erasures(p), "-inf", now, "limit", 0, most)
	}
	if err := s.Batcher.Do(ctx, commands...); err != nil {
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

// Revoke tells a user's live sockets, in every process, that what they signed in
// with is not good any more. Processes that have not heard of it find it for a day.
func (s *Store) Revoke(ctx context.Context, user int64) error {
	c := revokeScript.Command(ctx, []string{s.LiveKeys(user).Revoked}, revokedFor.Milliseconds(), s.publish, s.Channel(user))
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("revoke sockets: %w", err)
	}
	return nil
}

// Partners returns, in order, those at whom something of a user lies: whom the user
// has sent messages, has a conversation or has had a transaction with.
func (s *Store) Partners(ctx context.Context, user int64) ([]int64, error) {
	k := s.keys(user)
	members, err := s.Redis.SMembers(ctx, k.partners()).Result()
	if err != nil {
		return nil, fmt.Errorf("list partners: %w", err)
	}
	conversations, err := s.Redis.ZRange(ctx, k.inboxes(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list partners: %w", err)
	}
	for some := range slices.Chunk(conversations, eraseMost) {
		commands := make([]*rdb.Command, len(some))
		for i, c := range some {
			commands[i] = rdb.NewCommand(ctx, "hget", k.conversation(c), "partner")
		}
		if err := s.Batcher.Do(ctx, commands...); err != nil {
			return nil, fmt.Errorf("list partners: %w", err)
		}
		for _, c := range commands {
			partner, _ := c.Text() // nil: there is none
			members = append(members, partner)
		}
	}
	fields, err := s.Redis.HKeys(ctx, k.contacts()).Result()
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

// EraseAt erases what lies of a user at a partner: the messages that the user has
// sent, in whichever sets they are, and what the partner's contacts say. The
// partner's own messages stay.
func (s *Store) EraseAt(ctx context.Context, partner, user int64) error {
	k, conversation := s.keys(partner), model.ConversationID(partner, user)
	// A message that a request is still handing over is dropped when it comes.
	if err := s.Redis.Set(ctx, k.gone(conversation), model.NewID(s.Now()), s.tombstoneFor()).Err(); err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	if err := s.purge(ctx, partner); err != nil { // bodies that a deleted conversation has left
		return err
	}
	theirs := func(m *Message) bool { return m.Sender == user }
	if _, _, err := s.dropMessages(ctx, k, conversation, anyID, theirs); err != nil {
		return err
	}
	fields, err := s.Redis.HKeys(ctx, k.contacts()).Result() // mostContacts at most
	if err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	pipe := s.Redis.TxPipeline()
	for _, field := range fields {
		if c, err := parseContact(field, "{}"); err == nil && c.Partner == user {
			pipe.HDel(ctx, k.contacts(), field)
			pipe.ZRem(ctx, k.recentContacts(), field)
		}
	}
	pipe.SRem(ctx, k.partners(), user)
	pipe.ZRem(ctx, s.LiveKeys(partner).Watchers, user)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("erase at a partner: %w", err)
	}
	return nil
}

// EraseUser erases everything that the store keeps of a user apart from the
// tombstone. Partners are those of Partners: at them it has to be erased before,
// because who they are is lost here.
func (s *Store) EraseUser(ctx context.Context, user int64, partners []int64) error {
	k := s.keys(user)
	if err := s.eraseRecords(ctx, k, user); err != nil {
		return err
	}
	trash, err := s.Redis.SMembers(ctx, k.trash()).Result()
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	keys := trash
	for _, partner := range partners {
		c := model.ConversationID(user, partner)
		keys = append(keys, k.conversation(c), k.messages(c), k.received(c), k.sent(c), k.gone(c), k.pending(c))
	}
	live := s.LiveKeys(user)
	keys = append(keys, k.notes(), k.unread(), k.open(), k.log(), k.profile(), k.inboxes(), k.unreadInboxes(),
		k.bodies(), k.words(), k.trash(), k.contacts(), k.recentContacts(), k.records(), k.heads(),
		live.Online, live.Seen, live.Watchers,
		k.partners()) // the last one: what leads to the others goes after them
	for some := range slices.Chunk(keys, eraseMost) {
		if err := s.Redis.Unlink(ctx, some...).Err(); err != nil {
			return fmt.Errorf("erase user: %w", err)
		}
	}
	return s.unlist(ctx, user)
}

// unlist takes a user off the list of the partition's users.
func (s *Store) unlist(ctx context.Context, user int64) error {
	users, member := s.parts.Listing(user)
	if err := s.Batcher.Do(ctx, rdb.NewCommand(ctx, "zrem", users, member)); err != nil {
		return fmt.Errorf("unlist user: %w", err)
	}
	return nil
}

// eraseRecords erases the records of a user's events, and the user from among their
// receivers.
func (s *Store) eraseRecords(ctx context.Context, k userKeys, user int64) error {
	for {
		events, err := s.Redis.ZRange(ctx, k.records(), 0, eraseMost-1).Result()
		if err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
		if len(events) == 0 {
			return nil
		}
		commands := make([]*rdb.Command, 0, 2*len(events)+1)
		done := []any{"zrem", k.records()}
		for _, event := range events {
			commands = append(commands, rdb.NewCommand(ctx, "del", k.record(event)),
				eraseReceiverScript.Command(ctx, []string{s.receivers(event)}, user))
			done = append(done, event)
		}
		if err := s.Batcher.Do(ctx, commands...); err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
		if err := s.Batcher.Do(ctx, rdb.NewCommand(ctx, done...)); err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
	}
}

// DropHandoffs drops the hand-offs of a partition that which approves of.
func (s *Store) DropHandoffs(ctx context.Context, partition int, which func(handoff string) bool) error {
	return DropMembers(ctx, s.Redis, s.handoffs(partition), which)
}

// DropMembers drops the members of a sorted set that which approves of, in bounded
// steps. One that is there from beginning to end is not missed, whatever comes and
// goes meanwhile.
func DropMembers(ctx context.Context, rdb redis.UniversalClient, key string, which func(member string) bool) error {
	for cursor := uint64(0); ; {
		page, next, err := rdb.ZScan(ctx, key, cursor, "", eraseMost).Result()
		if err != nil {
			return fmt.Errorf("look through a set: %w", err)
		}
		var drop []any
		for i := 0; i < len(page); i += 2 {
			if which(page[i]) {
				drop = append(drop, page[i])
			}
		}
		if len(drop) > 0 {
			if err := rdb.ZRem(ctx, key, drop...).Err(); err != nil {
				return fmt.Errorf("drop from a set: %w", err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
