package dispatcher

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// An entry is one receiver's push in the outbox, in the delayed set or among the
// dead letters: a header of JSON, a line break, and the notification's body.
type entry struct {
	User     int64  `json:"u"`
	Event    string `json:"e,omitzero"` // digest of the event; empty when it has no record
	Type     string `json:"y"`
	Tag      string `json:"g,omitzero"` // what it replaces on the screen; empty: nothing
	Expires  int64  `json:"x"`          // when a phone no longer needs it, ms
	Until    int64  `json:"r"`          // when it is no longer retried, ms
	Attempt  int    `json:"a,omitzero"` // attempts that were made
	Owed     string `json:"o,omitzero"` // the one device that it is for; empty: all of the user's
	From     string `json:"f,omitzero"` // name of a message's sender
	State    bool   `json:"s,omitzero"` // it tells a state of what the tag names: a newer one supersedes it
	Category string `json:"c,omitzero"` // names the buttons on an iPhone
	// Service is the one whose event it is, when that wants reports, and EventID and
	// Source are what it knows the event by.
	Service string `json:"h,omitzero"`
	EventID string `json:"i,omitzero"`
	Source  string `json:"z,omitzero"`
	ID      string `json:"n"` // of the notification; the last one: see header

	body string
}

// headerEnd is what follows the notification's id in the first line of an entry.
const headerEnd = `"}`

// header returns the first line up to the notification's id.
func (e *entry) header() string {
	anonymous := *e
	anonymous.ID = ""
	b, err := json.Marshal(&anonymous)
	if err != nil {
		panic(fmt.Sprintf("marshal outbox header: %v", err)) // plain strings and numbers always marshal
	}
	return strings.TrimSuffix(string(b), headerEnd)
}

// line returns the whole first line.
func (e *entry) line() string { return e.header() + e.ID + headerEnd }

// value returns the entry as it stands in Redis.
func (e *entry) value() string { return e.line() + "\n" + e.body }

// retry returns the entry for the device that is still owed the push.
func (e *entry) retry(device string, attempts int) *entry {
	again := *e
	again.Owed, again.Attempt = device, attempts
	return &again
}

func parseEntry(value string) (*entry, error) {
	header, body, ok := strings.Cut(value, "\n")
	if !ok {
		return nil, fmt.Errorf("outbox entry has no body")
	}
	e := &entry{body: body}
	if err := json.Unmarshal([]byte(header), e); err != nil {
		return nil, fmt.Errorf("outbox entry: %w", err)
	}
	return e, nil
}

// textsKey begins a body that holds its message in other languages, too.
const textsKey = `{"texts":`

// body returns the notification as the inbox keeps it: type, title, message, details;
// and before them, for nobody outside to see, the message in other languages as an
// object by language, if there are any.
func body(eventType string, title *string, message string, others, details []byte) []byte {
	b := make([]byte, 0, len(others)+len(details)+len(message)+128)
	if len(others) > 0 {
		b = append(append(b, textsKey...), others...)
		b = append(b, `,"type":`...)
	} else {
		b = append(b, `{"type":`...)
	}
	b = jsonscan.AppendString(b, eventType)
	b = append(b, `,"title":`...)
	if title != nil {
		b = jsonscan.AppendString(b, *title)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"message":`...)
	b = jsonscan.AppendString(b, message)
	b = append(b, `,"details":`...)
	b = append(b, details...)
	return append(b, '}')
}

// resourceName names what the event is about, such as "transaction:52001".
func (e *Event) resourceName() string {
	switch {
	case e.details.id == "":
		return ""
	case len(e.details.id) > maxResourceID: // of no use to a person anyway
		sum := sha256.Sum256([]byte(e.details.id))
		return e.Type + ":" + hex.EncodeToString(sum[:16])
	}
	return e.Type + ":" + strings.ReplaceAll(e.details.id, "\n", " ")
}

// chatTag begins the tag of a conversation's pushes.
const chatTag = "message:"

// tag names what the push replaces on the screen: the news of one transaction,
// offer or conversation replace each other. It is empty where nothing does.
func (e *Event) tag() string {
	switch e.Type {
	case "transaction", "nego":
		return e.resourceName()
	case "message":
		if c := e.details.conversation; c != "" && len(c) <= maxResourceID {
			return chatTag + c
		}
	case "reminder":
		return "reminder"
	}
	return ""
}

func milli(ms int64) time.Time { return time.UnixMilli(ms) }
