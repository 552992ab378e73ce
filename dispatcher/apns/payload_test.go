package apns

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const deviceToken = "ASD223SDA" // from the documented sample

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
			{Name: "message", Value: json.RawMessage(`"Anda mendapatkan tawaran nego dari Me Ow"`)},
			{Name: "details", Value: json.RawMessage(`{"id":51588,"state":"waiting","unread_items":{"messages":0}}`)},
		},
		Title:   "Nego",
		Body:    "Anda mendapatkan tawaran nego dari Me Ow",
		Tag:     "nego:51588",
		Thread:  "nego",
		Badge:   7,
		Expires: time.Unix(1800000000, 0),

		Presentation: push.Presentation{APNs: push.APNs{Category: "nego.waiting"}},
	}
}

func TestPayload(t *testing.T) {
	const data = `"data":{"type":"nego","receiver_id":66,"message":"Anda mendapatkan tawaran nego dari Me Ow",` +
		`"details":{"id":51588,"state":"waiting","unread_items":{"messages":0}}}}`
	for _, test := range []struct {
		name   string
		change func(*push.Delivery)
		want   string
	}{
		{"visible", func(*push.Delivery) {},
			`{"aps":{"alert":{"title":"Nego","body":"Anda mendapatkan tawaran nego dari Me Ow"},"sound":"default","badge":7,"thread-id":"nego","category":"nego.waiting"},` + data},
		{"without title", func(d *push.Delivery) { d.Title, d.Presentation.APNs.Category = "", "" },
			`{"aps":{"alert":{"body":"Anda mendapatkan tawaran nego dari Me Ow"},"sound":"default","badge":7,"thread-id":"nego"},` + data},
		{"without body", func(d *push.Delivery) { d.Body, d.Presentation.APNs.Category = "", "" },
			`{"aps":{"alert":{"title":"Nego"},"sound":"default","badge":7,"thread-id":"nego"},` + data},
		{"silent", func(d *push.Delivery) { d.Title, d.Body, d.Badge = "", "", 0 },
			`{"aps":{"content-available":1,"thread-id":"nego"},` + data},
		{"silent with unread", func(d *push.Delivery) { d.Title, d.Body = "", "" },
			`{"aps":{"content-available":1,"thread-id":"nego"},` + data},
		{"only white space", func(d *push.Delivery) { d.Title, d.Body = " ", "\n \u00a0\t" },
			`{"aps":{"content-available":1,"thread-id":"nego"},` + data},
		{"what needs escaping", func(d *push.Delivery) { d.Title, d.Body, d.Data = `"A"`, "b\n", nil },
			`{"aps":{"alert":{"title":"\"A\"","body":"b\n"},"sound":"default","badge":7,"thread-id":"nego","category":"nego.waiting"},"data":{}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := delivery()
			test.change(d)
			if got := string(payload(d)); got != test.want || !json.Valid([]byte(got)) {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestNotification(t *testing.T) {
	n := newNotification(delivery(), "com.example.app")
	if n.ApnsID != "123e4567-e89b-42d3-a456-426655440000" || n.CollapseID != "nego:51588" || n.DeviceToken != deviceToken ||
		n.Topic != "com.example.app" || n.Expiration.Unix() != 1800000000 || n.PushType != apns2.PushTypeAlert {
		t.Errorf("got %+v", n)
	}
	d := delivery()
	d.Expires = time.Time{}
	if n := newNotification(d, "t"); !n.Expiration.After(time.Unix(0, 0)) {
		t.Errorf("expiration %v would be left out", n.Expiration)
	}
}

func TestPriority(t *testing.T) {
	for _, test := range []struct {
		lane   push.Lane
		silent bool
		want   int
	}{
		{push.Urgent, false, 10},
		{push.Chat, false, 10},
		{push.Bulk, false, 5},
		{push.Urgent, true, 5},
		{push.Chat, true, 5},
		{push.Bulk, true, 5},
	} {
		d := delivery()
		d.Lane = test.lane
		if test.silent {
			d.Title, d.Body = "", ""
		}
		wantType := apns2.PushTypeAlert
		if test.silent {
			wantType = apns2.PushTypeBackground
		}
		if n := newNotification(d, "t"); n.Priority != test.want || n.PushType != wantType {
			t.Errorf("%v, silent %v: priority %d and type %s, want %d and %s", test.lane, test.silent, n.Priority, n.PushType, test.want, wantType)
		}
	}
}

func TestCollapseID(t *testing.T) {
	seen := map[string]bool{}
	for tag, kept := range map[string]bool{
		"chat:56be34":           true,
		strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false,
		strings.Repeat("y", 65): false,
		"obrolan dengan Me Ow":  false,
		"日本":                    false,
		"a\r\nb":                false,
	} {
		id := collapseID(tag)
		if (id == tag) != kept || len(id) > maxCollapseID || !isVisibleASCII(id) || id != collapseID(tag) || seen[id] {
			t.Errorf("collapseID(%q) = %q", tag, id)
		}
		seen[id] = true
	}
}

// The computed payload size equals the size of what the SDK sends.
func TestPayloadFits(t *testing.T) {
	for _, filler := range []string{"kabar ", "<b>&</b> ", "\u2028", `"\`, "👨‍👩‍👧‍👦"} {
		for _, n := range []int{100, 3000, 4000, 4096, 5000, 60000} {
			text := strings.Repeat(filler, n/len(filler)+1)
			quoted, _ := json.Marshal(text)
			for _, where := range []string{"details", "message", "both"} {
				d := delivery()
				if where != "message" {
					d.Data[3].Value = json.RawMessage(`{"id":1,"text":` + string(quoted) + `}`)
				}
				if where != "details" {
					d.Data[2].Value, d.Body = quoted, text
				}
				sent, err := json.Marshal(newNotification(d, "t"))
				if err != nil {
					t.Fatal(err)
				}
				if len(sent) > maxPayload {
					t.Errorf("%d bytes of %q in %s: %d bytes sent", n, filler, where, len(sent))
				}
				if len(sent) != wireSize(payload(d)) {
					t.Errorf("%d bytes of %q in %s: %d bytes sent, %d foreseen", n, filler, where, len(sent), wireSize(payload(d)))
				}
				if n > 5000 && where == "details" && !strings.Contains(string(sent), `"truncated":true`) {
					t.Errorf("not marked: %s", sent)
				}
			}
		}
	}
}

// Firebase gets the header and payload of APNs, smaller by what it adds.
func TestForFirebase(t *testing.T) {
	d := delivery()
	header, body := ForFirebase(d)
	n := newNotification(d, "")
	want := map[string]string{
		"apns-push-type": "alert", "apns-priority": "10",
		"apns-expiration": strconv.FormatInt(n.Expiration.Unix(), 10), "apns-collapse-id": n.CollapseID,
	}
	if !maps.Equal(header, want) || string(body) != string(payload(d)) {
		t.Errorf("header %v, body %s", header, body)
	}
	d.Body = strings.Repeat("x", 5000)
	if _, body := ForFirebase(d); wireSize(body) > maxPayload-firebaseReserve || !json.Valid(body) {
		t.Errorf("%d bytes", wireSize(body))
	}
}
