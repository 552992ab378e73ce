package inbox

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

var (
	//go:embed send.lua
	sendSource string
	//go:embed receive.lua
	receiveSource string

	sendScript    = script(sendSource)
	receiveScript = script(receiveSource)
)

// A Sending is a message on its way: what both copies need.
type Sending struct {
	Message
	// Frame is what live sockets show, JSON.
	Frame []byte
	// Entry is the receiver's push; its Body is that of the outbox entry. nil when
	// there is none.
	Push *MessagePush
	// Handoff is what Handoffs hands out when the request that sent the message
	// has not called Receive and Done in time.
	Handoff string
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

// handoffAfter is how long the request that left a hand-off has to do it itself.
const handoffAfter = 5 * time.Second

// Send stores a message in its sender's copy, once per ClientID (or, without one,
// per ID), and leaves the hand-off. The id is the first one's when the message had
// been sent before. The error is ErrConflict when that was another message, and
// ErrErased when the sender was erased.
func (s *Store) Send(ctx context.Context, m *Sending) (id string, err error) {
	k := s.keys(m.Sender)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%d\x00%s\x00%s", m.Receiver, m.Category, m.Product, m.Body))
	unique := "id\x00" + m.ID
	if m.ClientID != "" {
		unique = "client\x00" + m.ClientID
	}
	name := sha256.Sum256([]byte(unique))
	record := "s" + hex.EncodeToString(name[:16])
	users, member := s.parts.Listing(m.Sender)
	args := []any{
		m.ID, hex.EncodeToString(sum[:16]), s.remember().Milliseconds(), m.stored(),
		m.Conversation, m.Receiver, score(m.ID), m.Handoff, handoffAfter.Milliseconds(),
		s.publish, k.channel(), m.Frame, replayFor.Milliseconds(), replayFrames, member, record,
	}
	c := sendScript.Command(ctx, []string{
		k.record(record), k.meta(), k.inboxes(), k.conversation(m.Conversation),
		k.messages(m.Conversation), k.sent(m.Conversation), k.bodies(), k.words(), k.log(),
		s.handoffs(s.parts.OfUser(m.Sender)), k.unreadInboxes(), users, k.records(), k.partners(),
	}, append(args, m.postings()...)...)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return "", fmt.Errorf("store message: %w", err)
	}
	reply, err := c.Slice()
	if err != nil || len(reply) != 2 {
		return "", fmt.Errorf("store message: reply %v: %w", reply, err)
	}
	id, _ = reply[1].(string)
	switch status, _ := reply[0].(int64); status {
	case -1:
		return id, ErrConflict
	case -2:
		return "", ErrErased
	}
	return id, nil
}

// Receive stores a message in its receiver's copy, once, also when they have
// deleted it since, and enqueues the push. What is to or from an erased user is
// dropped.
func (s *Store) Receive(ctx context.Context, m *Sending) error {
	k := s.keys(m.Receiver)
	p, devices := m.Push, s.Devices(m.Receiver)
	users, member := s.parts.Listing(m.Receiver)
	if p == nil { // as if there were no device
		nothing := k.record("none")
		p, devices = &MessagePush{Stream: nothing, Delayed: nothing}, nothing
	}
	args := []any{
		m.ID, s.remember().Milliseconds(), m.stored(), m.Conversation, m.Sender, score(m.ID),
		s.publish, k.channel(), m.Frame, replayFor.Milliseconds(), replayFrames,
		p.Line, p.Body, p.Subject, p.Grace.Milliseconds(), member, MessageEvent(m.ID),
	}
	c := receiveScript.Command(ctx, []string{
		s.MessageRecordKey(m.Receiver, m.ID), k.meta(), k.inboxes(), k.unreadInboxes(), k.conversation(m.Conversation),
		k.messages(m.Conversation), k.received(m.Conversation), k.bodies(), k.words(), k.log(), k.open(),
		devices, p.Stream, p.Delayed, users, k.records(), k.gone(m.Conversation),
	}, append(args, m.postings()...)...)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("hand message over: %w", err)
	}
	return nil
}

// MessageEvent is the name under which a received message has its record.
func MessageEvent(id string) string { return "m" + id }

// MessageRecordKey returns the key of a received message's record.
func (s *Store) MessageRecordKey(receiver int64, id string) string {
	return s.RecordKey(receiver, MessageEvent(id))
}

// Done takes a hand-off back that has been carried out. It is harmless to repeat.
func (s *Store) Done(ctx context.Context, user int64, handoff string) error {
	c := NewCommand(ctx, "zrem", s.handoffs(s.parts.OfUser(user)), handoff)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("clear hand-off: %w", err)
	}
	return nil
}

// Handoffs returns hand-offs that are due, at most the given number of each
// partition, in one round trip. They stay until Done: carrying one out twice is
// harmless.
func (s *Store) Handoffs(ctx context.Context, most int) ([]string, error) {
	now := strconv.FormatInt(s.Now().UnixMilli(), 10)
	commands := make([]*Command, s.parts.Len())
	for p := range commands {
		commands[p] = NewCommand(ctx, "zrangebyscore", s.handoffs(p), "-inf", now, "limit", 0, most)
	}
	if err := s.Batcher.Do(ctx, commands...); err != nil {
		return nil, fmt.Errorf("read hand-offs: %w", err)
	}
	var due []string
	for _, c := range commands {
		texts, err := c.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("read hand-offs: %w", err)
		}
		due = append(due, texts...)
	}
	return due, nil
}
