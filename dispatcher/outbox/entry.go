package outbox

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// An Entry is one receiver's push in the outbox, in the delayed set or among the dead
// letters: a line of JSON, a line break, and the notification's stored body, the reference
// to a broadcast's, or [inbox.ListedBody].
type Entry struct {
	User     int64    `json:"u"`
	Event    string   `json:"e,omitzero"` // digest of the event; empty when it has no record
	Type     string   `json:"y"`
	Tag      string   `json:"g,omitzero"` // what it replaces on the screen; empty: nothing
	Expires  int64    `json:"x,omitzero"` // until when the push is of use, ms by Redis' clock; set by the storing script
	Until    int64    `json:"r,omitzero"` // until when it is retried, ms by Redis' clock; set by the storing script
	Attempt  int      `json:"a,omitzero"` // attempts that were made
	Owed     string   `json:"o,omitzero"` // id of the one device that it is for; empty: all of the user's
	From     string   `json:"f,omitzero"` // name of a message's sender
	State    bool     `json:"s,omitzero"` // it tells a state of what the tag names: a newer one supersedes it
	Quiet    bool     `json:"q,omitzero"` // delayed to the end of quiet hours
	Recheck  bool     `json:"k,omitzero"` // it is the recheck of a suspect device
	Older    bool     `json:"l,omitzero"` // a provider has called the token dead as of a time before its registration
	Waits    string   `json:"w,omitzero"` // why it was delayed without an attempt, such as "circuit_open"; "" when it was not
	Since    int64    `json:"d,omitzero"` // from when the age of a push that was delayed counts, ms by Redis' clock; see since
	Category string   `json:"c,omitzero"` // names the buttons on an iPhone
	Apps     []string `json:"m,omitzero"` // the apps that are pushed; nil: those of the type
	// Service is the service that published the event, if it wants reports; EventID and
	// Source are the id and source that the service gave the event.
	Service string `json:"h,omitzero"`
	EventID string `json:"i,omitzero"`
	Source  string `json:"z,omitzero"`
	ID      string `json:"n"` // of the notification; the last member: see Header

	Body string `json:"-"`
}

// headerEnd follows the notification's id in the first line of an entry.
const headerEnd = `"}`

// Header returns the first line up to the notification's id, for a script that makes
// the id: it appends the id, a quote, a closing brace, a line break and the body.
func (e *Entry) Header() string {
	anonymous := *e
	anonymous.ID = ""
	b, err := json.Marshal(&anonymous)
	if err != nil {
		panic(fmt.Sprintf("marshal outbox entry: %v", err)) // plain strings and numbers always marshal
	}
	return strings.TrimSuffix(string(b), headerEnd)
}

// Line returns the whole first line.
func (e *Entry) Line() string { return e.Header() + e.ID + headerEnd }

// Value returns the entry as it is stored.
func (e *Entry) Value() string { return e.Line() + "\n" + e.Body }

// Retry returns the entry for the one device that is still owed the push, after a number
// of attempts. It is no recheck, and nothing is said about why it waits: set both if it is
// so.
func (e *Entry) Retry(device string, attempts int) *Entry {
	again := *e
	again.Owed, again.Attempt, again.Quiet = device, attempts, false
	again.Recheck, again.Waits = false, ""
	return &again
}

// since returns the moment in milliseconds from which the age of the push counts: the
// acceptance of the event; or the end of the quiet hours that it has waited for; or the
// moment at which it was requeued. It is 0 for an entry without a valid id.
func (e *Entry) since() int64 {
	if e.Since != 0 {
		return e.Since
	}
	if at, err := model.IDTime(e.ID); err == nil {
		return at.UnixMilli()
	}
	return 0
}

// unsent returns the member that stands for the push in the index of unsent pushes.
func (e *Entry) unsent() string { return strconv.FormatInt(e.User, 10) + " " + e.ID + " " + e.Owed }

var errNoBody = errors.New("outbox entry has no body")

// ParseEntry reads what Value wrote.
func ParseEntry(value string) (*Entry, error) {
	header, body, ok := strings.Cut(value, "\n")
	if !ok {
		return nil, errNoBody
	}
	e := &Entry{Body: body}
	if err := json.Unmarshal([]byte(header), e); err != nil {
		return nil, fmt.Errorf("outbox entry: %w", err)
	}
	return e, nil
}
