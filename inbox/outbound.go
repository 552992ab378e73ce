package inbox

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed prepare_message.lua
	prepareMessageSource string
	//go:embed store_message.lua
	storeMessageSource string
	//go:embed clear_pending.lua
	clearPendingSource string

	prepareMessageScript = script(prepareMessageSource)
	storeMessageScript   = script(storeMessageSource)
	clearPendingScript   = script(clearPendingSource)
)

// An OutboundMessage is a message on its way: what its copies need.
type OutboundMessage struct {
	Message
	// Once makes storing it idempotent: the sender's ClientID, or else a text of
	// this message alone, the same for every proposed ID.
	Once string
	// Frame is what live sockets show, JSON.
	Frame []byte
	// Push is what the receiver's phones get; nil when that is nothing.
	Push *MessagePush
	// Handoff is what Pending hands out until Delivered; not empty. Pointer is
	// what Handoffs hands out when that takes too long.
	Handoff, Pointer string
}

// A MessagePush is what a message leaves in the receiver's outbox.
type MessagePush struct {
	Stream  string        // in the receiver's partition
	Line    string        // the first line of the entry
	Body    string        // the rest
	Subject string        // what the push replaces on the screen
	Delayed string        // the delayed set of the stream
	Grace   time.Duration // how long it waits there when the receiver has a live socket
}

// An OrderError reports a message that cannot follow the newest one of a copy.
type OrderError struct {
	Newest string // id of the newest message, or "" where there is none
}

// Error says so.
func (e *OrderError) Error() string { return "the message does not follow the newest one" }

// handoffAfter is how long the request that left a hand-off has to do it itself.
const handoffAfter = 5 * time.Second

// First returns the one of a conversation's two users in whose copy its messages
// get their order: both copies show them in it, and so do both users' sockets.
func (m *Message) First() int64 { return min(m.Sender, m.Receiver) }

// second returns the other one.
func (m *Message) second() int64 { return max(m.Sender, m.Receiver) }

// Outbound stores messages in the two copies of their conversation, in one order for
// both: see StoreFirst and StoreSecond.
type Outbound struct{ *base }

// Prepare readies a message for StoreFirst in one round trip: it returns the
// profiles of its two users, of those that are known, and binds the ClientID, if
// there is one, to this message; again says that it was bound to it before. The error
// is ErrConflict when it is bound to another one, and ErrErased when the sender was
// erased.
func (o *Outbound) Prepare(ctx context.Context, m *Message) (profiles map[int64]Profile, again bool, err error) {
	k, content := o.keys(m.Sender), ""
	if m.ClientID != "" {
		content = m.content()
	}
	commands := []*rdb.Command{
		o.profileCommand(ctx, m.Sender), o.profileCommand(ctx, m.Receiver),
		prepareMessageScript.Command(ctx, []string{k.meta(), k.record(bound(m)), k.recordIndex(), k.partners()},
			content, o.recordTTL().Milliseconds(), bound(m), m.Receiver),
	}
	if err := o.batcher.Do(ctx, commands...); err != nil {
		return nil, false, fmt.Errorf("prepare message: %w", err)
	}
	done, err := commands[2].Int()
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("prepare message: %w", err)
	case done == 0:
		return nil, false, ErrConflict
	case done < 0:
		return nil, false, ErrErased
	}
	profiles = make(map[int64]Profile, 2)
	for i, user := range []int64{m.Sender, m.Receiver} {
		if err := readProfile(commands[i], user, profiles); err != nil {
			return nil, false, err
		}
	}
	return profiles, done == 2, nil
}

// content is a digest of what makes two messages of a sender the same.
func (m *Message) content() string {
	return digest(fmt.Sprintf("%d\x00%d\x00%s\x00%s", m.Receiver, m.Category, m.Product, m.Body))
}

// ReleaseClientID gives the ClientID of a message back that Prepare has just bound and that
// cannot be sent, so that another one may have it.
func (o *Outbound) ReleaseClientID(ctx context.Context, m *Message) error {
	if m.ClientID == "" {
		return nil
	}
	c := rdb.NewCommand(ctx, "del", o.keys(m.Sender).record(bound(m)))
	if err := o.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("unbind client id: %w", err)
	}
	return nil
}

// bound is the name under which a sender's record says what the ClientID is bound to.
func bound(m *Message) string { return "c" + digest(m.ClientID) }

// StoreFirst stores a message in its first copy, once per sender and Once, and
// leaves the second one pending. From then on both will have it, whatever dies. It
// returns the id under which the message is stored, which is another one when it
// had been stored before, and the id of the one before it in the conversation, for
// StoreSecond. The error is an *OrderError when m.ID is not above all ids of the
// conversation: propose one that is. It is ErrErased when the copy's user was erased, and
// ErrConflict when another message was stored under Once.
func (o *Outbound) StoreFirst(ctx context.Context, m *OutboundMessage) (id, before string, err error) {
	status, id, err := o.storeMessage(ctx, m, m.First(), "")
	switch {
	case err != nil:
		return "", "", err
	case status == dropped:
		return "", "", ErrErased
	case status == otherContent:
		return "", "", ErrConflict
	case status < 0:
		return "", "", &OrderError{Newest: id}
	case status == 0:
		return id, unknown, nil
	}
	return m.ID, id, nil
}

// unknown stands for the id before a message of which it is not known, anyone for
// any id.
const (
	unknown = "?"
	anyone  = "*"
)

// What store_message.lua answers beside 1, 0 and -1.
const (
	dropped      = -2 // because one of the two was erased
	otherContent = -3 // Once was used before
)

// StoreSecond stores a message in its second copy, once, also when its user has
// deleted it since. Before is what StoreFirst returned. What is to or from an erased
// user is dropped. The error is an *OrderError
// when the copy lacks a message before it: what is Pending has to be stored first.
func (o *Outbound) StoreSecond(ctx context.Context, m *OutboundMessage, before string) error {
	status, newest, err := o.storeMessage(ctx, m, m.second(), before)
	if err == nil && status < 0 && status != dropped {
		return &OrderError{Newest: newest}
	}
	return err
}

// StorePending stores the first message that is Pending in its second copy, once:
// what was before it is there already, or was lost to a failover.
func (o *Outbound) StorePending(ctx context.Context, m *OutboundMessage) error {
	_, _, err := o.storeMessage(ctx, m, m.second(), anyone)
	return err
}

// storeMessage runs store_message.lua for a user's copy.
func (o *Outbound) storeMessage(ctx context.Context, m *OutboundMessage, user int64, before string) (status int64, id string, err error) {
	k := o.keys(user)
	users, member := o.parts.Listing(user)
	onceName := m.once()
	once := k.record(onceName)
	role, mine := "sender", k.sentUnread(m.Conversation)
	push, devices := &MessagePush{Stream: once, Delayed: once}, once // without a line none is used
	if user == m.Receiver {
		role, mine = "receiver", k.receivedUnread(m.Conversation)
		if m.Push != nil {
			push, devices = m.Push, o.options.Devices(user)
		}
	}
	handoff := ""
	if user == m.First() {
		handoff = m.Handoff
	}
	args := []any{
		m.ID, o.recordTTL().Milliseconds(), m.stored(), m.Conversation, m.Partner(user), score(m.ID),
		o.publish, k.channel(), m.Frame, replayLogTTL.Milliseconds(), replayFrames,
		push.Line, push.Body, push.Subject, push.Grace.Milliseconds(), member, role,
		before, handoff, m.Pointer, handoffAfter.Milliseconds(), MessageEvent(m.ID), onceName, m.content(),
	}
	c := storeMessageScript.Command(ctx, []string{
		o.messageRecord(user, m.ID), k.meta(), k.conversations(), k.unreadConversations(), k.conversation(m.Conversation),
		k.messages(m.Conversation), mine, k.bodies(), k.words(), k.replayLog(), k.counted(),
		devices, push.Stream, push.Delayed, users, k.heads(),
		once, k.pending(m.Conversation), o.handoffs(o.parts.OfUser(user)),
		k.recordIndex(), k.erasedUpTo(m.Conversation),
	}, append(args, m.postings()...)...)
	if err := o.batcher.Do(ctx, c); err != nil {
		return 0, "", fmt.Errorf("store message: %w", err)
	}
	reply, err := c.Slice()
	if err != nil || len(reply) != 2 {
		return 0, "", fmt.Errorf("store message: reply %v: %w", reply, err)
	}
	status, _ = reply[0].(int64)
	id, _ = reply[1].(string)
	return status, id, nil
}

// once is the name under which the first copy's record says what was stored under Once.
func (m *OutboundMessage) once() string {
	return "s" + digest(fmt.Sprintf("%d\x00%s", m.Sender, m.Once))
}

// StoredID returns the id under which a message was stored, or "".
func (o *Outbound) StoredID(ctx context.Context, m *OutboundMessage) (id string, err error) {
	text, err := o.redis.Get(ctx, o.keys(m.First()).record(m.once())).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("look up what was sent: %w", err)
	}
	id, _, _ = strings.Cut(text, " ")
	return id, nil
}

// digest is a text in a form that is fit for a key.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// MessageEvent is the name under which a received message has its record.
func MessageEvent(id string) string { return "m" + id }

// messageRecord returns the key of a received message's record.
func (b *base) messageRecord(receiver int64, id string) string {
	return b.keys(receiver).record(MessageEvent(id))
}

// Pending returns what waits for a conversation's second copy, by OutboundMessage.Handoff,
// in the order in which it is to be stored: at most the given number.
func (o *Outbound) Pending(ctx context.Context, first int64, conversation string, most int) ([]string, error) {
	members, err := o.redis.ZRange(ctx, o.keys(first).pending(conversation), 0, int64(most-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("read what is pending: %w", err)
	}
	for i, member := range members {
		if len(member) < model.IDLen {
			return nil, errors.New("read what is pending: no id")
		}
		members[i] = member[model.IDLen:]
	}
	return members, nil
}

// ClearPending takes back what was pending for a message's second copy. It is
// harmless to repeat.
func (o *Outbound) ClearPending(ctx context.Context, m *OutboundMessage) error {
	return o.clear(ctx, m.First(), m.Conversation, m.ID+m.Handoff, m.Pointer)
}

// ClearPointer takes back a pointer for which nothing is pending.
func (o *Outbound) ClearPointer(ctx context.Context, first int64, conversation, pointer string) error {
	return o.clear(ctx, first, conversation, "", pointer)
}

func (o *Outbound) clear(ctx context.Context, first int64, conversation, member, pointer string) error {
	c := clearPendingScript.Command(ctx, []string{
		o.keys(first).pending(conversation), o.handoffs(o.parts.OfUser(first)),
	}, member, pointer)
	if err := o.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("clear what was pending: %w", err)
	}
	return nil
}
