package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed sweep.lua
	sweepSource string
	//go:embed forget_subjects.lua
	forgetSubjectsSource string

	sweepScript          = script(sweepSource)
	forgetSubjectsScript = script(forgetSubjectsSource)
)

const (
	sweepBatch         = 100 // notifications or subjects that one script drops
	sweepConversations = 100 // conversations that are looked at in one round trip
	subjectMargin      = 24 * time.Hour
	subjectPattern     = "r:*"
)

// Swept counts what a sweep dropped.
type Swept struct{ Notifications, Messages, Subjects int }

func (w *Swept) add(more Swept) {
	w.Notifications += more.Notifications
	w.Messages += more.Messages
	w.Subjects += more.Subjects
}

// subjectTTL is how long a subject that is in no counter is remembered after the last
// event about it. Until then a state that comes late is recognised as late.
func (b *base) subjectTTL() time.Duration { return max(b.options.Keep, b.recordTTL()+subjectMargin) }

// Sweeper drops users' data that is older than the configuration allows.
type Sweeper struct {
	*base
	conversations *Conversations
}

// Sweep drops notifications and messages that are older than Options.Keep and KeepMessages
// allow, and subjects that are in no counter. It drops them from every set, so that the
// counters stay right. Each script drops a bounded number. All users without anything to
// drop cost one round trip together. It may be repeated, and run concurrently with itself.
// An error concerns one user: the other users are swept.
func (s *Sweeper) Sweep(ctx context.Context, users []int64) (Swept, error) {
	var total Swept
	var failed []error
	for len(users) > 0 {
		commands := make([]*rdb.Command, len(users))
		for i, user := range users {
			commands[i] = s.sweepCommand(ctx, s.keys(user))
		}
		_ = s.batcher.Do(ctx, commands...) // each command holds its own error
		var again []int64
		for i, c := range commands {
			reply, err := c.Int64s(6)
			if err != nil {
				failed = append(failed, fmt.Errorf("sweep notifications of user %d: %w", users[i], err))
				continue
			}
			total.Notifications += int(reply[0])
			if reply[1] == 1 {
				again = append(again, users[i])
				continue
			}
			more, err := s.sweepRest(ctx, users[i], remains{
				trash: reply[2] == 1, subjects: reply[4] == 1, conversations: reply[5] == 1,
			}, time.UnixMicro(reply[3]))
			total.add(more)
			if err != nil {
				failed = append(failed, fmt.Errorf("sweep user %d: %w", users[i], err))
			}
		}
		users = again
	}
	return total, errors.Join(failed...)
}

func (s *Sweeper) sweepCommand(ctx context.Context, k userKeys) *rdb.Command {
	keys, dismissal := s.withShade(k, k.meta(), k.notifications(), k.unread(), k.counted(), k.recordIndex(), k.trash(), k.conversations())
	return sweepScript.Command(ctx, keys, s.options.Keep.Microseconds(), sweepBatch, s.publish, k.channel(), s.testTime(), dismissal)
}

// remains say what else a user has that may be too old.
type remains struct{ trash, subjects, conversations bool }

// sweepRest drops all other data that is too old: bodies of deleted conversations, subjects
// and messages. now is Redis' time.
func (s *Sweeper) sweepRest(ctx context.Context, user int64, has remains, now time.Time) (swept Swept, err error) {
	if has.trash {
		if err := s.conversations.purge(ctx, user); err != nil {
			return swept, err
		}
	}
	if has.subjects {
		if swept.Subjects, err = s.forgetSubjects(ctx, s.keys(user), now); err != nil {
			return swept, err
		}
	}
	if has.conversations && s.options.KeepMessages != 0 {
		swept.Messages, err = s.sweepMessages(ctx, s.keys(user), now)
	}
	return swept, err
}

// forgetSubjects forgets subjects that are in no counter and about which no event has
// come for subjectTTL.
func (s *Sweeper) forgetSubjects(ctx context.Context, k userKeys, now time.Time) (int, error) {
	before := model.NewID(now.Add(-s.subjectTTL()))
	total := 0
	for cursor := uint64(0); ; {
		page, next, err := s.redis.HScan(ctx, k.meta(), cursor, subjectPattern, sweepBatch).Result()
		if err != nil {
			return total, fmt.Errorf("sweep subjects: %w", err)
		}
		var old []any
		for i := 0; i+1 < len(page); i += 2 {
			if newestID(page[i+1]) < before {
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

func (s *Sweeper) forget(ctx context.Context, k userKeys, old []any) (total int, err error) {
	for len(old) > 0 {
		n := min(len(old), 2*sweepBatch)
		c, err := s.batcher.Run(ctx, forgetSubjectsScript, []string{k.meta(), k.counted()}, old[:n]...)
		if err != nil {
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

// sweepMessages drops messages that are older than KeepMessages from a user's copies. A
// conversation without any left is deleted.
func (s *Sweeper) sweepMessages(ctx context.Context, k userKeys, now time.Time) (total int, err error) {
	before := model.NewID(now.Add(-s.options.KeepMessages))
	for at := int64(0); ; at += sweepConversations {
		conversations, err := s.redis.ZRevRange(ctx, k.conversations(), at, at+sweepConversations-1).Result()
		if err != nil {
			return total, fmt.Errorf("sweep messages: %w", err)
		}
		oldest := make([]*rdb.Command, len(conversations))
		for i, c := range conversations {
			oldest[i] = rdb.NewCommand(ctx, "zrange", k.messages(c), 0, 0)
		}
		if len(oldest) > 0 {
			if err := s.batcher.Do(ctx, oldest...); err != nil {
				return total, fmt.Errorf("sweep messages: %w", err)
			}
		}
		left := 0
		for i, c := range oldest {
			ids, err := c.StringSlice()
			if err != nil {
				return total, fmt.Errorf("sweep messages: %w", err)
			}
			if len(ids) == 0 || ids[0] >= before {
				left++
				continue
			}
			n, emptied, err := s.conversations.dropMessages(ctx, k, conversations[i], before, nil)
			total += n
			if err != nil {
				return total, err
			}
			if !emptied {
				left++
			}
		}
		if len(conversations) < sweepConversations {
			return total, nil
		}
		at -= int64(len(conversations) - left) // the next conversations take the places of deleted ones
	}
}

// newestID returns the greatest id of a notification in a subject's value in meta.
func newestID(state string) string {
	newest := ""
	for field := range strings.FieldsSeq(state) {
		if model.ValidID(field) {
			newest = max(newest, field)
		}
	}
	return newest
}
