package outbox

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// ErrNoLetter reports that there is no such dead letter (any more).
var ErrNoLetter = errors.New("no such dead letter")

//go:embed requeue.lua
var requeueSource string
var requeueScript = rdb.NewScript(requeueSource)

// A DeadLetter is a push that is not tried any more. It is kept for 30 days.
type DeadLetter struct {
	ID         string // "PARTITION-MILLISECONDS-NUMBER"
	BuriedAt   time.Time
	AcceptedAt time.Time // of the event; zero when the entry cannot be read
	Lane       string
	Receiver   int64
	Device     string // its id; empty when the push was for all of the user's
	Route      string // the way to the device, see push.Route; empty when it is not known
	Type       string
	Reason     string
	Attempts   int
	Body       string // the notification; show it only to those who ask for it

	value string
}

// DeadLetters returns the newest dead letters, limit of them at most.
func (o *Outbox) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	var letters []DeadLetter
	for p := range o.partitions.Len() {
		messages, err := o.redis.XRevRangeN(ctx, o.deadKey(p), "+", "-", int64(limit)).Result()
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		for _, m := range messages {
			letters = append(letters, newDeadLetter(p, m))
		}
	}
	slices.SortFunc(letters, func(a, b DeadLetter) int {
		return cmp.Or(b.BuriedAt.Compare(a.BuriedAt), strings.Compare(a.ID, b.ID))
	})
	return letters[:min(limit, len(letters))], nil
}

// DeadLetter returns one dead letter, or ErrNoLetter.
func (o *Outbox) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	p, stream, err := o.splitLetter(id)
	if err != nil {
		return DeadLetter{}, err
	}
	messages, err := o.redis.XRange(ctx, o.deadKey(p), stream, stream).Result()
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter: %w", err)
	}
	if len(messages) == 0 {
		return DeadLetter{}, fmt.Errorf("%w: %s", ErrNoLetter, id)
	}
	letter := newDeadLetter(p, messages[0])
	if key, ok := inbox.ParseReference(letter.Body); ok {
		texts, err := o.bodies.Get(ctx, letter.Receiver, key)
		if err != nil {
			return DeadLetter{}, err
		}
		letter.Body = string(texts[key].Body)
	}
	return letter, nil
}

// Requeue returns a dead letter to the outbox, to be retried for RetryFor again. The error
// is ErrNoLetter when there is none.
func (o *Outbox) Requeue(ctx context.Context, id string) error {
	letter, err := o.DeadLetter(ctx, id)
	if err != nil {
		return err
	}
	l, err := push.ParseLane(letter.Lane)
	if err != nil {
		return fmt.Errorf("requeue %s: %w", id, err)
	}
	e, err := ParseEntry(letter.value)
	if err != nil {
		return fmt.Errorf("requeue %s: %w", id, err)
	}
	until := o.now().Add(o.retryFor).UnixMilli()
	e.Attempt, e.Until, e.Expires = 0, until, max(e.Expires, until)
	e.Since, e.Recheck, e.Waits = o.now().UnixMilli(), false, ""
	return o.removeLetter(ctx, id, func(p int) string { return o.StreamKey(p, l) }, e.Value())
}

// Drop deletes a dead letter. The error is ErrNoLetter when there is none.
func (o *Outbox) Drop(ctx context.Context, id string) error {
	return o.removeLetter(ctx, id, o.deadKey, "")
}

func (o *Outbox) removeLetter(ctx context.Context, id string, to func(partition int) string, value string) error {
	p, stream, err := o.splitLetter(id)
	if err != nil {
		return err
	}
	c, err := o.batcher.Run(ctx, requeueScript, []string{o.deadKey(p), to(p)}, stream, value)
	if err != nil {
		return fmt.Errorf("remove dead letter: %w", err)
	}
	n, err := c.Int()
	if err != nil {
		return fmt.Errorf("remove dead letter: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%w: %s", ErrNoLetter, id)
	}
	return nil
}

// splitLetter reads "PARTITION-MILLISECONDS-NUMBER".
func (o *Outbox) splitLetter(id string) (partition int, stream string, err error) {
	head, stream, _ := strings.Cut(id, "-")
	partition, err = strconv.Atoi(head)
	ms, n, ok := strings.Cut(stream, "-")
	if err != nil || partition < 0 || partition >= o.partitions.Len() || !ok || !isNumber(ms) || !isNumber(n) {
		return 0, "", fmt.Errorf("%w: %q has not the form of an id", ErrNoLetter, id)
	}
	return partition, stream, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

func newDeadLetter(partition int, m redis.XMessage) DeadLetter {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	l := DeadLetter{
		ID:       strconv.Itoa(partition) + "-" + m.ID,
		BuriedAt: idTime(m.ID),
		Lane:     text("lane"),
		Device:   text("device"),
		Route:    text("route"),
		Reason:   text("reason"),
		value:    text(EntryField),
	}
	if e, err := ParseEntry(l.value); err == nil {
		l.Receiver, l.Type, l.Attempts, l.Body = e.User, e.Type, e.Attempt, e.Body
		l.AcceptedAt, _ = model.IDTime(e.ID)
	}
	return l
}
