package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
)

const receiptsPath = "/v2/notifications/receipts.json"

func (w *world) says(auth, body string) answer {
	w.t.Helper()
	return w.do(call{method: "POST", path: receiptsPath, auth: auth, media: typeJSON, body: body})
}

// An app's receipts show in what became of the event, and what was opened is read.
func TestReceipts(t *testing.T) {
	w := newWorld(t, nil)
	register(t, w, devices.Android, "A")
	register(t, w, devices.IOS, "B")
	w.must(w.publish(`{"id":"p","type":"discount","receiver_id":66,"message":"m"}`), 202)
	id := w.must(w.get("/v2/notifications/list.json"), 200).envelope(t).Data[0].ID
	one := func(event string) string { return fmt.Sprintf(`{"notification_id":%q,"event":%q}`, id, event) }
	w.must(w.says(ani, `{"reg_id":"A","receipts":[`+one("delivered")+`,{"notification_id":"52e0b6d31a2b3c4d5e6f7081","event":"opened","at":null}]}`), 200)
	if n := w.must(w.get("/v2/notifications/unreads.json"), 200).body; !strings.Contains(n, `"unread_notifications":1`) {
		t.Error(n)
	}
	for range 2 {
		a := w.must(w.says(ani, `{"token":"B","receipts":[`+one("opened")+`]}`), 200)
		if a.body != `{"status":"OK","message":null}` {
			t.Error(a.body)
		}
	}
	w.must(w.do(call{method: "POST", path: receiptsPath + "?reg_id=A", auth: ani, body: `{"receipts":[` + one("dismissed") + `]}`}), 200)
	w.must(w.says(ani, `{"receipts":[`+one("opened")+`]}`), 200)
	w.must(w.says(budi, `{"receipts":[`+one("delivered")+`]}`), 200) // silently: it is not theirs
	if n := w.must(w.get("/v2/notifications/unreads.json"), 200).body; !strings.Contains(n, `"unread_notifications":0`) {
		t.Error(n)
	}
	var got struct {
		Receivers []struct {
			Receipts []struct {
				Device    *string
				Event, At string
			}
		}
	}
	a := w.must(w.bearer(shop, "GET", "/v2/events/p.json", ""), 200)
	check(t, json.Unmarshal([]byte(a.body), &got))
	all, err := w.options.Devices.Find(t.Context(), 66, devices.Android, "A")
	check(t, err)
	rs := got.Receivers[0].Receipts
	if len(rs) != 4 || *rs[0].Device != all.ID || rs[0].Event != "delivered" || rs[1].Event != "opened" || *rs[1].Device == all.ID ||
		rs[2].Event != "dismissed" || rs[3].Event != "opened" || rs[3].Device != nil || !strings.HasSuffix(rs[0].At, "+07:00") {
		t.Errorf("%s", a.body)
	}
}

func TestReceiptsNameWhatIsWrong(t *testing.T) {
	w := newWorld(t, nil)
	register(t, w, devices.Android, "A")
	const id = "52e0b6d31a2b3c4d5e6f7081"
	one := `{"notification_id":"` + id + `","event":"opened"}`
	many := strings.TrimSuffix(strings.Repeat(one+",", 101), ",")
	for body, fields := range map[string][]string{
		``:                               {"receipts"},
		`{"receipts":[]}`:                {"receipts"},
		`{"receipts":` + one + `}`:       {"receipts"},
		`{"receipts":[` + many + `]}`:    {"receipts"},
		`{"receipts":["x",` + one + `]}`: {"receipts[0]"},
		`{"receipts":[` + one + `,{}]}`:  {"receipts[1].notification_id", "receipts[1].event"},
		`{"receipts":[{"notification_id":5,"event":["opened"],"at":7}]}`:                           {"receipts[0].notification_id", "receipts[0].event", "receipts[0].at"},
		`{"receipts":[{"notification_id":"` + id + `","event":"seen","at":"yesterday"}]}`:          {"receipts[0].event", "receipts[0].at"},
		`{"receipts":[{"notification_id":"` + strings.ToUpper(id) + `","event":"dismissed"}]}`:     {"receipts[0].notification_id"},
		`{"reg_id":"A","token":"A","receipts":[` + one + `]}`:                                      {"token"},
		`{"reg_id":"a/b","receipts":[` + one + `]}`:                                                {"reg_id"},
		`{"token":"a:b","receipts":[{"notification_id":"` + id + `","event":"opened","more":{}}]}`: {"token"},
	} {
		w.fails(w.says(ani, body), 422, invalid, fields...)
	}
	w.fails(w.says(ani, `{"reg_id":"nobodys","receipts":[`+one+`]}`), 404, notFound)
	w.fails(w.says(budi, `{"reg_id":"A","receipts":[`+one+`]}`), 403, forbidden)
	w.fails(w.says(ani, `{`), 400, malformed, "body")
	w.fails(w.basic(ani, "POST", receiptsPath, "receipts[0][event]=opened"), 422, invalid, "receipts")
	w.fails(w.bearer(shop, "POST", receiptsPath, `{}`), 401, unauthorized)
}
