package live

import (
	"context"
	"errors"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// send sends a message, as POST /v2/messages.json does.
func (s *socket) send(ctx context.Context, r *request) *answer {
	user := s.user.id
	m, err := r.outgoing()
	echo := []member{{"id", nil}, {"client_id", orNull(m.ClientID)}, {"conversation_id", nil}}
	if m.Receiver > 0 && m.Receiver != user {
		echo[2].value = model.ConversationID(user, m.Receiver)
	}
	if err == nil {
		echo[0].value, err = s.hub.Chat.Send(ctx, user, m)
	}
	if err != nil {
		echo[0].value = nil
		text, code := chat.SendFailure(err)
		if code == "unavailable" {
			s.hub.Log.Warn("a message cannot be sent", "error", err)
		}
		if fields := chat.FailureFields(err); fields != nil {
			echo = append(echo, member{"errors", fields})
		}
		return failure(code, text, echo...)
	}
	return ack(append(echo, member{"message", textID(chat.TextSent)})...)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// outgoing returns the message of a request. If fields are invalid, the error is an
// *event.InvalidError, and the message has the valid ones.
func (r *request) outgoing() (chat.OutgoingMessage, error) {
	f := chat.Form{
		Receiver: chat.JSONField(r.Message.Receiver),
		Category: chat.JSONField(r.Message.Category),
		Body:     chat.JSONField(r.Message.Body),
		ClientID: chat.JSONField(r.Message.ClientID),
		Product:  chat.JSONField(r.Product),
	}
	return f.Parse()
}

// markRead marks as read a notification, or a conversation up to a message.
func (s *socket) markRead(ctx context.Context, r *request) *answer {
	user := s.user.id
	if r.NotificationID != "" {
		unread, err := s.hub.Notifications.MarkRead(ctx, user, r.NotificationID)
		switch {
		case errors.Is(err, inbox.ErrNotFound):
			return failure("not_found", textNotRead, member{"unread", unread})
		case err != nil:
			return s.unavailable(err)
		}
		return ack(member{"unread", unread}, member{"message", textID(textRead)})
	}
	if r.MessageID != "" && !model.ValidID(r.MessageID) {
		return invalid(textInvalid, map[string]string{"message_id": "is not the id of a message"})
	}
	if _, failed := s.partner(ctx, r); failed != nil {
		return failed
	}
	if err := s.hub.Chat.ReadConversation(ctx, user, r.Conversation, r.MessageID); err != nil {
		return s.unavailable(err)
	}
	return ack(member{"conversation_id", r.Conversation}, member{"message", nil})
}

// partner returns the other user of the request's conversation, or the answer that
// refuses the request.
func (s *socket) partner(ctx context.Context, r *request) (int64, *answer) {
	if !model.ValidID(r.Conversation) {
		return 0, invalid(textInvalid, map[string]string{"conversation_id": "is not the id of a conversation"})
	}
	partner, err := s.hub.Conversations.Partner(ctx, s.user.id, r.Conversation)
	switch {
	case errors.Is(err, inbox.ErrNotFound):
		return 0, failure("forbidden", textForbidden, member{"conversation_id", r.Conversation})
	case err != nil:
		return 0, s.unavailable(err)
	}
	return partner, nil
}

// typing tells the other user of a conversation that this one is typing.
func (s *socket) typing(ctx context.Context, r *request) *answer {
	partner, failed := s.partner(ctx, r)
	if failed != nil {
		return failed
	}
	if err := s.hub.publish(ctx, partner, kindTyping, typingBody(r.Conversation, s.user.id)); err != nil {
		return s.unavailable(err)
	}
	return ack(member{"conversation_id", r.Conversation}, member{"message", nil})
}
