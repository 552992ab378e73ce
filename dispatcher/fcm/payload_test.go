package fcm

import (
	"cmp"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"firebase.google.com/go/v4/messaging"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const deviceToken = "dXJ0:APA91bE_kabar-1"

// delivery returns the documented offer sample as a push to one device.
func delivery() *push.Delivery {
	return &push.Delivery{
		ID:    "123e4567-e89b-42d3-a456-426655440000",
		Token: deviceToken,
		Lane:  push.Urgent,
		Type:  "nego",
		Data: []push.Field{
			{Name: "type", Value: json.RawMessage(`"nego"`)},
			{Name: "receiver_id", Value: json.RawMessage(`66`)},
			{Name: "message", Value: json.RawMessage(`"Tawaran dari \"Me Ow\""`)},
			{Name: "details", Value: json.RawMessage(`{"id":51588,"state":"waiting","unread_items":{"messages":0}}`)},
		},
		Title:   "Nego",
		Body:    "Anda mendapatkan tawaran nego dari Me Ow",
		Tag:     "nego:51588",
		Thread:  "nego",
		Badge:   7,
		Expires: now.Add(time.Hour),
	}
}

// target returns where a message goes.
func target(m *messaging.Message) string {
	//lint:ignore SA1019 registration tokens are still in use
	return cmp.Or(m.Token, "fid "+m.Fid)
}

func TestMessage(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*push.Delivery)
		want   string // the expected android object
	}{
		{"urgent", func(*push.Delivery) {},
			`{"ttl":"3600s","priority":"high","notification":{"title":"Nego","body":"Anda mendapatkan tawaran nego dari Me Ow","tag":"nego:51588"}}`},
		{"chat", func(d *push.Delivery) { d.Lane, d.Title = push.Chat, "" },
			`{"ttl":"3600s","priority":"high","notification":{"body":"Anda mendapatkan tawaran nego dari Me Ow","tag":"nego:51588"}}`},
		{"bulk", func(d *push.Delivery) { d.Lane = push.Bulk },
			`{"ttl":"3600s","priority":"normal","notification":{"title":"Nego","body":"Anda mendapatkan tawaran nego dari Me Ow","tag":"nego:51588"}}`},
		{"silent", func(d *push.Delivery) { d.Title, d.Body = "", "" }, `{"ttl":"3600s","priority":"normal"}`},
		{"expired", func(d *push.Delivery) { d.Title, d.Body, d.Expires = "", "", now.Add(-time.Hour) }, `{"ttl":"0s","priority":"normal"}`},
		{"for ever", func(d *push.Delivery) { d.Title, d.Body, d.Expires = "", "", now.AddDate(1, 0, 0) }, `{"ttl":"2419200s","priority":"normal"}`},
		{"a part of a second", func(d *push.Delivery) { d.Title, d.Body, d.Expires = "", "", now.Add(1999*time.Millisecond) }, `{"ttl":"1s","priority":"normal"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := delivery()
			test.change(d)
			m := message(d, now)
			android, err := json.Marshal(m.Android)
			if err != nil {
				t.Fatal(err)
			}
			if string(android) != test.want {
				t.Errorf("got  %s\nwant %s", android, test.want)
			}
			if want := map[string]string{
				"type": "nego", "receiver_id": "66", "message": `Tawaran dari "Me Ow"`,
				"details": `{"id":51588,"state":"waiting","unread_items":{"messages":0}}`,
			}; !maps.Equal(m.Data, want) || target(m) != deviceToken || m.Notification != nil {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		value, want string
		ok          bool
	}{
		{`"kabar"`, "kabar", true},
		{`""`, "", true},
		{`"a\u0062\n\"c\""`, "ab\n\"c\"", true},
		{`66`, "66", true},
		{`-1.5`, "-1.5", true},
		{`false`, "false", true},
		{`null`, "", false},
		{` null `, "", false},
		{``, "", false},
		{`{"a":[1,2],"b":"x y"}`, `{"a":[1,2],"b":"x y"}`, true},
		{"{ \"a\" : [ 1, 2 ],\n \"b\\\" \" : \"x  y\" }", `{"a":[1,2],"b\" ":"x  y"}`, true},
		{`[]`, `[]`, true},
		{`"`, `"`, true}, // invalid JSON must not cause a panic
		{`{ "a`, `{ "a`, true},
	} {
		if got, ok := text(json.RawMessage(test.value)); got != test.want || ok != test.ok {
			t.Errorf("text(%s) = %q, %v; want %q, %v", test.value, got, ok, test.want, test.ok)
		}
	}
}

func TestMessageFits(t *testing.T) {
	for _, filler := range []string{"kabar ", "<b>&</b> ", `"\`, "👨‍👩‍👧‍👦"} {
		for _, n := range []int{100, 3000, 3900, 4096, 5000, 60000} {
			long := strings.Repeat(filler, n/len(filler)+1)
			quoted, _ := json.Marshal(long)
			for _, where := range []string{"details", "message", "both"} {
				d := delivery()
				if where != "message" {
					d.Data[3].Value = json.RawMessage(`{"id":1,"text":` + string(quoted) + `}`)
				}
				if where != "details" {
					d.Data[2].Value, d.Body = quoted, long
				}
				m := message(d, now)
				size := len(m.Android.Notification.Title) + len(m.Android.Notification.Body) + len(m.Android.Notification.Tag)
				for k, v := range m.Data {
					size += len(k) + len(v)
					if !utf8.ValidString(v) {
						t.Errorf("%s is not UTF-8: %q", k, v)
					}
				}
				if size > maxPayload {
					t.Errorf("%d bytes of %q in %s: %d bytes", n, filler, where, size)
				}
				if !json.Valid([]byte(m.Data["details"])) {
					t.Errorf("details: %s", m.Data["details"])
				}
				if n > 5000 && where == "details" && m.Data["details"] != `{"id":1,"truncated":true}` {
					t.Errorf("details: %s", m.Data["details"])
				}
			}
		}
	}
}
