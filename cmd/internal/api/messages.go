package api

import (
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The documented texts of messages, by id; those of sending are the dispatcher's.
const (
	textMessageDeleted    = "api.message.deleted"
	textMessageNotDeleted = "api.message.not_deleted"
)

// messages serves the endpoints of single messages.
type messages struct {
	conversations Conversations
	chat          Chat
	viewer        *messageViewer
	language      *language
}

// showMessage: GET /v2/messages/im/:id.json
func (ms *messages) showMessage(r *http.Request, user int64) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, notYours(err)
	}
	m, err := ms.conversations.Message(r.Context(), user, id)
	if err != nil {
		return reply{}, notYours(err)
	}
	if err := ms.chat.ReadMessage(r.Context(), user, &m); err != nil {
		return reply{}, notYours(err)
	}
	shown, err := ms.viewer.views(r, []inbox.Message{m})
	if err != nil {
		return reply{}, notYours(err)
	}
	return ok(struct {
		Status         string               `json:"status"`
		InstantMessage inbox.InstantMessage `json:"instant_message"`
		Message        *string              `json:"message"`
	}{"OK", shown[0], nil})
}

// deleteMessage: DELETE /v2/messages/im/:id.json
func (ms *messages) deleteMessage(r *http.Request, user int64) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	if err := ms.conversations.DeleteMessage(r.Context(), user, id); err != nil {
		return reply{}, notDeleted(id, textMessageNotDeleted, err)
	}
	return deleted(id, ms.language.word(r, user, textMessageDeleted))
}

// createMessage: POST /v2/messages.json
func (ms *messages) createMessage(r *http.Request, user int64) (reply, error) {
	in, err := readParams(r)
	if err != nil {
		return reply{}, notSent(err, nil, nil)
	}
	m, err := readMessage(in)
	client, conversation := orNull(m.ClientID), (*string)(nil)
	if client != nil && !utf8.ValidString(*client) {
		client = nil
	}
	if m.Receiver != 0 && m.Receiver != user {
		conversation = orNull(model.ConversationID(user, m.Receiver))
	}
	var id string
	if err == nil {
		id, err = ms.chat.Send(r.Context(), user, m)
	}
	if err != nil {
		return reply{}, notSent(err, client, conversation)
	}
	return ok(struct {
		Status         string  `json:"status"`
		ID             string  `json:"id"`
		ClientID       *string `json:"client_id"`
		ConversationID *string `json:"conversation_id"`
		Message        string  `json:"message"`
	}{"OK", id, client, conversation, ms.language.word(r, user, chat.TextSent)})
}

// readMessage reads the message to be sent. The error is a *event.InvalidError; the fields
// that could be read are returned beside it.
func readMessage(in *params) (chat.OutgoingMessage, error) {
	field := func(name string) chat.Field {
		text := in.text(name) // may add to in.wrong
		return chat.Field{Text: text, Problem: in.wrong[name]}
	}
	nested := func(name string) chat.Field { return field("instant_message[" + name + "]") }
	f := chat.Form{
		Receiver: nested("receiver_id"),
		Category: nested("category"),
		Body:     nested("body_bb"),
		ClientID: nested("client_id"),
		Product:  field("product_id"),
	}
	return f.Parse()
}

// notSent is the failure of sending, with the documented text and members.
func notSent(err error, client, conversation *string) error {
	text, _ := chat.SendFailure(err)
	var body *failure
	if errors.As(err, &body) { // the request cannot be read
		text, _ = chat.SendFailure(&event.InvalidError{})
	}
	f := *failureOf(with(map[string]any{"id": nil, "client_id": client, "conversation_id": conversation}, err))
	f.text = text
	if fields := chat.FailureFields(err); fields != nil {
		f.fields = fields
	}
	return &f
}
