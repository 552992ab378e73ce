package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// conversationSubject begins the subject of a conversation.
const conversationSubject = "message:"

// maxSubjectID bounds the id in a subject, in bytes.
const maxSubjectID = 64

// Subject returns the name of the resource that an event is about, such as
// "transaction:52001", or "" without an id. Only the newest state of a subject counts, and
// a newer push about it replaces an older one on the screen. An id of more than 64 bytes is
// digested.
func Subject(eventType, id string) string {
	switch {
	case id == "":
		return ""
	case len(id) > maxSubjectID: // only compared, never read
		sum := sha256.Sum256([]byte(id))
		return eventType + ":" + hex.EncodeToString(sum[:16])
	}
	return eventType + ":" + strings.ReplaceAll(id, "\n", " ")
}

// ConversationSubject returns the subject of a conversation's messages, or "" for an id
// that is empty or too long.
func ConversationSubject(id string) string {
	if id == "" || len(id) > maxSubjectID {
		return ""
	}
	return conversationSubject + id
}

// SubjectConversation returns the conversation that a subject is of, if it is of one.
func SubjectConversation(subject string) (id string, ok bool) {
	return strings.CutPrefix(subject, conversationSubject)
}

var errUser = errors.New("must be a user id: a positive whole number without leading zeros")

// ParseUser reads a user id: a canonical positive decimal, so that a user has one
// spelling ("066" is refused). The error continues a sentence that begins with the
// field's name.
func ParseUser(s string) (int64, error) {
	user, err := strconv.ParseInt(s, 10, 64)
	if err != nil || user <= 0 || strconv.FormatInt(user, 10) != s {
		return 0, errUser
	}
	return user, nil
}
