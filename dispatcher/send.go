package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Send sends a message and returns its id, which is the first one's when the same
// ClientID was sent before. Once it returns no error both will have the message,
// whatever dies. The error is *InvalidError, *LimitError, ErrUnknownReceiver,
// ErrAdminsOnly, inbox.ErrConflict, or Redis'; after the latter sending again is
// safe with a ClientID.
func (d *Dispatcher) Send(ctx context.Context, sender int64, m OutgoingMessage) (id string, err error) {
	if err := m.check(sender); err != nil {
		return "", err
	}
	if err := d.sends.take(sender, d.Now()); err != nil {
		return "", err
	}
	message := inbox.Message{
		ID: model.NewID(d.Now()), Conversation: model.ConversationID(sender, m.Receiver),
		Sender: sender, Receiver: m.Receiver, Body: m.Body, Category: m.Category, Product: m.Product, ClientID: m.ClientID,
	}
	profiles, again, err := d.Inbox.Outbound.Prepare(ctx, &message)
	if err != nil {
		return "", err
	}
	receiver, known := profiles[m.Receiver]
	switch {
	case !known:
		return d.refuse(ctx, &message, again, ErrUnknownReceiver)
	case m.Category > 0 && !d.isAdmin(m.Receiver, receiver):
		return d.refuse(ctx, &message, again, ErrAdminsOnly)
	}
	s, before, err := d.storeFirst(ctx, &message, profiles)
	if errors.Is(err, inbox.ErrErased) && message.First() == m.Receiver {
		return "", ErrUnknownReceiver
	}
	if err != nil {
		return "", err
	}
	// The message is kept from here on: what fails now the hand-off repeats.
	if s != nil {
		err = d.deliver(ctx, s, before)
	} else { // sent before, by a request that may have died
		err = d.catchUp(ctx, message.First(), message.Conversation)
	}
	if err != nil {
		d.Log.Warn("a message is handed over later", "error", err)
	}
	d.lanes[push.Chat].nudge()
	return message.ID, nil
}

// refuse answers for a message that may not be sent: why is the error, unless it is
// the repeat of one that was sent when it still might be.
func (d *Dispatcher) refuse(ctx context.Context, m *inbox.Message, again bool, why error) (id string, err error) {
	if !again {
		return "", cmp.Or(d.Inbox.Outbound.ReleaseClientID(ctx, m), why)
	}
	id, err = d.Inbox.Outbound.StoredID(ctx, &inbox.OutboundMessage{Message: *m, Once: onceOf(m)})
	if err == nil && id == "" {
		err = why
	}
	return id, err
}

// onceOf is what makes storing a message idempotent.
func onceOf(m *inbox.Message) string {
	if m.ClientID != "" {
		return "client\x00" + m.ClientID
	}
	return "id\x00" + m.ID
}

// mostProposals is how many ids are proposed for a message: one, and another for
// each message that another process stores in the same conversation meanwhile.
const mostProposals = 20

// storeFirst stores a message in its first copy, under the id that it gets. It
// returns no sending when the message was stored before by another request; its id
// is that one's, then.
func (d *Dispatcher) storeFirst(ctx context.Context, m *inbox.Message, profiles map[int64]inbox.Profile) (*inbox.OutboundMessage, string, error) {
	once := onceOf(m)
	var err error
	for range mostProposals {
		m.CreatedAt, _ = model.IDTime(m.ID)
		s := d.sending(m, profiles)
		s.Once = once
		var id, before string
		id, before, err = d.Inbox.Outbound.StoreFirst(ctx, s)
		var order *inbox.OrderError
		switch {
		case errors.As(err, &order):
			m.ID = model.NewIDAfter(order.Newest, d.Now())
		case err != nil:
			return nil, "", err
		case id != m.ID:
			m.ID = id
			return nil, "", nil
		default:
			return s, before, nil
		}
	}
	return nil, "", err
}

// deliver stores a message in its second copy, after those that come before it.
func (d *Dispatcher) deliver(ctx context.Context, s *inbox.OutboundMessage, before string) error {
	err := d.Inbox.Outbound.StoreSecond(ctx, s, before)
	if err == nil {
		return d.Inbox.Outbound.ClearPending(ctx, s)
	}
	if order := new(inbox.OrderError); errors.As(err, &order) {
		return d.catchUp(ctx, s.First(), s.Conversation)
	}
	return err
}

// catchUpMost is how many messages are stored in a second copy at a time.
const catchUpMost = 50

// catchUp gives a conversation's second copy what is pending for it, in order.
func (d *Dispatcher) catchUp(ctx context.Context, first int64, conversation string) error {
	for {
		pending, err := d.Inbox.Outbound.Pending(ctx, first, conversation, catchUpMost)
		if err != nil {
			return err
		}
		for _, text := range pending {
			var h handoff
			if err := json.Unmarshal([]byte(text), &h); err != nil || h.Message == nil {
				return fmt.Errorf("pending message: %w", cmp.Or(err, errNoHandoff))
			}
			profiles, err := d.Inbox.Profiles.GetAll(ctx, h.Message.Sender, h.Message.Receiver)
			if err != nil {
				return err
			}
			s := d.sending(h.Message, profiles)
			s.Handoff = text
			if err := d.Inbox.Outbound.StorePending(ctx, s); err != nil {
				return err
			}
			if err := d.Inbox.Outbound.ClearPending(ctx, s); err != nil {
				return err
			}
		}
		if len(pending) < catchUpMost {
			return nil
		}
	}
}
