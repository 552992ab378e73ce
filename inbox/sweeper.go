package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
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
func (b *base) forgetAfter() time.Duration { return max(b.options.Keep, b.recordTTL()+forgetMargin) }

// Sweeper drops what users have kept for too long.
type Sweeper struct {
	*base
	conversations *Conversations
}

// Sweep drops what users have kept for longer than Options.Keep and KeepMessages
// allow, out of every set, so that their counters follow: notifications, messages
// and what is known of subjects that nobody counts. Scripts are bounded; users of
// whom nothing is to be dropped cost one round trip together. It may be repeated
// at any time, and run beside itself.
func (s *Sweeper) Sweep(ctx context.Context, users []int64) (Swept, error) {
	var total Swept
	for len(users) > 0 {
		commands := make([]*rdb.Command, len(users))
		for i, user := range users {
			commands[i] = s.sweepCommand(ctx, s.keys(user))
		}
		if err := s.batcher.Do(ctx, commands...); err != nil {
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

func (s *Sweeper) sweepCommand(ctx context.Context, k userKeys) *rdb.Command {
	now := ""
	if s.testClock {
		now = strconv.FormatInt(s.now().UnixMilli(), 10)
	}
	return sweepScript.Command(ctx, []string{k.meta(), k.notifications(), k.unread(), k.counted(), k.recordIndex(), k.trash()},
		s.now().Add(-s.options.Keep).UnixMicro(), sweepMost, s.publish, k.channel(), now)
}

// sweepRest drops what is not a notification.
func (s *Sweeper) sweepRest(ctx context.Context, user int64, trash bool) (swept Swept, err error) {
	if trash {
		if err := s.conversations.purge(ctx, user); err != nil {
			return swept, err
		}
	}
	if swept.Subjects, err = s.forgetSubjects(ctx, s.keys(user)); err != nil || s.options.KeepMessages == 0 {
		return swept, err
	}
	swept.Messages, err = s.sweepMessages(ctx, s.keys(user))
	return swept, err
}

// forgetSubjects drops the states of subjects about which nothing has come for
// forgetAfter and that are in no counter.
func (s *Sweeper) forgetSubjects(ctx context.Context, k userKeys) (int, error) {
	before := model.NewID(s.now().Add(-s.forgetAfter()))
	total := 0
	for cursor := uint64(0); ; {
		page, next, err := s.redis.HScan(ctx, k.meta(), cursor, subjectPattern, sweepMost).Result()
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

func (s *Sweeper) forget(ctx context.Context, k userKeys, old []any) (total int, err error) {
	for len(old) > 0 {
		n := min(len(old), 2*sweepMost)
		c := forgetSubjectsScript.Command(ctx, []string{k.meta(), k.counted()}, old[:n]...)
		if err := s.batcher.Do(ctx, c); err != nil {
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
func (s *Sweeper) sweepMessages(ctx context.Context, k userKeys) (total int, err error) {
	before := model.NewID(s.now().Add(-s.options.KeepMessages))
	for at := int64(0); ; at += sweepInboxes {
		conversations, err := s.redis.ZRevRange(ctx, k.conversations(), at, at+sweepInboxes-1).Result()
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
			if ids, _ := c.StringSlice(); len(ids) == 0 || ids[0] >= before {
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
		if len(conversations) < sweepInboxes {
			return total, nil
		}
		at -= int64(len(conversations) - left) // those behind have moved up
	}
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
