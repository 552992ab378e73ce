package fcm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Each member of a presentation, as FCM gets it in either style.
func TestPresentation(t *testing.T) {
	t.Parallel()
	const texts = `"title":"Nego","body":"Anda mendapatkan tawaran nego dari Me Ow","tag":"nego:51588"`
	for name, test := range map[string]struct {
		p            push.Presentation
		notification string // of android, or of the data
		android      string // beside it
		options      string
	}{
		"nothing":   {push.Presentation{}, `{` + texts + `}`, ``, `null`},
		"image":     {push.Presentation{Image: "https://i.example/a.png"}, `{` + texts + `,"image":"https://i.example/a.png"}`, ``, `null`},
		"link":      {push.Presentation{Link: "shop://x"}, `{` + texts + `}`, ``, `null`}, // the data has it
		"sound":     {push.Presentation{Sound: "chime.caf"}, `{"title":"Nego","body":"Anda mendapatkan tawaran nego dari Me Ow","sound":"chime","tag":"nego:51588"}`, ``, `null`},
		"silence":   {push.Presentation{Sound: push.SoundNone}, `{` + texts + `}`, ``, `null`},
		"the usual": {push.Presentation{Sound: push.SoundDefault}, `{"title":"Nego","body":"Anda mendapatkan tawaran nego dari Me Ow","sound":"default","tag":"nego:51588"}`, ``, `null`},
		"label":     {push.Presentation{Label: "spring"}, `{` + texts + `}`, ``, `{"analytics_label":"spring"}`},
		"channel":   {push.Presentation{Android: push.Android{Channel: "money"}}, `{` + texts + `,"channel_id":"money"}`, ``, `null`},
		"visible":   {push.Presentation{Android: push.Android{Visibility: "PUBLIC"}}, `{"visibility":"PUBLIC",` + texts + `}`, ``, `null`},
		"private":   {push.Presentation{Android: push.Android{Visibility: "PRIVATE"}}, `{"visibility":"PRIVATE",` + texts + `}`, ``, `null`},
		"secret":    {push.Presentation{Android: push.Android{Visibility: "SECRET"}}, `{"visibility":"SECRET",` + texts + `}`, ``, `null`},
		"min":       {push.Presentation{Android: push.Android{Priority: "PRIORITY_MIN"}}, `{"notification_priority":"PRIORITY_MIN",` + texts + `}`, ``, `null`},
		"low":       {push.Presentation{Android: push.Android{Priority: "PRIORITY_LOW"}}, `{"notification_priority":"PRIORITY_LOW",` + texts + `}`, ``, `null`},
		"middle":    {push.Presentation{Android: push.Android{Priority: "PRIORITY_DEFAULT"}}, `{"notification_priority":"PRIORITY_DEFAULT",` + texts + `}`, ``, `null`},
		"high":      {push.Presentation{Android: push.Android{Priority: "PRIORITY_HIGH"}}, `{"notification_priority":"PRIORITY_HIGH",` + texts + `}`, ``, `null`},
		"max":       {push.Presentation{Android: push.Android{Priority: "PRIORITY_MAX"}}, `{"notification_priority":"PRIORITY_MAX",` + texts + `}`, ``, `null`},
		"locked":    {push.Presentation{Android: push.Android{DirectBootOK: true}}, `{` + texts + `}`, `,"direct_boot_ok":true`, `null`},
		"of iPhones": {push.Presentation{APNs: push.APNs{
			InterruptionLevel: "active", RelevanceScore: 1, Category: "c", Subtitle: "s", TargetContentID: "t",
		}}, `{` + texts + `}`, ``, `null`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, lane := range push.Lanes {
				priority := "high"
				if lane == push.Bulk {
					priority = "normal"
				}
				d := delivery()
				d.Presentation, d.Lane = test.p, lane
				m := message(d, now)
				golden(t, m.Android, `{"ttl":"3600s","priority":"`+priority+`","notification":`+test.notification+test.android+`}`)
				golden(t, m.FCMOptions, test.options)
				if _, ok := m.Data[fieldNotification]; ok {
					t.Error("the data repeats the notification")
				}

				d.DataOnly = true
				m = message(d, now)
				golden(t, m.Android, `{"ttl":"3600s","priority":"`+priority+`"`+test.android+`}`)
				golden(t, m.FCMOptions, test.options)
				if got := m.Data[fieldNotification]; got != test.notification {
					t.Errorf("the data has\n%s, want\n%s", got, test.notification)
				}
			}
		})
	}
}

// golden compares the JSON of a value.
func golden(t *testing.T, value any, want string) {
	t.Helper()
	got, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A silent push shows nothing in either style, and is not hurried.
func TestSilentPresentation(t *testing.T) {
	t.Parallel()
	d := delivery()
	d.Title, d.Body, d.DataOnly = "", "", true
	d.Presentation = push.Presentation{Image: "https://i.example", Sound: "chime", Android: push.Android{Channel: "money"}}
	m := message(d, now)
	golden(t, m.Android, `{"ttl":"3600s","priority":"normal"}`)
	if _, ok := m.Data[fieldNotification]; ok {
		t.Errorf("it shows %s", m.Data[fieldNotification])
	}
}

// What is in the data alone is counted, too, and the presentation outlasts long details and
// texts.
func TestPresentationFits(t *testing.T) {
	t.Parallel()
	image, link := "https://i.example/?"+strings.Repeat("&", 400), "shop://"+strings.Repeat("x", 300)
	for _, dataOnly := range []bool{false, true} {
		for _, n := range []int{100, 3000, 60000} {
			d := delivery()
			long := strings.Repeat("kabar <b>&</b> ", n/15+1)
			quoted, _ := json.Marshal(long)
			d.Body, d.DataOnly = long, dataOnly
			d.Data[2].Value = quoted
			d.Data = append(d.Data,
				push.Field{Name: push.FieldImage, Value: json.RawMessage(`"` + image + `"`)},
				push.Field{Name: push.FieldLink, Value: json.RawMessage(`"` + link + `"`)})
			d.Presentation = push.Presentation{Image: image, Link: link, Sound: "chime", Android: push.Android{Channel: "money"}}
			m := message(d, now)
			size := 0
			for k, v := range m.Data {
				size += len(k) + len(v)
			}
			shown := m.Android.Notification
			if dataOnly {
				if err := json.Unmarshal([]byte(m.Data[fieldNotification]), &shown); err != nil {
					t.Fatal(err)
				}
			} else {
				size += len(shown.Title) + len(shown.Body) + len(shown.Tag) + len(shown.ChannelID) + len(shown.ImageURL) + len(shown.Sound)
			}
			if size > maxPayload {
				t.Errorf("data alone %t, %d bytes of text: %d bytes", dataOnly, n, size)
			}
			if m.Data[push.FieldLink] != link || m.Data[push.FieldImage] != image || shown.ImageURL != image || shown.Sound != "chime" || len(shown.Body) < 100 {
				t.Errorf("data alone %t, %d bytes of text: %d bytes of text are left of %+v", dataOnly, n, len(shown.Body), shown)
			}
		}
	}
}
