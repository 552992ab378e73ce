package dispatcher

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
)

// ErrNoLetter reports that there is no such dead letter (any more).
var ErrNoLetter = errors.New("no such dead letter")

//go:embed requeue.lua
var requeueSource string
var requeueScript = redis.NewScript(requeueSource)

// A DeadLetter is a push that is not tried any more. It is kept for 30 days.
type DeadLetter struct {
	ID         string // "PARTITION-MILLISECONDS-NUMBER"
	BuriedAt   time.Time
	AcceptedAt time.Time // of the event; zero when the entry cannot be read
	Lane       string
	Receiver   int64
	Device     string // its id; empty when the push was for all of the user's
	Type       string
	Reason     string
	Attempts   int
	Body       string // the notification; show it only to those who ask for it

	value string
}

// DeadLetters returns the newest dead letters, most of them at the most.
func (d *Dispatcher) DeadLetters(ctx context.Context, most int) ([]DeadLetter, error) {
	var letters []DeadLetter
	for p := range d.Partitions.Len() {
		messages, err := d.Redis.XRevRangeN(ctx, d.deadKey(p), "+", "-", int64(most)).Result()
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
	return letters[:min(most, len(letters))], nil
}

// DeadLetter returns one dead letter, or ErrNoLetter.
func (d *Dispatcher) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	p, stream, err := d.splitLetter(id)
	if err != nil {
		return DeadLetter{}, err
	}
	messages, err := d.Redis.XRange(ctx, d.deadKey(p), stream, stream).Result()
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter: %w", err)
	}
	if len(messages) == 0 {
		return DeadLetter{}, fmt.Errorf("%w: %s", ErrNoLetter, id)
	}
	letter := newDeadLetter(p, messages[0])
	if key, ok := inbox.ParseReference(letter.Body); ok {
		texts, err := d.Inbox.Texts.Get(ctx, letter.Receiver, key)
		if err != nil {
			return DeadLetter{}, err
		}
		letter.Body = string(texts[key].Body)
	}
	return letter, nil
}

// Requeue returns a dead letter to the outbox, to be tried anew for as long as at
// first. The error is ErrNoLetter when there is none.
func (d *Dispatcher) Requeue(ctx context.Context, id string) error {
	letter, err := d.DeadLetter(ctx, id)
	if err != nil {
		return err
	}
	l, err := push.ParseLane(letter.Lane)
	if err != nil {
		return fmt.Errorf("requeue %s: %w", id, err)
	}
	e, err := parseEntry(letter.value)
	if err != nil {
		return fmt.Errorf("requeue %s: %w", id, err)
	}
	until := d.Now().Add(d.RetryFor).UnixMilli()
	e.Attempt, e.Until, e.Expires = 0, until, max(e.Expires, until)
	return d.removeLetter(ctx, id, func(p int) string { return d.outKey(p, l) }, e.value())
}

// Drop deletes a dead letter. The error is ErrNoLetter when there is none.
func (d *Dispatcher) Drop(ctx context.Context, id string) error {
	return d.removeLetter(ctx, id, d.deadKey, "")
}

func (d *Dispatcher) removeLetter(ctx context.Context, id string, to func(partition int) string, value string) error {
	p, stream, err := d.splitLetter(id)
	if err != nil {
		return err
	}
	n, err := requeueScript.Run(ctx, d.Redis, []string{d.deadKey(p), to(p)}, stream, value).Int()
	if err != nil {
		return fmt.Errorf("remove dead letter: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%w: %s", ErrNoLetter, id)
	}
	return nil
}

// splitLetter reads "PARTITION-MILLISECONDS-NUMBER".
func (d *Dispatcher) splitLetter(id string) (partition int, stream string, err error) {
	head, stream, _ := strings.Cut(id, "-")
	partition, err = strconv.Atoi(head)
	ms, n, ok := strings.Cut(stream, "-")
	if err != nil || partition < 0 || partition >= d.Partitions.Len() || !ok || !isDigits(ms) || !isDigits(n) {
		return 0, "", fmt.Errorf("%w: %q has not the form of an id", ErrNoLetter, id)
	}
	return partition, stream, nil
}

func isDigits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

func newDeadLetter(partition int, m redis.XMessage) DeadLetter {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	l := DeadLetter{
		ID:     strconv.Itoa(partition) + "-" + m.ID,
		Lane:   text("lane"),
		Device: text("device"),
		Reason: text("reason"),
		value:  text("e"),
	}
	ms, _, _ := strings.Cut(m.ID, "-")
	if at, err := strconv.ParseInt(ms, 10, 64); err == nil {
		l.BuriedAt = milli(at)
	}
	if e, err := parseEntry(l.value); err == nil {
		l.Receiver, l.Type, l.Attempts, l.Body = e.User, e.Type, e.Attempt, e.body
		l.AcceptedAt, _ = model.IDTime(e.ID)
	}
	return l
}
