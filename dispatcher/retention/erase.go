package retention

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	// erasureTimeout is the time after which another process resumes an erasure. When the
	// first one is still at work, both do the same, which is harmless.
	erasureTimeout = 2 * time.Minute
	// repeatMargin plus a lease is longer than any operation that was under way when the
	// tombstone was raised.
	repeatMargin = 30 * time.Second
)

// Erase erases all data of a user: inbox, counters, conversations, devices, credential,
// queued pushes, dead letters, and at partners the messages that the user has sent them. It
// raises a tombstone first: from then on, events for the user are accepted and dropped,
// until Profiles.Set makes the user known anew or the tombstone expires. When Erase fails
// half way, or its process dies, Run of any process resumes it. Erasing an unknown user, or
// one twice, is no error.
func (j *Janitor) Erase(ctx context.Context, user int64) error {
	if err := j.inbox.Eraser.Begin(ctx, user, erasureTimeout); err != nil {
		return err
	}
	return j.erase(ctx, user)
}

// ResumeErasures continues erasures that were interrupted. It also repeats each erasure
// once, after the operations that ran beside it have ended: a push that failed at that
// moment may have been delayed or become a dead letter since.
func (j *Janitor) ResumeErasures(ctx context.Context) error {
	due, err := j.inbox.Eraser.Due(ctx, maxErasures)
	var failed []error
	if err != nil { // a shard is away: users of other shards are erased
		failed = append(failed, err)
	}
	for _, user := range due {
		resume, err := j.inbox.Eraser.Resume(ctx, user, erasureTimeout)
		if err == nil && resume {
			err = j.erase(ctx, user)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("go on erasing user %d: %w", user, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// erase erases a user whose tombstone stands. Every step can be repeated after an
// interruption: the list of partners, which leads to the data at them, is erased last.
func (j *Janitor) erase(ctx context.Context, user int64) error {
	if err := j.credentials.Erase(ctx, user); err != nil {
		return err
	}
	if err := j.devices.Erase(ctx, user); err != nil {
		return err
	}
	partners, err := j.inbox.Eraser.Partners(ctx, user)
	if err != nil {
		return err
	}
	for _, partner := range partners {
		// The partner keeps their own messages: those that are still on their way arrive first.
		if err := j.chat.CatchUp(ctx, min(user, partner), model.ConversationID(user, partner)); err != nil {
			return err
		}
		if err := j.inbox.Eraser.EraseAtPartner(ctx, partner, user); err != nil {
			return err
		}
	}
	for p := range j.partitions.Len() {
		if err := j.eraseQueued(ctx, p, user); err != nil {
			return err
		}
	}
	scheduled, err := j.inbox.Eraser.Scheduled(ctx, user)
	if err != nil {
		return err
	}
	for _, event := range scheduled { // before the records, which lead to them
		if err := j.schedule.Forget(ctx, event, user); err != nil {
			return err
		}
	}
	if err := j.inbox.Eraser.EraseUser(ctx, user, partners); err != nil {
		return err
	}
	if err := j.broadcasts.Unlist(ctx, user); err != nil {
		return err
	}
	return j.inbox.Eraser.Finish(ctx, user, j.lease+repeatMargin)
}

// eraseQueued drops the hand-offs and queued entries of a partition that concern a user.
func (j *Janitor) eraseQueued(ctx context.Context, partition int, user int64) error {
	err := j.inbox.Handoffs.Drop(ctx, partition, func(handoff string) bool { return j.concerns(handoff, user) })
	if err != nil {
		return err
	}
	return j.queues.DropEntries(ctx, partition, func(value string) bool { return entryConcerns(value, user) })
}

// entryConcerns reports whether an entry is a push to a user, or of a message that the
// user has sent. One that cannot be read concerns nobody.
func entryConcerns(value string, user int64) bool {
	if !strings.Contains(value, strconv.FormatInt(user, 10)) { // spares parsing most of them
		return false
	}
	e, err := outbox.ParseEntry(value)
	if err != nil {
		return false
	}
	return e.User == user || e.From != "" && content.MessageSender([]byte(e.Body)) == user
}
