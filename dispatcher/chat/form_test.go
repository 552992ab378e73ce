package chat

import (
	"errors"
	"maps"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/event"
)

func TestForm(t *testing.T) {
	text := func(s string) Field { return Field{Text: s} }
	odd := Field{Text: "ignored", Problem: "must be a text or a number"}
	const badUser = "must be a user id: a positive whole number without leading zeros"
	for name, c := range map[string]struct {
		form  Form
		want  OutgoingMessage
		wrong map[string]string
	}{
		"complete": {
			form: Form{Receiver: text("15"), Category: text("1"), Body: text("halo"), ClientID: text("c1"), Product: text("p1")},
			want: OutgoingMessage{Receiver: 15, Category: 1, Body: "halo", ClientID: "c1", Product: "p1"},
		},
		"required alone": {
			form: Form{Receiver: text("15"), Category: text("0"), Body: text("halo")},
			want: OutgoingMessage{Receiver: 15, Body: "halo"},
		},
		"empty": {
			wrong: map[string]string{"receiver_id": "is required", "category": "is required", "body_bb": "is required"},
		},
		"of the wrong form": {
			form:  Form{Receiver: text("015"), Category: text("one"), Body: text("halo"), ClientID: text("c1")},
			want:  OutgoingMessage{Body: "halo", ClientID: "c1"},
			wrong: map[string]string{"receiver_id": badUser, "category": "must be a number"},
		},
		"not to be read": {
			form: Form{Receiver: odd, Category: odd, Body: odd, ClientID: odd, Product: odd},
			wrong: map[string]string{
				"receiver_id": odd.Problem, "category": odd.Problem, "body_bb": odd.Problem,
				"client_id": odd.Problem, "product_id": odd.Problem,
			},
		},
		"what can be read stands beside the error": {
			form:  Form{Receiver: text("15"), Category: text("0"), ClientID: text("c1")},
			want:  OutgoingMessage{Receiver: 15, ClientID: "c1"},
			wrong: map[string]string{"body_bb": "is required"},
		},
		"out of bounds is Send's matter": {
			form: Form{Receiver: text("15"), Category: text("7"), Body: text(" ")},
			want: OutgoingMessage{Receiver: 15, Category: 7, Body: " "},
		},
	} {
		m, err := c.form.Parse()
		if m != c.want {
			t.Errorf("%s: %+v, want %+v", name, m, c.want)
		}
		var invalid *event.InvalidError
		switch {
		case c.wrong == nil && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.wrong != nil && (!errors.As(err, &invalid) || !maps.Equal(invalid.Fields, c.wrong)):
			t.Errorf("%s: %v, want %v", name, err, c.wrong)
		}
	}
}

func TestJSONField(t *testing.T) {
	notText := Field{Problem: "must be a string"}
	for raw, want := range map[string]Field{
		``:             {},
		`null`:         {},
		`""`:           {},
		`"15"`:         {Text: "15"},
		`15`:           {Text: "15"},
		`"a\u0062\nc"`: {Text: "ab\nc"},
		`true`:         notText,
		`{"a":1}`:      notText,
		`["15"]`:       notText,
	} {
		if got := JSONField(jsontext.Value(raw)); got != want {
			t.Errorf("%s: %+v, want %+v", raw, got, want)
		}
	}
}
