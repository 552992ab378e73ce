package inbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// A Message is one message, as it is in one user's copy of the conversation.
type Message struct {
	ID           string
	Conversation string
	Sender       int64
	Receiver     int64
	Body         string // BBCode as sent
	Category     int
	Product      string // id of the product that it asks about, or ""
	ClientID     string // the sender's own id for it, or ""
	CreatedAt    time.Time
	Read         bool // by its receiver
	// ReadAt is when its receiver read it, to the second; zero while it is unread.
	ReadAt time.Time `json:",omitzero"`
	// Generation is how often the sender had been erased when the message was accepted. It
	// is not stored with the message.
	Generation int64 `json:",omitzero"`
}

// Partner returns the other one of a message's two users.
func (m *Message) Partner(user int64) int64 {
	if user == m.Sender {
		return m.Receiver
	}
	return m.Sender
}

// storedMessage is the stored form of a message without its id, which contains the time.
type storedMessage struct {
	Conversation string `json:"c"`
	Sender       int64  `json:"s"`
	Receiver     int64  `json:"r"`
	Body         string `json:"b"`
	Category     int    `json:"k,omitempty"`
	Product      string `json:"p,omitempty"`
	ClientID     string `json:"i,omitempty"`
}

func (m *Message) stored() string {
	b, err := json.Marshal(storedMessage{m.Conversation, m.Sender, m.Receiver, m.Body, m.Category, m.Product, m.ClientID})
	if err != nil {
		panic(fmt.Sprintf("marshal message: %v", err)) // plain strings and numbers always marshal
	}
	return string(b)
}

// readPrefix stands before a message's id in the field of the bodies that says when it was
// read.
const readPrefix = "r"

// parseMessage reads a message from its stored form. readAt is when it was read, as the bodies
// hold it, or "".
func parseMessage(id, stored, readAt string, read bool) (Message, error) {
	var s storedMessage
	if err := json.Unmarshal([]byte(stored), &s); err != nil {
		return Message{}, fmt.Errorf("message %s: %w", id, err)
	}
	at, err := model.IDTime(id)
	if err != nil {
		return Message{}, err
	}
	m := Message{
		ID: id, Conversation: s.Conversation, Sender: s.Sender, Receiver: s.Receiver, Body: s.Body,
		Category: s.Category, Product: s.Product, ClientID: s.ClientID, CreatedAt: at, Read: read,
	}
	if readAt != "" {
		seconds, err := strconv.ParseInt(readAt, 10, 64)
		if err != nil {
			return Message{}, fmt.Errorf("message %s: when it was read: %w", id, err)
		}
		m.ReadAt = time.Unix(seconds, 0)
	}
	return m, nil
}

// score is a number that sorts as the id does, to the microsecond.
func score(id string) string {
	n, err := strconv.ParseInt(id[:13], 16, 64)
	if err != nil {
		panic(fmt.Sprintf("id %q is not from NewID", id))
	}
	return strconv.FormatInt(n, 10)
}

const (
	maxWord  = 40  // characters of a word that a search compares
	maxWords = 300 // distinct words of a message that a search finds
)

// wordsOf returns the distinct words of a text in the form in which they are searched:
// lower case, letters and digits only.
func wordsOf(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
	for i, w := range words {
		if r := []rune(w); len(r) > maxWord {
			words[i] = string(r[:maxWord])
		}
	}
	slices.Sort(words)
	words = slices.Compact(words)
	return words[:min(len(words), maxWords)]
}

// postings returns the members of the set words for the message.
func (m *Message) postings() []any {
	words := wordsOf(m.Body)
	postings := make([]any, len(words))
	for i, w := range words {
		postings[i] = w + "\x00" + m.ID + m.Conversation
	}
	return postings
}
