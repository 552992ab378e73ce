package content

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestFrame(t *testing.T) {
	t.Parallel()
	const (
		items = `{"messages":1,"transactions_need_action_as_seller":2,"transactions_need_action_as_buyer":5,` +
			`"offers_need_action_as_seller":7,"offers_need_action_as_buyer":8}`
		head  = `{"op":"event","seq":8,"prev":7,"event":`
		rest  = `"details":{"id":1,"unread_items":` + items + `},"notification_id":"52e0b9e37a12000000000000"}}`
		halo  = head + `{"type":"nego","receiver_id":66,"message":"halo",` + rest
		hello = head + `{"type":"nego","receiver_id":66,"message":"hello",` + rest
		promo = head + `{"id":"52e0b9e37a12000000000000","created_at":"2014-01-23T13:42:43.500+07:00","read_state":false,` +
			`"type":"discount","title":"Diskon","message":"halo","details":{"image_url":null},"notification_id":"52e0b9e37a12000000000000"}}`
	)
	details := jsontext.Value(`{"id":1,"unread_items":null}`)
	for name, c := range map[string]struct {
		n                   Notification
		indonesian, english string
	}{
		"without translations": {
			Notification{Body: Body{Type: "nego", Message: "halo", Details: details}}, halo, halo,
		},
		"with a translation": {
			Notification{Body: Body{Type: "nego", Message: "halo", Translations: jsontext.Value(`{"en":"hello"}`), Details: details}},
			halo, hello,
		},
		"with a translation into Indonesian": {
			Notification{Body: Body{Type: "nego", Message: "hello", Translations: jsontext.Value(`{"id":"halo"}`), Details: details}},
			halo, hello,
		},
		"promo": {
			Notification{Promo: true, Body: Body{Type: "discount", Title: title("Diskon"), Message: "halo", Details: jsontext.Value(`{"image_url":null}`)}},
			promo, promo,
		},
	} {
		c.n.ID, c.n.Receiver = noteID, 66
		for l, want := range map[text.Locale]string{text.Indonesian: c.indonesian, text.English: c.english} {
			if got, err := c.n.Frame(8, 7, l, &unreads, jakarta); string(got) != want || err != nil {
				t.Errorf("%s, in %s: %v\n%s, want\n%s", name, l, err, got, want)
			}
		}
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ got, want string }{
		"event": {
			string(EventFrame(8, 7, []byte(`"event":{"type":"nego"}`))),
			`{"op":"event","seq":8,"prev":7,"event":{"type":"nego"}}`,
		},
		"deleted": {
			string(EventFrame(8, 7, DeletedMembers(noteID))),
			`{"op":"event","seq":8,"prev":7,"event":{"type":"deleted","id":"52e0b9e37a12000000000000"}}`,
		},
		"message": {
			string(EventFrame(8, 7, MessageMembers([]byte(`{"type":"message"}`), []byte(`{"id":"a"}`)))),
			`{"op":"event","seq":8,"prev":7,"event":{"type":"message"},"instant_message":{"id":"a"}}`,
		},
		"read": {
			string(ReadFrame(ReadMembers("c0ffee", 66, noteID))),
			`{"op":"read","conversation_id":"c0ffee","user_id":"66","message_id":"52e0b9e37a12000000000000"}`,
		},
		"details of a message": {
			string(MessageDetails(noteID, "c0ffee", 15, `"halo" \o/`, "")),
			`{"id":"52e0b9e37a12000000000000","inbox_id":"c0ffee","sender_id":15,"message":"\"halo\" \\o/"}`,
		},
		"details of a message about a product": {
			string(MessageDetails(noteID, "c0ffee", 15, "halo", `m"w`)),
			`{"id":"52e0b9e37a12000000000000","inbox_id":"c0ffee","sender_id":15,"message":"halo","product_id":"m\"w"}`,
		},
		"unreads": {
			string(UnreadsJSON(unreads)),
			`{"messages":1,"transactions_need_action_as_seller":2,"transactions_as_buyer":3,` +
				`"unread_notifications":4,"transactions_need_action_as_buyer":5,"cart_items":6}`,
		},
		"no unreads": {
			string(UnreadsJSON(model.Unreads{})),
			`{"messages":0,"transactions_need_action_as_seller":0,"transactions_as_buyer":0,` +
				`"unread_notifications":0,"transactions_need_action_as_buyer":0,"cart_items":0}`,
		},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, c.got, c.want)
		}
		if !jsontext.Value(c.got).IsValid() {
			t.Errorf("%s: not JSON", name)
		}
	}
}

// ReadFrame adds a frame around the members of a receipt. It must not write into the bytes
// of the members.
func TestReadFrameCopies(t *testing.T) {
	t.Parallel()
	members := []byte(`"a":1,`)[:5]
	if got := string(ReadFrame(members)); got != `{"op":"read","a":1}` {
		t.Error(got)
	}
	if got := string(members[:6]); got != `"a":1,` {
		t.Errorf("the members became %s", got)
	}
}

// The counts replace the null of the event's details and nothing else: a text that looks like
// it is left alone.
func TestFillMessageUnreads(t *testing.T) {
	t.Parallel()
	n := Notification{ID: noteID, Receiver: 66, Body: Body{Type: "message", Message: "m"}}
	n.Details = MessageDetails(noteID, "c0ffee", 15, `"unread_items":null}`, "")
	stored, err := ParseBody(n.Stored())
	if err != nil {
		t.Fatal(err)
	}
	n.Body = stored
	without, err := n.EventJSON(nil, jakarta)
	if err != nil {
		t.Fatal(err)
	}
	with, err := n.EventJSON(&unreads, jakarta)
	if err != nil {
		t.Fatal(err)
	}
	view := []byte(`{"body":"\"unread_items\":null}"}`)
	members := MessageMembers(without, view)
	before := string(members)
	if got, want := string(FillMessageUnreads(members, &unreads)), string(MessageMembers(with, view)); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if string(members) != before {
		t.Errorf("the members became %s", members)
	}
	if got := string(FillMessageUnreads(DeletedMembers(noteID), &unreads)); got != string(DeletedMembers(noteID)) {
		t.Errorf("a deleted message became %s", got)
	}
}

func TestFillAvatars(t *testing.T) {
	t.Parallel()
	const url = "https://kabar.example/v2/default_avatar.png"
	for name, c := range map[string]struct{ frame, url, want string }{
		"both":    {`{"receiver_avatar":"","sender_avatar":""}`, url, `{"receiver_avatar":"` + url + `","sender_avatar":"` + url + `"}`},
		"one":     {`{"receiver_avatar":"https://a/b","sender_avatar":""}`, url, `{"receiver_avatar":"https://a/b","sender_avatar":"` + url + `"}`},
		"none":    {`{"receiver_avatar":"https://a/b"}`, url, `{"receiver_avatar":"https://a/b"}`},
		"a text":  {`{"body":"\"sender_avatar\":\"\""}`, url, `{"body":"\"sender_avatar\":\"\""}`},
		"no url":  {`{"sender_avatar":""}`, "", `{"sender_avatar":""}`},
		"escaped": {`{"sender_avatar":""}`, `https://"/`, `{"sender_avatar":"https://\"/"}`},
	} {
		if got := string(FillAvatars([]byte(c.frame), c.url)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestMessageSender(t *testing.T) {
	t.Parallel()
	message := Body{
		Type: "message", Message: "halo", Translations: jsontext.Value(`{"en":"hello"}`),
		Details: MessageDetails(noteID, "c0ffee", 15, `{"sender_id":66}`, "66"),
	}
	for name, c := range map[string]struct {
		stored string
		want   int64
	}{
		"a message":                 {string(message.Stored()), 15},
		"an id as a string":         {`{"details":{"sender_id":"15"}}`, 15},
		"an id with a leading zero": {`{"details":{"sender_id":"015"}}`, 0},
		"a negative id":             {`{"details":{"sender_id":-15}}`, 0},
		"no sender":                 {untranslated, 0},
		"a sender beside details":   {`{"sender_id":15,"details":{}}`, 0},
		"details that are none":     {`{"details":15}`, 0},
		"no details":                {`{"type":"message"}`, 0},
		"no object":                 {`@broadcast`, 0},
	} {
		if got := MessageSender([]byte(c.stored)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
