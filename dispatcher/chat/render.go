package chat

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/bbcode"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	// eventType is the type of a message's push and frame, and the id of its text.
	eventType  = "message"
	maxPreview = 400 // characters of a message that its push carries
)

// outbound returns a message with its frame, hand-off and push.
func (c *Chat) outbound(m *inbox.Message, profiles map[int64]inbox.Profile) (*inbox.OutboundMessage, error) {
	body := c.body(m, profiles)
	frame, err := c.frame(m, body, profiles)
	if err != nil {
		return nil, err
	}
	entry := c.entry(m, profiles)
	partition := c.partitions.OfUser(m.Receiver)
	return &inbox.OutboundMessage{
		Message: *m,
		Frame:   frame,
		Handoff: handoff{Message: m}.String(),
		Pointer: handoff{Pending: &pending{m.First(), m.Conversation}}.String(),
		Push: &inbox.MessagePush{
			Stream:  c.outbox.StreamKey(partition, push.Chat),
			Line:    entry.Line(),
			Body:    string(body),
			Subject: entry.Tag,
			Delayed: c.outbox.DelayedKey(partition, push.Chat),
			Grace:   c.grace,
		},
	}, nil
}

// entry returns the outbox entry of a message's push, without its body. A message tells no
// state and has no buttons.
func (c *Chat) entry(m *inbox.Message, profiles map[int64]inbox.Profile) *outbox.Entry {
	return &outbox.Entry{
		User:    m.Receiver,
		Event:   inbox.MessageEvent(m.ID),
		Type:    eventType,
		Tag:     model.ConversationSubject(m.Conversation),
		Expires: m.CreatedAt.Add(c.spec.TTL).UnixMilli(),
		Until:   m.CreatedAt.Add(min(c.spec.TTL, c.retryFor)).UnixMilli(),
		From:    profiles[m.Sender].DisplayName(m.Sender),
		ID:      m.ID,
	}
}

// body returns the stored body of a message's notification.
func (c *Chat) body(m *inbox.Message, profiles map[int64]inbox.Profile) []byte {
	from := profiles[m.Sender].DisplayName(m.Sender)
	words, others := c.texts.Translate(c.locale, eventType, func(text.Locale) text.Args { return text.Args{From: from} })
	b := content.Body{
		Type:         eventType,
		Message:      words,
		Translations: others,
		Details:      content.MessageDetails(m.ID, m.Conversation, m.Sender, preview(m.Body), m.Product),
	}
	b.Presentation.Link = c.spec.LinkTo(m.ID, b.Details)
	b.Details = event.FillDetails(b.Details, b.Presentation)
	return b.Stored()
}

// preview returns the beginning of a message's text, without BBCode, for its push.
func preview(body string) string {
	words := bbcode.Text(body)
	if beginning := event.Truncate(words, maxPreview); beginning != words {
		return beginning + "…"
	}
	return words
}

// frame returns the members of a message's live frame, in the language of the receiver's
// profile. Body is the stored one.
func (c *Chat) frame(m *inbox.Message, body []byte, profiles map[int64]inbox.Profile) ([]byte, error) {
	view, err := json.Marshal(m.View(profiles[m.Sender], profiles[m.Receiver], c.location))
	if err != nil {
		return nil, fmt.Errorf("frame of message %s: %w", m.ID, err)
	}
	b, err := content.ParseBody(body)
	if err != nil {
		return nil, fmt.Errorf("frame of message %s: %w", m.ID, err)
	}
	n := content.Notification{
		ID: m.ID, Receiver: m.Receiver,
		Body: b.In(text.Preferred(profiles[m.Receiver].Locale, c.locale)),
	}
	shown, err := n.EventJSON(nil, c.location) // the hub fills in the counts
	if err != nil {
		return nil, fmt.Errorf("frame of message %s: %w", m.ID, err)
	}
	return content.MessageMembers(shown, view), nil
}

// MessageMembers returns, by message id, the members of the live frames of messages in a
// user's copies: the replay log holds only their ids. Messages that the user does not have
// (any more) have no entry.
func (c *Chat) MessageMembers(ctx context.Context, user int64, ids []string) (map[string][]byte, error) {
	messages, err := c.inbox.Conversations.MessagesByID(ctx, user, ids)
	if err != nil || len(messages) == 0 {
		return nil, err
	}
	users := make([]int64, 0, 2*len(messages))
	for _, m := range messages {
		users = append(users, m.Sender, m.Receiver)
	}
	profiles, err := c.inbox.Profiles.GetAll(ctx, users...)
	if err != nil {
		return nil, err
	}
	members := make(map[string][]byte, len(messages))
	for id, m := range messages {
		if members[id], err = c.frame(&m, c.body(&m, profiles), profiles); err != nil {
			return nil, err
		}
	}
	return members, nil
}
