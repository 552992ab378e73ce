package apns

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Each member of a presentation, as APNs gets it.
func TestPresentation(t *testing.T) {
	t.Parallel()
	const (
		alert = `"alert":{"title":"Nego","body":"Anda"},`
		rest  = `"badge":7,"thread-id":"nego"`
		sound = `"sound":"default",`
	)
	for name, test := range map[string]struct {
		p    push.Presentation
		want string
	}{
		"nothing":     {push.Presentation{}, alert + sound + rest},
		"image":       {push.Presentation{Image: "https://i.example/a.png"}, alert + sound + rest + `,"mutable-content":1`},
		"link":        {push.Presentation{Link: "shop://x"}, alert + sound + rest}, // the data has it
		"sound":       {push.Presentation{Sound: "chime.caf"}, alert + `"sound":"chime.caf",` + rest},
		"silence":     {push.Presentation{Sound: push.SoundNone}, alert + rest},
		"the usual":   {push.Presentation{Sound: push.SoundDefault}, alert + sound + rest},
		"label":       {push.Presentation{Label: "spring"}, alert + sound + rest},
		"category":    {push.Presentation{APNs: push.APNs{Category: "OPEN"}}, alert + sound + rest + `,"category":"OPEN"`},
		"level":       {push.Presentation{APNs: push.APNs{InterruptionLevel: "time-sensitive"}}, alert + sound + rest + `,"interruption-level":"time-sensitive"`},
		"score":       {push.Presentation{APNs: push.APNs{RelevanceScore: 0.25}}, alert + sound + rest + `,"relevance-score":0.25`},
		"subtitle":    {push.Presentation{APNs: push.APNs{Subtitle: `"s"`}}, `"alert":{"title":"Nego","subtitle":"\"s\"","body":"Anda"},` + sound + rest},
		"target":      {push.Presentation{APNs: push.APNs{TargetContentID: "t"}}, alert + sound + rest + `,"target-content-id":"t"`},
		"of Androids": {push.Presentation{Android: push.Android{Channel: "c", Visibility: "PUBLIC", Priority: "PRIORITY_MAX", DirectBootOK: true}}, alert + sound + rest},
		"all of them": {
			push.Presentation{Image: "https://i.example", Sound: "chime", APNs: push.APNs{
				InterruptionLevel: "critical", RelevanceScore: 1, Category: "c", Subtitle: "s", TargetContentID: "t",
			}},
			`"alert":{"title":"Nego","subtitle":"s","body":"Anda"},"sound":"chime",` + rest +
				`,"category":"c","interruption-level":"critical","relevance-score":1,"target-content-id":"t","mutable-content":1`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := delivery()
			d.Body, d.Data, d.Presentation = "Anda", nil, test.p
			for _, lane := range push.Lanes {
				d.Lane = lane
				want := `{"aps":{` + test.want + `},"data":{}}`
				if got := string(payload(d)); got != want || !json.Valid([]byte(got)) {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
			d.Title, d.Body = "", ""
			if got, want := string(payload(d)), `{"aps":{"content-available":1,"thread-id":"nego"},"data":{}}`; got != want {
				t.Errorf("silent: got %s\nwant %s", got, want)
			}
		})
	}
}

// The presentation outlasts long details and texts, and goes before a text disappears.
func TestPresentationFits(t *testing.T) {
	t.Parallel()
	for filler, kept := range map[string]bool{"x": true, "&": false} {
		image, link := "https://i.example/"+strings.Repeat(filler, 900), "shop://"+strings.Repeat(filler, 900)
		long := strings.Repeat("kabar ", 1000)
		quoted, _ := json.Marshal(long)
		d := delivery()
		d.Body, d.Data[2].Value = long, quoted
		d.Data[3].Value = json.RawMessage(`{"id":1,"text":` + string(quoted) + `}`)
		d.Data = append(d.Data,
			push.Field{Name: push.FieldImage, Value: json.RawMessage(`"` + image + `"`)},
			push.Field{Name: push.FieldLink, Value: json.RawMessage(`"` + link + `"`)})
		d.Presentation = push.Presentation{Image: image, Link: link, APNs: push.APNs{Subtitle: "s", InterruptionLevel: "active"}}
		p := payload(d)
		if n := wireSize(p); n > maxPayload {
			t.Errorf("%d bytes", n)
		}
		var got struct {
			APS struct {
				Alert   struct{ Subtitle, Body string }
				Level   string `json:"interruption-level"`
				Mutable int    `json:"mutable-content"`
			}
			Data struct{ Image, Link string }
		}
		if err := json.Unmarshal(p, &got); err != nil {
			t.Fatal(err)
		}
		whole := got.Data.Image == image && got.Data.Link == link && got.APS.Mutable == 1 && got.APS.Alert.Subtitle == "s"
		none := got.Data.Image == "" && got.Data.Link == "" && got.APS.Mutable == 0
		if kept && !whole || !kept && !none || got.APS.Level != "active" || len(got.APS.Alert.Body) < 100 {
			t.Errorf("%s: %s", filler, p)
		}
	}
}

// A push that also says what was read elsewhere wakes the app's service extension.
func TestReadWakesTheExtension(t *testing.T) {
	d := delivery()
	d.Data = []push.Field{{Name: push.FieldRead, Value: []byte(`[{"id":"n","tag":"t","at":1}]`)}}
	if got := string(payload(d)); !strings.Contains(got, `"mutable-content":1`) || !strings.Contains(got, `"data":{"read":[`) {
		t.Errorf("payload %s", got)
	}
}
