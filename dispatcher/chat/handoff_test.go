package chat

import (
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/inbox"
)

// The format of stored hand-offs must not change, because other versions read them.
const (
	storedMessage = `{"m":{"ID":"","Conversation":"c","Sender":15,"Receiver":66,"Body":"halo","Category":0,` +
		`"Product":"","ClientID":"","CreatedAt":"0001-01-01T00:00:00Z","Read":false}}`
	storedPointer = `{"p":{"u":15,"c":"c"}}`
	storedReceipt = `{"r":{"User":66,"Conversation":"c","Message":"","UpTo":"m","Partner":15,"At":"2016-01-11T06:08:30Z"}}`
)

func TestHandoffsAsTheyAreStored(t *testing.T) {
	for want, h := range map[string]handoff{
		storedMessage: {Message: &inbox.Message{Conversation: "c", Sender: 15, Receiver: 66, Body: "halo"}},
		storedPointer: {Pending: &pending{15, "c"}},
		storedReceipt: {Receipt: &inbox.ReadReceipt{User: 66, Conversation: "c", UpTo: "m", Partner: 15, At: time.Unix(1452492510, 0).UTC(), Handoff: "not stored"}},
	} {
		if got := h.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		again, err := parseHandoff(want)
		if err != nil || again.String() != want {
			t.Errorf("%s is read as %s, %v", want, again, err)
		}
	}
}

func TestValidHandoff(t *testing.T) {
	for text, want := range map[string]bool{
		storedPointer: true,
		storedReceipt: true,
		storedMessage: false, // is stored in the set of pending messages, not as a hand-off
		`{}`:          false,
		`nonsense`:    false,
		``:            false,
	} {
		if got := ValidHandoff(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestConcerns(t *testing.T) {
	for _, c := range []struct {
		text string
		user int64
		want bool
	}{
		{storedPointer, 15, true},
		{storedPointer, 66, false}, // the pointer names only the first copy's user
		{storedReceipt, 15, true},
		{storedReceipt, 66, true},
		{storedReceipt, 1, false},
		{`nonsense 15`, 15, false},
	} {
		if got := Concerns(c.text, c.user); got != c.want {
			t.Errorf("%s and user %d: %v", c.text, c.user, got)
		}
	}
}
