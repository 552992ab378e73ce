package inbox

import (
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/bbcode"
)

// MessageTime is the format of times in messages: RFC 3339 with seconds.
const MessageTime = time.RFC3339

// An InstantMessage is a message as the conversation endpoint shows it.
type InstantMessage struct {
	ID             string `json:"id"`
	Body           string `json:"body"`
	CreatedAt      string `json:"created_at"`
	InboxID        string `json:"inbox_id"`
	Read           bool   `json:"read"`
	ReceiverID     string `json:"receiver_id"`
	ReceiverName   string `json:"receiver_name"`
	ReceiverAvatar string `json:"receiver_avatar"`
	SenderID       string `json:"sender_id"`
	SenderName     string `json:"sender_name"`
	SenderAvatar   string `json:"sender_avatar"`
	UpdatedAt      string `json:"updated_at"`
	ProductID      string `json:"product_id,omitempty"`
}

// View returns a message as both its users are shown it, with times in the given zone. An
// avatar that is not set is empty. A message is updated when its receiver reads it.
func (m *Message) View(sender, receiver Profile, zone *time.Location) InstantMessage {
	updated := m.CreatedAt
	if m.ReadAt.After(updated) {
		updated = m.ReadAt
	}
	return InstantMessage{
		ID:             m.ID,
		Body:           bbcode.HTML(m.Body),
		CreatedAt:      m.CreatedAt.In(zone).Format(MessageTime),
		InboxID:        m.Conversation,
		Read:           m.Read,
		ReceiverID:     strconv.FormatInt(m.Receiver, 10),
		ReceiverName:   receiver.DisplayName(m.Receiver),
		ReceiverAvatar: receiver.avatar(),
		SenderID:       strconv.FormatInt(m.Sender, 10),
		SenderName:     sender.DisplayName(m.Sender),
		SenderAvatar:   sender.avatar(),
		UpdatedAt:      updated.In(zone).Format(MessageTime),
		ProductID:      m.Product,
	}
}

// DisplayName is the name under which others see a user: the name, or else the username,
// or else a text with the id.
func (p Profile) DisplayName(user int64) string {
	for _, name := range []*string{p.Name, p.Username} {
		if name != nil && *name != "" {
			return *name
		}
	}
	return "Pengguna " + strconv.FormatInt(user, 10)
}

func (p Profile) avatar() string {
	if p.Avatar == nil {
		return ""
	}
	return *p.Avatar
}
