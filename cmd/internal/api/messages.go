package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The documented texts of messages, by id; those of sending are the dispatcher's.
const (
	textMessageDeleted    = "api.message.deleted"
	textMessageNotDeleted = "api.message.not_deleted"
)

// showMessage: GET /v2/messages/im/:id.json
func (a *api) showMessage(r *http.Request, user int64) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, notYours(err)
	}
	m, err := a.Conversations.Message(r.Context(), user, id)
	if err != nil {
		return reply{}, notYours(err)
	}
	if m.Receiver == user {
		if err := a.Dispatcher.ReadMessage(r.Context(), user, &m); err != nil {
			return reply{}, notYours(err)
		}
		m.Read = true
	}
	shown, err := a.views(r, []inbox.Message{m})
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
func (a *api) deleteMessage(r *http.Request, user int64) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	if err := a.Conversations.DeleteMessage(r.Context(), user, id); err != nil {
		return reply{}, notDeleted(id, textMessageNotDeleted, err)
	}
	return a.deleted(r, user, id, textMessageDeleted)
}

// createMessage: POST /v2/messages.json
func (a *api) createMessage(r *http.Request, user int64) (reply, error) {
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
		id, err = a.Dispatcher.Send(r.Context(), user, m)
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
	}{"OK", id, client, conversation, a.word(r, user, dispatcher.TextSent)})
}

// readMessage reads what is to be sent. The error is a *dispatcher.InvalidError;
// what could be read is returned beside it.
func readMessage(in *params) (dispatcher.OutgoingMessage, error) {
	const prefix, suffix = "instant_message[", "]"
	required := func(name string) string {
		value := in.text(prefix + name + suffix)
		if value == "" {
			in.reject(prefix+name+suffix, "is required")
		}
		return value
	}
	m := dispatcher.OutgoingMessage{
		Body:     required("body_bb"),
		ClientID: in.text(prefix + "client_id" + suffix),
		Product:  in.text("product_id"),
	}
	var err error
	if receiver := required("receiver_id"); receiver != "" {
		if m.Receiver, err = dispatcher.ParseUser(receiver); err != nil {
			in.reject(prefix+"receiver_id"+suffix, err.Error())
		}
	}
	if category := required("category"); category != "" {
		if m.Category, err = strconv.Atoi(category); err != nil {
			in.reject(prefix+"category"+suffix, "must be a number")
		}
	}
	if len(in.wrong) == 0 {
		return m, nil
	}
	fields := make(map[string]string, len(in.wrong))
	for name, problem := range in.wrong {
		fields[strings.TrimSuffix(strings.TrimPrefix(name, prefix), suffix)] = problem
	}
	return m, &dispatcher.InvalidError{Fields: fields}
}

// notSent is the failure of sending, with the documented text and members.
func notSent(err error, client, conversation *string) error {
	text, _ := dispatcher.SendFailure(err)
	var body *failure
	if errors.As(err, &body) { // the request cannot be read
		text, _ = dispatcher.SendFailure(&dispatcher.InvalidError{})
	}
	f := *failureOf(with(map[string]any{"id": nil, "client_id": client, "conversation_id": conversation}, err))
	f.text = text
	switch {
	case errors.Is(err, dispatcher.ErrUnknownReceiver):
		f.fields = map[string]string{"receiver_id": "is not a user whom Kabar knows"}
	case errors.Is(err, dispatcher.ErrAdminsOnly):
		f.fields = map[string]string{"category": "must be 0 unless the receiver is an administrator"}
	}
	return &f
}
