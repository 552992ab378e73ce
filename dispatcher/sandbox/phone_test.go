package sandbox_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

func toAndroid(body string) sandbox.Push {
	return sandbox.Push{Platform: sandbox.PlatformFCM, Body: []byte(body), Answer: http.StatusOK}
}

func toIPhone(body string) sandbox.Push {
	return sandbox.Push{
		Platform: sandbox.PlatformAPNs, Body: []byte(body), Answer: http.StatusOK,
		Header: http.Header{"Apns-Collapse-Id": {"t"}},
	}
}

// throughFCM returns the push that FCM passes on to an iPhone.
func throughFCM(payload string) sandbox.Push {
	return toAndroid(`{"token":"a:b","apns":{"headers":{"apns-collapse-id":"t"},"payload":` + payload + `}}`)
}

func TestShown(t *testing.T) {
	t.Parallel()
	const notification = `{"title":"T","body":"B","tag":"t","image":"https://i","sound":"s","channel_id":"c"}`
	android := sandbox.Shown{Title: "T", Body: "B", Tag: "t", Image: "https://i", Sound: "s", Channel: "c", Link: "l"}
	byApp := android
	byApp.ByApp = true
	for name, c := range map[string]struct {
		push sandbox.Push
		want sandbox.Shown
	}{
		"drawn by the system": {toAndroid(`{"data":{"link":"l"},"android":{"notification":` + notification + `}}`), android},
		"drawn by the app": {
			toAndroid(`{"data":{"link":"l","notification":"{\"title\":\"T\",\"body\":\"B\",\"tag\":\"t\",\"image\":\"https://i\",\"sound\":\"s\",\"channel_id\":\"c\"}"}}`),
			byApp,
		},
		"both":               {toAndroid(`{"data":{"link":"l","notification":"{}"},"android":{"notification":` + notification + `}}`), android},
		"data alone":         {toAndroid(`{"data":{"type":"reminder"}}`), sandbox.Shown{}},
		"no JSON in data":    {toAndroid(`{"data":{"notification":"x"}}`), sandbox.Shown{}},
		"null in data":       {toAndroid(`{"data":{"notification":"null"}}`), sandbox.Shown{}},
		"nothing at all":     {toAndroid(``), sandbox.Shown{}},
		"iPhone":             {toIPhone(`{"aps":{"alert":{"title":"T","subtitle":"S","body":"B"},"sound":"s","category":"c","interruption-level":"active","mutable-content":1},"data":{"image":"https://i","link":"l"}}`), sandbox.Shown{Title: "T", Subtitle: "S", Body: "B", Tag: "t", Sound: "s", Category: "c", Level: "active", Image: "https://i", Link: "l"}},
		"without extension":  {toIPhone(`{"aps":{"alert":{"body":"B"}},"data":{"image":"https://i"}}`), sandbox.Shown{Body: "B", Tag: "t"}},
		"iPhone through FCM": {throughFCM(`{"aps":{"alert":{"body":"B"}},"data":{"notification_id":"1"}}`), sandbox.Shown{ID: "1", Body: "B", Tag: "t"}},
		"browser": {
			sandbox.Push{Platform: sandbox.PlatformWeb, Answer: http.StatusCreated, Body: []byte(`{"title":"T","body":"B","tag":"t","badge":1,"data":{"image":"https://i","link":"l"}}`)},
			sandbox.Shown{Title: "T", Body: "B", Tag: "t", Image: "https://i", Link: "l"},
		},
		"background": {toIPhone(`{"aps":{"content-available":1}}`), sandbox.Shown{}},
	} {
		got, ok := c.push.Shown()
		if ok != (c.want != sandbox.Shown{}) {
			t.Errorf("%s: shown %t", name, ok)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A push takes the place of one with the same tag, and one that was refused or is silent
// shows nothing.
func TestPhone(t *testing.T) {
	t.Parallel()
	var phone sandbox.Phone
	refused := toAndroid(`{"android":{"notification":{"body":"refused","tag":"a"}}}`)
	refused.Answer, refused.Reason = http.StatusNotFound, "UNREGISTERED"
	for _, p := range []sandbox.Push{
		toAndroid(`{"android":{"notification":{"body":"1","tag":"a"}}}`),
		toAndroid(`{"android":{"notification":{"body":"2","tag":"b"}}}`),
		toAndroid(`{"android":{"notification":{"body":"3"}}}`),
		toAndroid(`{"data":{"type":"reminder"}}`),
		refused,
		toAndroid(`{"data":{"notification":"{\"body\":\"4\",\"tag\":\"a\"}"}}`),
		toAndroid(`{"android":{"notification":{"body":"5"}}}`),
	} {
		phone.Play(&p)
	}
	var bodies []string
	for _, s := range phone.Shade() {
		bodies = append(bodies, s.Body)
	}
	if diff := cmp.Diff([]string{"2", "3", "4", "5"}, bodies); diff != "" {
		t.Error(diff)
	}
}
