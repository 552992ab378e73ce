package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

var (
	galaxy  = devices.Device{Platform: devices.Android, Manufacturer: "Samsung", Model: "Galaxy A54"}
	iPhone  = devices.Device{Platform: devices.IOS, Model: "iPhone 15"}
	noon    = time.Date(2016, 1, 11, 12, 0, 0, 0, time.Local)
	fcmBody = `{"token":"secret-token","data":{"details":"{\"id\":51588,\"state\":\"waiting\",\"product\":{\"id\":\"mx5n\",\"name\":\"Bantal\",\"stock\":2},\"actions\":[\"accept\"],\"image_url\":null,\"unread_items\":{\"messages\":0,\"offers_need_action_as_seller\":1}}",` +
		`"message":"Tawaran baru","receiver_id":"66","type":"nego"},` +
		`"android":{"priority":"high","ttl":"259200s","notification":{"title":"Nego","body":"Tawaran baru","tag":"nego:51588"}}}`
	apnsBody = `{"aps":{"alert":{"title":"Nego","body":"Tawaran baru"},"sound":"default","badge":3,"thread-id":"nego:51588"},` +
		`"data":{"type":"nego","receiver_id":66,"message":"Tawaran baru","details":{"id":51588,"unread_items":{"messages":0,"offers_need_action_as_seller":0}}}}`
)

func fcmPush(body string) *sandbox.Push {
	return &sandbox.Push{Platform: sandbox.PlatformFCM, Token: "secret-token", At: noon, Body: []byte(body), Answer: http.StatusOK}
}

func apnsPush(body string) *sandbox.Push {
	header := http.Header{"Apns-Priority": {"10"}, "Apns-Collapse-Id": {"nego:51588"}}
	return &sandbox.Push{Platform: sandbox.PlatformAPNs, Token: "secret", At: noon, Header: header, Body: []byte(body), Answer: http.StatusOK}
}

func TestBlock(t *testing.T) {
	refused := fcmPush(fcmBody)
	refused.Answer, refused.Reason = http.StatusNotFound, "UNREGISTERED"
	lost := apnsPush(apnsBody)
	lost.Answer = 0
	for _, test := range []struct {
		name    string
		arrival arrival
		want    string
	}{
		{"Android", arrival{fcmPush(fcmBody), galaxy, "66 Testing Account"}, `
╭─ 12:00:00  Samsung Galaxy A54 (Android) of 66 Testing Account ──────────────╮
│ Nego                                                                        │
│ Tawaran baru                                                                │
╰─────────────────────────────────────────────────────────────────────────────╯
  push          FCM, high priority, tag nego:51588
  data          type=nego receiver_id=66
  details       id=51588 state=waiting product={id=mx5n name=Bantal}
                actions=[…]
  unread_items  offers_need_action_as_seller=1
`},
		{"iOS", arrival{apnsPush(apnsBody), iPhone, "66 Testing Account"}, `
╭─ 12:00:00  iPhone 15 (iOS) of 66 Testing Account ───────────────────────────╮
│ Nego                                                                        │
│ Tawaran baru                                                                │
╰─────────────────────────────────────────────────────────────────────────────╯
  push          APNs, priority 10, collapse id nego:51588, badge 3
  data          type=nego receiver_id=66
  details       id=51588
  unread_items  all 0
`},
		{"silent", arrival{fcmPush(`{"data":{"type":"reminder","messages":"2"},"android":{"priority":"normal"}}`), galaxy, "7"}, `
12:00:00  Samsung Galaxy A54 (Android) of 7
  nothing on the screen: data for the app alone
  push          FCM, normal priority
  data          type=reminder messages=2
`},
		{"read elsewhere", arrival{fcmPush(`{"data":{"type":"dismiss","read":"[{\"id\":\"1\",\"tag\":\"nego:51588\"}]"},"android":{"priority":"normal"}}`), galaxy, "7"}, `
12:00:00  Samsung Galaxy A54 (Android) of 7
  takes down what was read elsewhere
  push          FCM, normal priority
  data          type=dismiss read=[{"id":"1","tag":"nego:51588"}]
`},
		{"badge", arrival{apnsPush(`{"aps":{"badge":0}}`), iPhone, "7"}, `
12:00:00  iPhone 15 (iOS) of 7
  nothing on the screen: the badge alone
  push          APNs, priority 10, collapse id nego:51588, badge 0
`},
		{"refused", arrival{refused, galaxy, "66 Testing Account"}, `
12:00:00  Samsung Galaxy A54 (Android) of 66 Testing Account
  did not arrive: FCM answered 404 UNREGISTERED
`},
		{"lost", arrival{lost, iPhone, "66 Testing Account"}, `
12:00:00  iPhone 15 (iOS) of 66 Testing Account
  did not arrive: APNs gave no answer before the connection ended
`},
		{"nobody's", arrival{fcmPush(`{"android":{"priority":"high","notification":{"body":"Halo","tag":"1"}}}`), devices.Device{Platform: devices.Android}, ""}, `
╭─ 12:00:00  phone (Android) of nobody ───────────────────────────────────────╮
│ Halo                                                                        │
╰─────────────────────────────────────────────────────────────────────────────╯
  push          FCM, high priority, tag 1
`},
		{"drawn by the app", arrival{fcmPush(`{"data":{"type":"dompet","link":"shop://wallet","notification":"{\"title\":\"Dompet\",\"body\":\"Halo\",\"tag\":\"1\",\"image\":\"https://i\",\"channel_id\":\"urgent\"}"},"android":{"priority":"high"}}`), galaxy, "66"}, `
╭─ 12:00:00  Samsung Galaxy A54 (Android) of 66 ──────────────────────────────╮
│ Dompet                                                                      │
│ Halo                                                                        │
╰─────────────────────────────────────────────────────────────────────────────╯
  push          FCM, high priority, tag 1
  look          channel=urgent image=https://i link=shop://wallet drawn by the
                app
  data          type=dompet
`},
		{"no JSON", arrival{fcmPush(`{`), galaxy, "66"}, `
12:00:00  Samsung Galaxy A54 (Android) of 66
  nothing on the screen: data for the app alone
  push          FCM
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), paint(false).block(test.arrival)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBlockIsStraight draws the most awkward texts that a service can send.
func TestBlockIsStraight(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("Bukalapak ", 60),
		strings.Repeat("x", 500),
		strings.Repeat("値下げ", 50),
		strings.Repeat("👩‍👩‍👧 ", 40),
		strings.Repeat("ᄀ", 90), // one Hangul character, as wide as a line
		"two\nlines\r\nand\ttabs",
		"\x1b[31mred\x1b[0m \u202eturned",
		"",
	} {
		body, err := json.Marshal(map[string]any{
			"aps":  map[string]any{"alert": map[string]string{"title": text, "body": text}},
			"data": map[string]any{"type": text, text: text},
		})
		if err != nil {
			t.Fatal(err)
		}
		block := paint(false).block(arrival{apnsPush(string(body)), devices.Device{Platform: devices.IOS, Model: text}, text})
		if strings.ContainsAny(block, "\x1b\u202e\t\r") {
			t.Errorf("%.20q steers the terminal: %q", text, block)
		}
		lines := strings.Split(strings.TrimSuffix(block, "\n"), "\n")
		if most := 1 + 1 + bodyLines + 1 + 1 + factLines; len(lines) > most {
			t.Errorf("%.20q: %d lines:\n%s", text, len(lines), block)
		}
		for _, l := range lines {
			framed := strings.HasPrefix(l, "│") || strings.HasPrefix(l, "╭") || strings.HasPrefix(l, "╰")
			if n := uniseg.StringWidth(l); n > columns || framed && n != columns {
				t.Errorf("%.20q: a line of %d columns: %s", text, n, l)
			}
		}
	}
}

func TestPaint(t *testing.T) {
	if got := paint(true).bold("x"); got != "\x1b[1mx\x1b[0m" {
		t.Errorf("bold: %q", got)
	}
	if got := paint(false).red("x"); got != "x" {
		t.Errorf("not coloured: %q", got)
	}
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, like a terminal
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	t.Setenv("NO_COLOR", "")
	if !paintFor(device) || paintFor(file) || paintFor(newConsole()) {
		t.Error("colours belong on terminals alone")
	}
	t.Setenv("NO_COLOR", "1")
	if paintFor(device) {
		t.Error("NO_COLOR has no effect")
	}
}
