package content

import (
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

func TestMembersOfAStoredNotification(t *testing.T) {
	title, details := "T", []byte(`{"a":1.10}`)
	for name, c := range map[string]struct {
		body   Body
		locale text.Locale
		want   string
	}{
		"without languages": {Body{Type: "discount", Title: &title, Message: "m", Details: details}, text.English, `"type":"discount","title":"T","message":"m","details":{"a":1.10,"unread_items":null}`},
		"the preset one":    {Body{Type: "nego", Message: "apa", Translations: []byte(`{"en":"what"}`), Details: details}, text.Indonesian, `"type":"nego","title":null,"message":"apa","details":{"a":1.10,"unread_items":null}`},
		"another one":       {Body{Type: "nego", Title: &title, Message: "apa", Translations: []byte(`{"en":"what"}`), Details: details}, text.English, `"type":"nego","title":"T","message":"what","details":{"a":1.10,"unread_items":null}`},
	} {
		if got := string(AppendMembers(nil, c.body.Stored(), c.body.Type, c.locale, nil)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
