package content

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func title(s string) *string { return &s }

func TestStoredBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body Body
		want string
		// details is the Details that ParseBody returns. It includes unread_items.
		details string
	}{
		"without translations": {
			body:    Body{Type: "discount", Title: title("Diskon"), Message: "Diskon \"50%\"\nhari ini", Details: jsontext.Value(`{"image_url":null}`)},
			want:    `{"type":"discount","title":"Diskon","message":"Diskon \"50%\"\nhari ini","details":{"image_url":null,"unread_items":null}}`,
			details: `{"image_url":null,"unread_items":null}`,
		},
		"with translations": {
			body:    Body{Type: "message", Message: "Pesan dari Me Ow", Translations: jsontext.Value(`{"en":"Message from Me Ow"}`), Details: jsontext.Value(`{"sender_id":15}`)},
			want:    `{"texts":{"en":"Message from Me Ow"},"type":"message","title":null,"message":"Pesan dari Me Ow","details":{"sender_id":15,"unread_items":null}}`,
			details: `{"sender_id":15,"unread_items":null}`,
		},
		"with a presentation": {
			body: Body{Type: "discount", Message: "m", Details: jsontext.Value(`{}`), Presentation: push.Presentation{Image: "https://a/?b&c", APNs: push.APNs{Subtitle: "s"}}},
			want: `{"push":{"image":"https://a/?b\u0026c","apns":{"subtitle":"s"}},"type":"discount","title":null,"message":"m","details":{"unread_items":null}}`,

			details: `{"unread_items":null}`,
		},
		"with both": {
			body: Body{Type: "nego", Message: "m", Translations: jsontext.Value(`{"en":"n"}`), Details: jsontext.Value(`{}`), Presentation: push.Presentation{Sound: "none"}},
			want: `{"texts":{"en":"n"},"push":{"sound":"none"},"type":"nego","title":null,"message":"m","details":{"unread_items":null}}`,

			details: `{"unread_items":null}`,
		},
		"with empty details": {
			body:    Body{Type: "reminder", Details: jsontext.Value(`{}`)},
			want:    `{"type":"reminder","title":null,"message":"","details":{"unread_items":null}}`,
			details: `{"unread_items":null}`,
		},
		"with an empty title": {
			body:    Body{Type: "campaign", Title: title(""), Message: "m", Details: jsontext.Value(`{}`)},
			want:    `{"type":"campaign","title":"","message":"m","details":{"unread_items":null}}`,
			details: `{"unread_items":null}`,
		},
		"with details that were stored before": {
			body:    Body{Type: "nego", Message: "m", Details: jsontext.Value(`{"id":1,"unread_items":null}`)},
			want:    `{"type":"nego","title":null,"message":"m","details":{"id":1,"unread_items":null}}`,
			details: `{"id":1,"unread_items":null}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stored := c.body.Stored()
			if diff := cmp.Diff(c.want, string(stored)); diff != "" {
				t.Errorf("stored: %s", diff)
			}
			if !jsontext.Value(stored).IsValid() {
				t.Errorf("not JSON: %s", stored)
			}
			if got, want := HasTranslations(stored), len(c.body.Translations) > 0; got != want {
				t.Errorf("has translations: %t", got)
			}
			want := c.body
			want.Details = jsontext.Value(c.details)
			parsed, err := ParseBody(stored)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, parsed); diff != "" {
				t.Errorf("parsed: %s", diff)
			}
			if diff := cmp.Diff(c.want, string(parsed.Stored())); diff != "" {
				t.Errorf("stored again: %s", diff)
			}
		})
	}
}

func TestParseBodyRefuses(t *testing.T) {
	t.Parallel()
	for _, stored := range []string{``, `[]`, `null`, `"text"`, `@broadcast`, `{"type":"nego"`, `{"push":7,"type":"nego"}`} {
		if b, err := ParseBody([]byte(stored)); err == nil {
			t.Errorf("%q is parsed as %+v", stored, b)
		}
	}
}

const (
	untranslated = `{"type":"nego","title":null,"message":"halo","details":{}}`
	translated   = `{"texts":{"en":"hello \"you\""},"type":"message","title":null,"message":"halo","details":{"id":1,"unread_items":null}}`
)

func TestIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stored string
		locale text.Locale
		want   string
	}{
		"its own language":      {translated, text.Indonesian, "halo"},
		"a translation":         {translated, text.English, `hello "you"`},
		"a language it lacks":   {translated, "fr", "halo"},
		"without translations":  {untranslated, text.English, "halo"},
		"no language asked for": {translated, "", "halo"},
	} {
		b, err := ParseBody([]byte(c.stored))
		if err != nil {
			t.Fatal(err)
		}
		before := b
		want := b
		want.Message = c.want
		if diff := cmp.Diff(want, b.In(c.locale)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(before, b); diff != "" {
			t.Errorf("%s: the body itself changed: %s", name, diff)
		}
	}
}

func TestAppendMembers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stored  string
		locale  text.Locale
		unreads *model.Unreads
		want    string
	}{
		"a presentation":       {`{"push":{"sound":"none"},"type":"nego","title":null,"message":"m","details":{}}`, text.English, nil, `"type":"nego","title":null,"message":"m","details":{"unread_items":null}`},
		"without translations": {untranslated, text.English, nil, `"type":"nego","title":null,"message":"halo","details":{}`},
		"its own language":     {translated, text.Indonesian, nil, `"type":"message","title":null,"message":"halo","details":{"id":1,"unread_items":null}`},
		"a translation":        {translated, text.English, nil, `"type":"message","title":null,"message":"hello \"you\"","details":{"id":1,"unread_items":null}`},
		"with counts": {
			translated, text.English, &unreads,
			`"type":"message","title":null,"message":"hello \"you\"","details":{"id":1,"unread_items":{"messages":1,"transactions_need_action_as_seller":2,` +
				`"transactions_need_action_as_buyer":5,"offers_need_action_as_seller":7,"offers_need_action_as_buyer":8}}`,
		},
		"no room for counts": {untranslated, text.Indonesian, &unreads, `"type":"nego","title":null,"message":"halo","details":{}`},
	} {
		dst := []byte(`{"id":"1",`)
		if got, want := string(AppendMembers(dst, []byte(c.stored), "nego", c.locale, c.unreads)), `{"id":"1",`+c.want; got != want {
			t.Errorf("%s:\n%s, want\n%s", name, got, want)
		}
	}
}
