package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	erasePage   = 200              // entries of a stream that are looked at together
	erasureFor  = 2 * time.Minute  // an erasure that takes longer is done by two at once, which is harmless
	erasedAgain = 30 * time.Second // more than what is under way takes, beside a lease
)

// Erase erases everything that is kept of a user, wherever it is: inbox, counters,
// conversations, devices, credential, what waits to be pushed, dead letters, and at
// partners the messages that they have from the user. A tombstone stands first: what
// is published to the user from then on, and what was under way, is accepted and
// dropped, until SetProfile makes the user known anew or no repeat can come any
// more. When Erase fails half way, or its process dies, Run of any process goes on.
// Erasing a user of whom nothing is kept, or again, is no error.
func (d *Dispatcher) Erase(ctx context.Context, user int64) error {
	if err := d.Inbox.Eraser.Begin(ctx, user, erasureFor); err != nil {
		return err
	}
	return d.erase(ctx, user)
}

// finishErasures goes on with erasures that were left. It also does each once more
// when what was under way beside it has ended: a push that failed at that moment may
// have been put off or buried since.
func (d *Dispatcher) finishErasures(ctx context.Context) error {
	due, err := d.Inbox.Eraser.Due(ctx, erasureMost)
	if err != nil {
		return err
	}
	var failed []error
	for _, user := range due {
		goOn, err := d.Inbox.Eraser.Resume(ctx, user, erasureFor)
		if err == nil && goOn {
			err = d.erase(ctx, user)
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

// erase does the work behind the tombstone. Each step finds what an interrupted one
// has left; who the partners are is forgotten last.
func (d *Dispatcher) erase(ctx context.Context, user int64) error {
	if err := d.Credentials.Erase(ctx, user); err != nil {
		return err
	}
	if err := d.Devices.Erase(ctx, user); err != nil {
		return err
	}
	partners, err := d.Inbox.Eraser.Partners(ctx, user)
	if err != nil {
		return err
	}
	for _, partner := range partners {
		// What the partner has sent, and has not got back yet.
		if err := d.catchUp(ctx, min(user, partner), model.ConversationID(user, partner)); err != nil {
			return err
		}
		if err := d.Inbox.Eraser.EraseAtPartner(ctx, partner, user); err != nil {
			return err
		}
	}
	for p := range d.Partitions.Len() {
		if err := d.eraseQueued(ctx, p, user); err != nil {
			return err
		}
	}
	if err := d.Inbox.Eraser.EraseUser(ctx, user, partners); err != nil {
		return err
	}
	return d.Inbox.Eraser.Finish(ctx, user, d.Lease+erasedAgain)
}

// eraseQueued drops what concerns a user from a partition's hand-offs and queues, in
// the direction in which entries move, so that none is missed.
func (d *Dispatcher) eraseQueued(ctx context.Context, partition int, user int64) error {
	err := d.Inbox.Handoffs.Drop(ctx, partition, func(text string) bool { return handoffConcerns(text, user) })
	if err != nil {
		return err
	}
	concerns := func(value string) bool { return entryConcerns(value, user) }
	if err := d.dropEntries(ctx, d.deadKey(partition), concerns); err != nil {
		return err
	}
	for _, l := range push.Lanes {
		if err := rdb.DropMembers(ctx, d.Redis, d.delayedKey(partition, l), concerns); err != nil {
			return err
		}
		if err := d.dropEntries(ctx, d.outKey(partition, l), concerns); err != nil {
			return err
		}
	}
	return nil
}

// dropEntries drops entries from an outbox or from among dead letters. A worker that
// holds one finds nothing to settle then.
func (d *Dispatcher) dropEntries(ctx context.Context, stream string, which func(value string) bool) error {
	for after := "-"; ; {
		page, err := d.Redis.XRangeN(ctx, stream, after, "+", erasePage).Result()
		if err != nil {
			return fmt.Errorf("look through %s: %w", stream, err)
		}
		var drop []string
		for _, m := range page {
			if value, _ := m.Values["e"].(string); which(value) {
				drop = append(drop, m.ID)
			}
			after = "(" + m.ID
		}
		if len(drop) > 0 {
			pipe := d.Redis.TxPipeline()
			pipe.XAck(ctx, stream, group, drop...) // of no effect on dead letters
			pipe.XDel(ctx, stream, drop...)
			if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
				return fmt.Errorf("drop from %s: %w", stream, err)
			}
		}
		if len(page) < erasePage {
			return nil
		}
	}
}

// entryConcerns reports whether an entry is a push to a user, or of a message that
// the user has sent.
func entryConcerns(value string, user int64) bool {
	if !strings.Contains(value, strconv.FormatInt(user, 10)) { // most of them
		return false
	}
	e, err := parseEntry(value)
	if err != nil {
		return false // nobody can read whom it is for
	}
	return e.User == user || e.From != "" && senderOf(e.body) == user
}

// senderOf returns who has sent the message that a push tells of.
func senderOf(body string) (user int64) {
	b, err := readBody([]byte(body))
	if err != nil {
		return 0
	}
	_ = jsonscan.EachMember(b.details, func(m jsonscan.Member) { // else there is none
		if string(m.Name()) == "sender_id" {
			s, _ := jsonscan.Scalar(m.Value)
			user, _ = ParseUser(s)
		}
	})
	return user
}

// handoffConcerns reports whether a hand-off is from or to a user.
func handoffConcerns(text string, user int64) bool {
	var h handoff
	if json.Unmarshal([]byte(text), &h) != nil {
		return false
	}
	return h.Pending != nil && h.Pending.First == user ||
		h.Reading != nil && (h.Reading.User == user || h.Reading.Partner == user)
}
