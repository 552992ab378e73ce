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

// An OutboundMessage is a message that is to be stored in both copies of its
// conversation.
type OutboundMessage struct {
	Message
	// Once makes storing idempotent: a message is stored once for each sender and Once.
	// It is the sender's ClientID, or else unique, and the same for every ID that is
	// proposed for the message.
	Once string
	// Frame is what live sockets get, JSON.
	Frame []byte
	// Push is the receiver's push; nil when there is none.
	Push *MessagePush
	// Handoff is the text that Pending returns until ClearPending; not empty. Pointer names
	// the conversation, and is a member of the hand-offs meanwhile.
	Handoff, Pointer string
}

// A MessagePush is the outbox entry of a message.
type MessagePush struct {
	Stream  string        // in the receiver's partition
	Line    string        // the first line of the entry
	Body    string        // the rest of the entry
	Subject string        // what the push replaces on the screen
	Delayed string        // the delayed set of the stream
	Grace   time.Duration // how long it waits there when the receiver has a live socket
}

// An OrderError reports a message that cannot follow the newest one of a copy.
type OrderError struct {
	Newest string // id of the newest message, or "" where there is none
}

// Error implements error.
func (e *OrderError) Error() string { return "the message does not follow the newest one" }

// First returns the user with the first copy of the conversation, which orders its
// messages. The second copy and both users' sockets have them in that order.
func (m *Message) First() int64 { return min(m.Sender, m.Receiver) }

// second returns the user with the second copy.
func (m *Message) second() int64 { return max(m.Sender, m.Receiver) }

// Outbound stores messages in both copies of their conversation, in the same order. For
// each message call Prepare, StoreFirst, StoreSecond and ClearPending. When the caller dies
// after StoreFirst, the message is pending: Handoffs.Due returns its pointer, and the
// process that takes it over calls Pending, StorePending and ClearPending.
type Outbound struct{ *base }

// Prepare precedes StoreFirst, and takes one round trip. It returns the profiles of the
// message's users, without unknown users. It sets m.Generation, sets an id with Redis' time
// if the message has none, and binds the ClientID, if there is one, to the message's
// content. again reports that the ClientID was already bound to this content. The error is
// ErrConflict when it is bound to other content, and ErrErased when the sender was erased.
func (o *Outbound) Prepare(ctx context.Context, m *Message) (profiles map[int64]Profile, again bool, err error) {
	k, content := o.keys(m.Sender), ""
	if m.ClientID != "" {
		content = m.content()
	}
	commands := []*rdb.Command{
		o.profileCommand(ctx, m.Sender), o.profileCommand(ctx, m.Receiver),
		prepareMessageScript.Command(ctx, []string{k.meta(), k.record(bindingEvent(m)), k.recordIndex(), k.partners()},
			content, o.recordTTL().Milliseconds(), bindingEvent(m), m.Receiver, o.testTime()),
	}
	if err := o.batcher.Do(ctx, commands...); err != nil {
		return nil, false, fmt.Errorf("prepare message: %w", err)
	}
	prepared, err := readPrepared(commands[2])
	if err != nil {
		return nil, false, err
	}
	if m.ID == "" {
		m.ID = model.NewID(prepared.now)
	}
	m.Generation = prepared.generation
	profiles = make(map[int64]Profile, 2)
	for i, user := range []int64{m.Sender, m.Receiver} {
		if err := readProfile(commands[i], user, profiles); err != nil {
			return nil, false, err
		}
	}
	return profiles, prepared.again, nil
}

// A prepared is the reply to prepare_message.lua.
type prepared struct {
	again      bool // the ClientID was already bound to this content
	now        time.Time
	generation int64
}

func readPrepared(c *rdb.Command) (p prepared, err error) {
	reply, err := c.Int64s(3)
	switch {
	case err != nil:
		return p, fmt.Errorf("prepare message: %w", err)
	case reply[0] == 0:
		return p, ErrConflict
	case reply[0] < 0:
		return p, ErrErased
	}
	return prepared{again: reply[0] == 2, now: time.UnixMicro(reply[1]), generation: reply[2]}, nil
}

// content is a digest that two messages of a sender share when they say the same.
func (m *Message) content() string {
	return digest(fmt.Sprintf("%d\x00%d\x00%s\x00%s", m.Receiver, m.Category, m.Product, m.Body))
}

// ReleaseClientID undoes the binding of Prepare for a message that cannot be sent, so
// that another message may use the ClientID.
func (o *Outbound) ReleaseClientID(ctx context.Context, m *Message) error {
	if m.ClientID == "" {
		return nil
	}
	c := rdb.NewCommand(ctx, "del", o.keys(m.Sender).record(bindingEvent(m)))
	if err := o.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("release client id: %w", err)
	}
	return nil
}

// bindingEvent returns the event whose record holds the content that the ClientID is bound
// to.
func bindingEvent(m *Message) string { return "c" + digest(m.ClientID) }

// StoreFirst stores a message in the first copy, once, and makes it pending for the second
// copy. From then on both copies will have it, whichever process dies. It returns the id
// under which the message is stored, which is not m.ID when it had been stored before, and
// the id of the message before it, for StoreSecond. The error is an *OrderError when m.ID
// is not above all ids of the conversation: the caller proposes another one. It is
// ErrErased when the copy's user was erased, and ErrConflict when another message was
// stored under Once.
func (o *Outbound) StoreFirst(ctx context.Context, m *OutboundMessage) (id, before string, err error) {
	status, id, err := o.storeMessage(ctx, m, m.First(), "")
	switch {
	case err != nil:
		return "", "", err
	case status == statusErased:
		return "", "", ErrErased
	case status == statusConflict:
		return "", "", ErrConflict
	case status < 0:
		return "", "", &OrderError{Newest: id}
	case status == 0:
		return id, unknownID, nil
	}
	return m.ID, id, nil
}

// Placeholders for the id of the message before one.
const (
	unknownID = "?" // not known, because the message had been stored before: StoreSecond stores nothing then
	anyID     = "*" // any id
)

// Statuses that store_message.lua replies beside 1 (stored), 0 (stored before) and -1
// (out of order).
const (
	statusErased   = -2
	statusConflict = -3
)

// StoreSecond stores a message in the second copy, once: a repeat changes nothing, even if
// the user has deleted the message since. before is what StoreFirst returned. A message to
// or from an erased user is dropped. The error is an *OrderError when the copy lacks
// messages before this one: those that are Pending have to be stored first.
func (o *Outbound) StoreSecond(ctx context.Context, m *OutboundMessage, before string) error {
	status, newest, err := o.storeMessage(ctx, m, m.second(), before)
	if err == nil && status < 0 && status != statusErased {
		return &OrderError{Newest: newest}
	}
	return err
}

// StorePending stores the first of the Pending messages in the second copy, once: those
// before it are there already, or were lost in a failover.
func (o *Outbound) StorePending(ctx context.Context, m *OutboundMessage) error {
	_, _, err := o.storeMessage(ctx, m, m.second(), anyID)
	return err
}

// storeMessage runs store_message.lua for a user's copy.
func (o *Outbound) storeMessage(ctx context.Context, m *OutboundMessage, user int64, before string) (status int64, id string, err error) {
	k := o.keys(user)
	users, member := o.parts.Listing(user)
	onceEvent := m.onceEvent()
	once := k.record(onceEvent)
	role, unread := "sender", k.sentUnread(m.Conversation)
	push, devices := &MessagePush{Stream: once, Delayed: once}, once // without a Line the script uses none of these keys
	if user == m.Receiver {
		role, unread = "receiver", k.receivedUnread(m.Conversation)
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
		before, handoff, m.Pointer, handoffDelay.Milliseconds(), MessageEvent(m.ID), onceEvent, m.content(), m.Generation, o.testTime(),
	}
	c, err := o.batcher.Run(ctx, storeMessageScript, []string{
		o.messageRecord(user, m.ID), k.meta(), k.conversations(), k.unreadConversations(), k.conversation(m.Conversation),
		k.messages(m.Conversation), unread, k.bodies(), k.words(), k.replayLog(), k.counted(),
		devices, push.Stream, push.Delayed, users, k.heads(),
		once, k.pending(m.Conversation), o.handoffs(o.parts.OfUser(user)),
		k.recordIndex(), k.minGeneration(m.Conversation), k.unread(),
	}, append(args, m.postings()...)...)
	if err != nil {
		return 0, "", fmt.Errorf("store message: %w", err)
	}
	reply, err := c.Values(3)
	if err != nil {
		return 0, "", fmt.Errorf("store message: %w", err)
	}
	o.liveErrors.note(reply[2])
	status, _ = reply[0].(int64)
	id, _ = reply[1].(string)
	return status, id, nil
}

// onceEvent returns the event whose record in the first copy says which message was stored
// under Once.
func (m *OutboundMessage) onceEvent() string {
	return "s" + digest(fmt.Sprintf("%d\x00%s", m.Sender, m.Once))
}

// StoredID returns the id under which a message was stored, or "".
func (o *Outbound) StoredID(ctx context.Context, m *OutboundMessage) (id string, err error) {
	text, err := o.redis.Get(ctx, o.keys(m.First()).record(m.onceEvent())).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("look up stored message: %w", err)
	}
	id, _, _ = strings.Cut(text, " ")
	return id, nil
}

// digest returns a short digest of a text, for use in a key.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// MessageEvent returns the event under which the record of a message is kept.
func MessageEvent(id string) string { return "m" + id }

// messageRecord returns the key of a message's record.
func (b *base) messageRecord(receiver int64, id string) string {
	return b.keys(receiver).record(MessageEvent(id))
}

// Pending returns the Handoffs of messages that are pending for a conversation's second
// copy, in the order in which they have to be stored: at most limit of them. first is the
// user with the first copy.
func (o *Outbound) Pending(ctx context.Context, first int64, conversation string, limit int) ([]string, error) {
	members, err := o.redis.ZRange(ctx, o.keys(first).pending(conversation), 0, int64(limit-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("read pending messages: %w", err)
	}
	for i, member := range members {
		if len(member) < model.IDLen {
			return nil, errors.New("read pending messages: no id")
		}
		members[i] = member[model.IDLen:]
	}
	return members, nil
}

// ClearPending removes a message from those pending for the second copy. It may be
// repeated.
func (o *Outbound) ClearPending(ctx context.Context, m *OutboundMessage) error {
	return o.clear(ctx, m.First(), m.Conversation, m.ID+m.Handoff, m.Pointer)
}

// ClearPointer removes a pointer to a conversation in which nothing is pending.
func (o *Outbound) ClearPointer(ctx context.Context, first int64, conversation, pointer string) error {
	return o.clear(ctx, first, conversation, "", pointer)
}

func (o *Outbound) clear(ctx context.Context, first int64, conversation, member, pointer string) error {
	_, err := o.batcher.Run(ctx, clearPendingScript, []string{
		o.keys(first).pending(conversation), o.handoffs(o.parts.OfUser(first)),
	}, member, pointer)
	if err != nil {
		return fmt.Errorf("clear pending message: %w", err)
	}
	return nil
}
