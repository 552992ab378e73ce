package webpush

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

func TestPayload(t *testing.T) {
	const data = `"data":{"type":"nego","receiver_id":66,"message":"Tawaran dari \"Me Ow\"",` +
		`"details":{"id":51588,"state":"waiting","unread_items":{"messages":0}}}}`
	for _, test := range []struct {
		name   string
		change func(*push.Delivery)
		want   string
	}{
		{"whole", func(*push.Delivery) {},
			`{"title":"Nego","body":"Anda mendapatkan tawaran nego dari Me Ow","tag":"nego:51588","badge":7,"category":"nego.waiting",` + data},
		{"without title and buttons", func(d *push.Delivery) { d.Title, d.Presentation = "", push.Presentation{} },
			`{"title":"","body":"Anda mendapatkan tawaran nego dari Me Ow","tag":"nego:51588","badge":7,` + data},
		{"what needs escaping", func(d *push.Delivery) {
			d.Title, d.Body, d.Presentation, d.Data = `"A"`, "b\n", push.Presentation{}, nil
		},
			`{"title":"\"A\"","body":"b\n","tag":"nego:51588","badge":7,"data":{}}`},
	} {
		d := delivery()
		test.change(d)
		if got := string(payload(d)); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// What is too large is cut until it fits, and nothing else is.
func TestPayloadFits(t *testing.T) {
	d := delivery()
	for n := range 200 {
		d.Data[3].Value = json.RawMessage(`{"id":7,"description":"` + strings.Repeat("x", maxPayload-300+n) + `"}`)
		p := payload(d)
		whole := build(d, provider.ContentOf(d))
		if len(p) > maxPayload || !json.Valid(p) {
			t.Fatalf("%d bytes: %s", len(p), p)
		}
		if cut := strings.Contains(string(p), `"truncated":true`); cut != (len(whole) > maxPayload) {
			t.Fatalf("%d bytes, cut: %v", len(whole), cut)
		}
	}
}

func TestTopic(t *testing.T) {
	seen := make(map[string]bool)
	for _, tag := range []string{"t", "nego:51588", "nego:51589", "chat:" + strings.Repeat("7", 500), "ü 🇮🇩"} {
		got := topic(tag)
		if len(got) > 32 || strings.ContainsAny(got, "+/=") || seen[got] || got != topic(tag) {
			t.Errorf("%q: %q", tag, got)
		}
		seen[got] = true
	}
}

func TestUrgencyAndTTL(t *testing.T) {
	d := delivery()
	for lane, want := range map[push.Lane]string{push.Urgent: "high", push.Chat: "high", push.Bulk: "normal"} {
		d.Lane = lane
		if got := urgency(d); string(got) != want {
			t.Errorf("%v: %q, want %q", lane, got, want)
		}
	}
	for left, want := range map[time.Duration]int{time.Hour: 3600, -time.Hour: 0, 90 * 24 * time.Hour: 28 * 24 * 3600} {
		d.Expires = now.Add(left)
		if got := ttl(d, now); got != want {
			t.Errorf("%v: %d, want %d", left, got, want)
		}
	}
}
