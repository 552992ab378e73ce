package delivery

import (
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// A run of messages is shown as one line, in the receiver's language.
func TestCollapsed(t *testing.T) {
	w := &Workers{Options: Options{Texts: text.Default()}}
	for l, want := range map[text.Locale]string{text.Indonesian: "3 pesan dari pengguna lain", text.English: "3 messages from another user"} {
		if got := w.collapsed(l, "m", "", 3); got != want {
			t.Errorf("%s: %q, want %q", l, got, want)
		}
	}
}
