package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// requests carry out the requests of clients. Each method returns the answer to one request
// of a user.
type requests struct {
	chat          Chat
	channels      Channels
	notifications Notifications
	conversations Conversations
	presence      *presence
	publisher     *publisher
	log           *slog.Logger

	typingInterval time.Duration      // in which a partner is told of typing once
	repeats        prometheus.Counter // of typing that the partner was told already
}

// ops are the requests of clients, by op.
var ops = map[string]func(rs *requests, ctx context.Context, user int64, r *request) *answer{
	"send":     (*requests).send,
	"read":     (*requests).markRead,
	"typing":   (*requests).typing,
	"presence": (*requests).watchPresence,
	"seen":     (*requests).seen,
}

// send sends a message, as POST /v2/messages.json does.
func (rs *requests) send(ctx context.Context, user int64, r *request) *answer {
	m, err := r.outgoing()
	echo := []member{{"id", nil}, {"client_id", orNull(m.ClientID)}, {"conversation_id", nil}}
	if m.Receiver > 0 && m.Receiver != user {
		echo[2].value = model.ConversationID(user, m.Receiver)
	}
	if err == nil {
		echo[0].value, err = rs.chat.Send(ctx, user, m)
	}
	if err != nil {
		echo[0].value = nil
		text, code := chat.SendFailure(err)
		if code == "unavailable" {
			rs.log.Warn("a message cannot be sent", "error", err)
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

// markRead marks as read a notification, or a conversation up to a message.
func (rs *requests) markRead(ctx context.Context, user int64, r *request) *answer {
	if r.NotificationID != "" {
		unread, err := rs.notifications.MarkRead(ctx, user, r.NotificationID)
		switch {
		case errors.Is(err, inbox.ErrNotFound):
			return failure("not_found", textNotRead, member{"unread", unread})
		case err != nil:
			return rs.unavailable(err)
		}
		return ack(member{"unread", unread}, member{"message", textID(textRead)})
	}
	if r.MessageID != "" && !model.ValidID(r.MessageID) {
		return invalid(textInvalid, map[string]string{"message_id": "is not the id of a message"})
	}
	if _, failed := rs.partner(ctx, user, r); failed != nil {
		return failed
	}
	if err := rs.chat.ReadConversation(ctx, user, r.Conversation, r.MessageID); err != nil {
		return rs.unavailable(err)
	}
	return ack(member{"conversation_id", r.Conversation}, member{"message", nil})
}

// partner returns the other user of the request's conversation, or the answer that
// refuses the request.
func (rs *requests) partner(ctx context.Context, user int64, r *request) (int64, *answer) {
	if !model.ValidID(r.Conversation) {
		return 0, invalid(textInvalid, map[string]string{"conversation_id": "is not the id of a conversation"})
	}
	partner, err := rs.conversations.Partner(ctx, user, r.Conversation)
	switch {
	case errors.Is(err, inbox.ErrNotFound):
		return 0, failure("forbidden", textForbidden, member{"conversation_id", r.Conversation})
	case err != nil:
		return 0, rs.unavailable(err)
	}
	return partner, nil
}

// typing tells the other user of a conversation that this one is typing. Repeats within
// typingInterval are acknowledged, and not told.
func (rs *requests) typing(ctx context.Context, user int64, r *request) *answer {
	partner, failed := rs.partner(ctx, user, r)
	if failed != nil {
		return failed
	}
	told, err := rs.publisher.typing(ctx, partner, user, typingBody(r.Conversation, user), rs.typingInterval)
	if err != nil {
		return rs.unavailable(err)
	}
	if !told {
		rs.repeats.Inc()
	}
	return ack(member{"conversation_id", r.Conversation}, member{"message", nil})
}

// watchPresence tells the client whether the partner is online, and makes this user a
// watcher of the partner.
func (rs *requests) watchPresence(ctx context.Context, user int64, r *request) *answer {
	partner, failed := rs.partner(ctx, user, r)
	if failed != nil {
		return failed
	}
	body, err := rs.presence.watch(ctx, user, partner, r.Conversation)
	if err != nil {
		return rs.unavailable(err)
	}
	a := ack(member{"conversation_id", r.Conversation}, member{"message", nil})
	a.before = []byte(`{"op":"presence",` + body + `}`)
	return a
}

// seen records that the user has seen everything up to a frame.
func (rs *requests) seen(ctx context.Context, user int64, r *request) *answer {
	seq, ok := number(r.Seq)
	if !ok {
		return invalid(textInvalid, map[string]string{"seq": "must be a number"})
	}
	if err := rs.channels.MarkSeen(ctx, user, seq); err != nil {
		return rs.unavailable(err)
	}
	return ack(member{"message", nil})
}

// unavailable logs an error of Redis, and returns the answer for the client.
func (rs *requests) unavailable(err error) *answer {
	rs.log.Warn("a request has failed", "error", err)
	return failure("unavailable", textAway)
}

// typingBody returns the members after op of a typing frame.
func typingBody(conversation string, user int64) string {
	return fmt.Sprintf(`"conversation_id":%q,"user_id":"%d"`, conversation, user)
}
