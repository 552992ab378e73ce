package api

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/bbcode"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The documented texts of conversations, by id.
const (
	textNotYours               = "api.conversation.not_yours"
	textConversationDeleted    = "api.conversation.deleted"
	textConversationNotDeleted = "api.conversation.not_deleted"
)

// maxSearch limits the text to search for, in characters.
const maxSearch = 200

// An inboxEntry is a conversation as the inbox shows it.
type inboxEntry struct {
	ID              string `json:"id"`
	UpdatedAt       string `json:"updated_at"`
	PartnerID       string `json:"partner_id"`
	PartnerName     string `json:"partner_name"`
	PartnerAvatar   string `json:"partner_avatar"`
	UserID          string `json:"user_id"`
	UserName        string `json:"user_name"`
	LastMessage     string `json:"last_message"`
	LastMessageRead bool   `json:"last_message_read"` // by its receiver
	LastMessageSent string `json:"last_message_sent"`
}

// conversations serves the endpoints of the inbox and of conversations.
type conversations struct {
	conversations Conversations
	counters      Counters
	profiles      Profiles
	chat          Chat
	viewer        *messageViewer
	language      *language
	location      *time.Location
}

// showInbox: GET /v2/messages.json
func (cs *conversations) showInbox(r *http.Request, user int64) (reply, error) {
	in, err := readParams(r)
	if err != nil {
		return reply{}, err
	}
	offset, count := in.page()
	unread := in.text("filter") == "unread"
	search := in.text("search")
	if utf8.RuneCountInString(search) > maxSearch {
		in.reject("search", fmt.Sprintf("must have at most %d characters", maxSearch))
	}
	if err := in.err(); err != nil {
		return reply{}, err
	}
	var conversations []inbox.Conversation
	if search != "" {
		conversations, err = cs.conversations.Search(r.Context(), user, search, unread, offset, count)
	} else {
		conversations, err = cs.conversations.List(r.Context(), user, unread, offset, count)
	}
	if err != nil {
		return reply{}, err
	}
	entries, err := cs.inboxEntries(r, user, conversations)
	if err != nil {
		return reply{}, err
	}
	n, err := cs.counters.Unreads(r.Context(), user)
	if err != nil {
		return reply{}, err
	}
	re, err := ok(struct {
		Status string       `json:"status"`
		Unread int          `json:"unread"`
		Inbox  []inboxEntry `json:"inbox"`
	}{"OK", n.Messages, entries})
	re.tagged = true
	return re, err
}

func (cs *conversations) inboxEntries(r *http.Request, user int64, conversations []inbox.Conversation) ([]inboxEntry, error) {
	users := []int64{user}
	for _, c := range conversations {
		users = append(users, c.Partner)
	}
	profiles, err := cs.profiles.GetAll(r.Context(), users...)
	if err != nil {
		return nil, err
	}
	entries, noAvatar := make([]inboxEntry, len(conversations)), cs.viewer.defaultAvatar(r)
	for i, c := range conversations {
		partner := profiles[c.Partner]
		at := c.Last.CreatedAt.In(cs.location).Format(inbox.MessageTime)
		entries[i] = inboxEntry{
			ID:              c.ID,
			UpdatedAt:       at,
			PartnerID:       strconv.FormatInt(c.Partner, 10),
			PartnerName:     partner.DisplayName(c.Partner),
			PartnerAvatar:   cmp.Or(avatarOf(partner), noAvatar),
			UserID:          strconv.FormatInt(user, 10),
			UserName:        profiles[user].DisplayName(user),
			LastMessage:     oneLine(bbcode.Text(c.Last.Body)),
			LastMessageRead: c.Last.Read,
			LastMessageSent: at,
		}
	}
	return entries, nil
}

// avatarOf returns the address of a user's avatar, or "".
func avatarOf(p inbox.Profile) string {
	if p.Avatar == nil {
		return ""
	}
	return *p.Avatar
}

// oneLine joins the lines of a text and collapses white space.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// showConversation: GET /v2/messages/:id.json
func (cs *conversations) showConversation(r *http.Request, user int64) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, notYours(err)
	}
	in, err := readParams(r)
	if err != nil {
		return reply{}, notYours(err)
	}
	offset, count := in.page()
	keepUnread := in.text("keep_unread") == "1" || r.Method == http.MethodHead // nobody sees the messages
	if err := in.err(); err != nil {
		return reply{}, notYours(err)
	}
	messages, err := cs.readConversation(r, user, id, keepUnread, offset, count)
	if err != nil {
		return reply{}, notYours(err)
	}
	shown, err := cs.viewer.views(r, messages)
	if err != nil {
		return reply{}, notYours(err)
	}
	re, err := ok(struct {
		Status          string                 `json:"status"`
		InstantMessages []inbox.InstantMessage `json:"instant_messages"`
		Message         *string                `json:"message"`
	}{"OK", shown, nil})
	re.tagged = true
	return re, err
}

// readConversation flags a conversation as read, unless keepUnread is set, and then reads a
// page of it. In this order a message that comes while the page is being read is not
// flagged.
func (cs *conversations) readConversation(r *http.Request, user int64, id string, keepUnread bool, offset, count int) ([]inbox.Message, error) {
	if !model.ValidID(id) {
		return nil, inbox.ErrNotFound
	}
	if !keepUnread {
		if err := cs.chat.ReadConversation(r.Context(), user, id, ""); err != nil {
			return nil, err
		}
	}
	return cs.conversations.Messages(r.Context(), user, id, offset, count)
}

// A messageViewer makes the messages that clients see, with the names of both users.
type messageViewer struct {
	profiles      Profiles
	location      *time.Location
	defaultAvatar func(*http.Request) string
}

// views returns messages as clients see them.
func (v *messageViewer) views(r *http.Request, messages []inbox.Message) ([]inbox.InstantMessage, error) {
	users := make(map[int64]bool)
	for _, m := range messages {
		users[m.Sender], users[m.Receiver] = true, true
	}
	profiles, err := v.profiles.GetAll(r.Context(), slices.Collect(maps.Keys(users))...)
	if err != nil {
		return nil, err
	}
	shown, noAvatar := make([]inbox.InstantMessage, len(messages)), v.defaultAvatar(r)
	for i, m := range messages {
		s := m.View(profiles[m.Sender], profiles[m.Receiver], v.location)
		s.SenderAvatar, s.ReceiverAvatar = cmp.Or(s.SenderAvatar, noAvatar), cmp.Or(s.ReceiverAvatar, noAvatar)
		shown[i] = s
	}
	return shown, nil
}

// notYours is the failure of reading. What the user does not have is answered like what
// belongs to others, so that ids cannot be probed.
func notYours(err error) error {
	if errors.Is(err, inbox.ErrNotFound) {
		err = &failure{code: forbidden, text: textNotYours}
	}
	return with(map[string]any{"instant_messages": nil}, err)
}

// deleteConversation: DELETE /v2/messages/:id.json. The documented sample deletes a
// single message by this path, too.
func (cs *conversations) deleteConversation(r *http.Request, user int64) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	if !model.ValidID(id) {
		return reply{}, notDeleted(id, textConversationNotDeleted, inbox.ErrNotFound)
	}
	err = cs.conversations.Delete(r.Context(), user, id)
	if errors.Is(err, inbox.ErrNotFound) {
		if err = cs.conversations.DeleteMessage(r.Context(), user, id); err == nil {
			return deleted(id, cs.language.word(r, user, textMessageDeleted))
		}
	}
	if err != nil {
		return reply{}, notDeleted(id, textConversationNotDeleted, err)
	}
	return deleted(id, cs.language.word(r, user, textConversationDeleted))
}

func deleted(id, message string) (reply, error) {
	return ok(struct {
		Status  string `json:"status"`
		ID      string `json:"id"`
		Message string `json:"message"`
	}{"OK", id, message})
}

func notDeleted(id, text string, err error) error {
	return with(map[string]any{"id": strings.ToValidUTF8(id, "\ufffd")}, because(text, err))
}
