package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed sweep.lua
	sweepSource string
	//go:embed forget.lua
	forgetSource string

	sweepScript  = script(sweepSource)
	forgetScript = script(forgetSource)
)

const (
	sweepMost      = 100 // notifications, messages or subjects that one script drops
	sweepInboxes   = 100 // conversations that are looked at in one round trip
	forgetMargin   = 24 * time.Hour
	subjectPattern = "r:*"
)

// Swept counts what a sweep has dropped.
type Swept struct{ Notifications, Messages, Subjects int }

func (w *Swept) add(more Swept) {
	w.Notifications += more.Notifications
	w.Messages += more.Messages
	w.Subjects += more.Subjects
}

// forgetAfter is how long the state of a subject that is in no counter is known
// after the last event about it: a late state is told from a newer one until then.
func (s *Store) forgetAfter() time.Duration { return max(s.Keep, s.remember()+forgetMargin) }

// Sweep drops what users have kept for longer than Options.Keep and KeepMessages
// allow, out of every set, so that their counters follow: notifications, messages
// and what is known of subjects that nobody counts. Scripts are bounded; users of
// whom nothing is to be dropped cost one round trip together. It may be repeated
// at any time, and run beside itself.
func (s *Store) Sweep(ctx context.Context, users []int64) (Swept, error) {
	var total Swept
	for len(users) > 0 {
		commands := make([]*rdb.Command, len(users))
		for i, user := range users {
			commands[i] = s.sweepCommand(ctx, s.keys(user))
		}
		if err := s.Batcher.Do(ctx, commands...); err != nil {
			return total, fmt.Errorf("sweep notifications: %w", err)
		}
		var again []int64
		for i, c := range commands {
			reply, err := c.Int64Slice()
			if err != nil || len(reply) != 3 {
				return total, fmt.Errorf("sweep notifications: reply %v: %w", reply, err)
			}
			total.Notifications += int(reply[0])
			if reply[1] == 1 {
				again = append(again, users[i])
				continue
			}
			more, err := s.sweepRest(ctx, users[i], reply[2] == 1)
			total.add(more)
			if err != nil {
				return total, err
			}
		}
		users = again
	}
	return total, nil
}

func (s *Store) sweepCommand(ctx context.Context, k userKeys) *rdb.Command {
	now := ""
	if s.test {
		now = strconv.FormatInt(s.Now().UnixMilli(), 10)
	}
	return sweepScript.Command(ctx, []string{k.meta(), k.notes(), k.unread(), k.open(), k.records(), k.trash()},
		s.Now().Add(-s.Keep).UnixMicro(), sweepMost, s.publish, k.channel(), now)
}

// sweepRest drops what is not a notification.
func (s *Store) sweepRest(ctx context.Context, user int64, trash bool) (swept Swept, err error) {
	if trash {
		if err := s.purge(ctx, user); err != nil {
			return swept, err
		}
	}
	if swept.Subjects, err = s.forgetSubjects(ctx, s.keys(user)); err != nil || s.KeepMessages == 0 {
		return swept, err
	}
	swept.Messages, err = s.sweepMessages(ctx, s.keys(user))
	return swept, err
}

// forgetSubjects drops the states of subjects about which nothing has come for
// forgetAfter and that are in no counter.
func (s *Store) forgetSubjects(ctx context.Context, k userKeys) (int, error) {
	before := model.NewID(s.Now().Add(-s.forgetAfter()))
	total := 0
	for cursor := uint64(0); ; {
		page, next, err := s.Redis.HScan(ctx, k.meta(), cursor, subjectPattern, sweepMost).Result()
		if err != nil {
			return total, fmt.Errorf("sweep subjects: %w", err)
		}
		var old []any
		for i := 0; i+1 < len(page); i += 2 {
			if lastTold(page[i+1]) < before {
				old = append(old, strings.TrimPrefix(page[i], "r:"), page[i+1])
			}
		}
		n, err := s.forget(ctx, k, old)
		total += n
		if cursor = next; err != nil || cursor == 0 {
			return total, err
		}
	}
}

func (s *Store) forget(ctx context.Context, k userKeys, old []any) (total int, err error) {
	for len(old) > 0 {
		n := min(len(old), 2*sweepMost)
		c := forgetScript.Command(ctx, []string{k.meta(), k.open()}, old[:n]...)
		if err := s.Batcher.Do(ctx, c); err != nil {
			return total, fmt.Errorf("sweep subjects: %w", err)
		}
		forgotten, err := c.Int()
		if err != nil {
			return total, fmt.Errorf("sweep subjects: %w", err)
		}
		total += forgotten
		old = old[n:]
	}
	return total, nil
}

// sweepMessages drops messages that are older than KeepMessages from a user's
// copies. A conversation without any left leaves the inbox.
func (s *Store) sweepMessages(ctx context.Context, k userKeys) (total int, err error) {
	before := model.NewID(s.Now().Add(-s.KeepMessages))
	for at := int64(0); ; at += sweepInboxes {
		conversations, err := s.Redis.ZRevRange(ctx, k.inboxes(), at, at+sweepInboxes-1).Result()
		if err != nil {
			return total, fmt.Errorf("sweep messages: %w", err)
		}
		oldest := make([]*rdb.Command, len(conversations))
		for i, c := range conversations {
			oldest[i] = rdb.NewCommand(ctx, "zrange", k.messages(c), 0, 0)
		}
		if len(oldest) > 0 {
			if err := s.Batcher.Do(ctx, oldest...); err != nil {
				return total, fmt.Errorf("sweep messages: %w", err)
			}
		}
		left := 0
		for i, c := range oldest {
			if ids, _ := c.StringSlice(); len(ids) == 0 || ids[0] >= before {
				left++
				continue
			}
			n, emptied, err := s.dropMessages(ctx, k, conversations[i], before, nil)
			total += n
			if err != nil {
				return total, err
			}
			if !emptied {
				left++
			}
		}
		if len(conversations) < sweepInboxes {
			return total, nil
		}
		at -= int64(len(conversations) - left) // those behind have moved up
	}
}

// dropMessages deletes the messages of a user's copy of a conversation that come
// before an id and that which, unless it is nil, approves of; a message without a
// body always goes. It reports whether none are left.
func (s *Store) dropMessages(ctx context.Context, k userKeys, conversation, before string, which func(*Message) bool) (total int, emptied bool, err error) {
	for after := "-"; ; {
		ids, err := s.Redis.ZRangeByLex(ctx, k.messages(conversation), &redis.ZRangeBy{
			Min: after, Max: "(" + before, Count: sweepMost,
		}).Result()
		if err != nil {
			return total, false, fmt.Errorf("drop messages: %w", err)
		}
		if len(ids) == 0 {
			break
		}
		after = "(" + ids[len(ids)-1]
		messages, err := s.bodiesOf(ctx, k, ids)
		if err != nil {
			return total, false, err
		}
		var gone []Message
		for i := range messages {
			if which == nil || messages[i].Conversation == "" || which(&messages[i]) {
				gone = append(gone, messages[i])
			}
		}
		if len(gone) == 0 {
			continue
		}
		c := s.deleteCommand(ctx, k, conversation, gone...)
		if err := s.Batcher.Do(ctx, c); err != nil {
			return total, false, fmt.Errorf("drop messages: %w", err)
		}
		n, err := c.Int()
		if err != nil {
			return total, false, fmt.Errorf("drop messages: %w", err)
		}
		total += n
	}
	left, err := s.Redis.Exists(ctx, k.messages(conversation)).Result()
	if err != nil {
		return total, false, fmt.Errorf("drop messages: %w", err)
	}
	return total, left == 0, nil
}

// bodiesOf returns messages in the order of ids. Those that have no body have only
// their id.
func (s *Store) bodiesOf(ctx context.Context, k userKeys, ids []string) ([]Message, error) {
	bodies, err := s.Redis.HMGet(ctx, k.bodies(), ids...).Result()
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	messages := make([]Message, len(ids))
	for i, body := range bodies {
		messages[i].ID = ids[i]
		if stored, ok := body.(string); ok {
			if messages[i], err = parseMessage(ids[i], stored, false); err != nil {
				return nil, err
			}
		}
	}
	return messages, nil
}

// lastTold returns the newest id in what meta says of a subject: of what told its
// state, or of what was pushed about it.
func lastTold(subject string) string {
	told := ""
	for field := range strings.FieldsSeq(subject) {
		if model.ValidID(field) {
			told = max(told, field)
		}
	}
	return told
}
