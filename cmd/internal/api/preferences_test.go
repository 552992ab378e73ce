package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const configPath = "/v2/notifications/config.json"

func TestConfigNamesWhatIsWrong(t *testing.T) {
	w := newWorld(t, nil)
	register(t, w, devices.Android, "A")
	for form, fields := range map[string][]string{
		"":                                  {"config"},
		"reg_id=A":                          {"config"},
		"reg_id=A&config[unheard_of]=0":     {"config"},
		"reg_id=A&config=0":                 {"config"},
		"config[promo]=0":                   {"reg_id"},
		"reg_id=A&token=A&config[promo]=0":  {"token"},
		"reg_id=a/b&config[promo]=0":        {"reg_id"},
		"token=a:b&config[promo]=0":         {"token"},
		"reg_id=A&config[promo]=2":          {"config[promo]"},
		"reg_id=A&config[private]=":         {"config[private]"},
		"reg_id=A&config[nego]=x&quiet=1":   {"config[nego]", "quiet"},
		"quiet=0&quiet[from]=22:00":         {"quiet"},
		"quiet[from]=22:00":                 {"quiet[to]"},
		"quiet[to]=07:00":                   {"quiet[from]"},
		"quiet[from]=24:00&quiet[to]=x":     {"quiet[from]", "quiet[to]"},
		"quiet[from]=22:00&quiet[to]=22:00": {"quiet[to]"},
		"quiet[timezone]=Mars/Olympus":      {"quiet[timezone]"},
	} {
		got := w.fails(w.basic(ani, "PATCH", configPath, form), 422, invalid, fields...)
		if got.Message != "Gagal memperbarui konfigurasi" {
			t.Errorf("%s: %q", form, got.Message)
		}
	}
	w.fails(w.bearer(shop, "PATCH", configPath, ""), 401, unauthorized)
	body := call{method: "PATCH", path: configPath, auth: ani, media: typeJSON, body: `{"reg_id":"A","config":{"promo":{}}}`}
	w.fails(w.do(body), 422, invalid, "config[promo]")
	body.body = `{`
	w.fails(w.do(body), 400, malformed, "body")
	w.fails(w.get(configPath+"?reg_id=A&token=A"), 422, invalid, "token")
	w.fails(w.get(configPath+"?token=a:b"), 422, invalid, "token")
	w.fails(w.bearer(directory, "PUT", "/v2/users/66.json", `{"quiet":{"from":"x","to":"07:00"}}`), 422, invalid, "quiet[from]")
	if got := w.must(w.get(configPath+"?reg_id=A"), 200).body; strings.Contains(got, `"promo":"0"`) || strings.Contains(got, `"quiet":{`) {
		t.Errorf("something was changed: %s", got)
	}
}

// The message about a change is in the language of the request, else of the user.
func TestConfigSpeaksTheLanguageOfTheRequest(t *testing.T) {
	w := newWorld(t, nil)
	register(t, w, devices.Android, "A")
	say := func(language, form string) string {
		c := call{method: "PATCH", path: configPath, auth: ani, media: typeForm, body: form}
		if language != "" {
			c.header = map[string]string{"Accept-Language": language}
		}
		return w.do(c).envelope(t).Message
	}
	for _, c := range []struct{ user, language, done, failed string }{
		{"id", "", "Konfigurasi diperbarui", "Gagal memperbarui konfigurasi"},
		{"id", "en-GB,en;q=0.9", "Configuration Updated", "Failed Updating Configuration"},
		{"en", "", "Configuration Updated", "Failed Updating Configuration"},
		{"en", "id", "Konfigurasi diperbarui", "Gagal memperbarui konfigurasi"},
	} {
		w.must(w.bearer(directory, "PUT", "/v2/users/66.json", fmt.Sprintf(`{"locale":%q}`, c.user)), 200)
		if got := say(c.language, "reg_id=A&config[promo]=0"); got != c.done {
			t.Errorf("%+v: %q", c, got)
		}
		if got := say(c.language, "reg_id=A&config[promo]=x"); got != c.failed {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// The preferences that apps set decide what is sent to FCM and APNs.
func TestPreferencesOnTheWayToPhones(t *testing.T) {
	box, err := sandbox.Start(sandbox.Options{History: 100})
	check(t, err)
	t.Cleanup(func() { check(t, box.Close()) })
	w := newWorld(t, sendersTo(t, box))
	w.at(sampleTime) // shortly after one in the afternoon
	for _, token := range []string{"open", "choosy"} {
		register(t, w, devices.Android, token)
		register(t, w, devices.IOS, token)
	}
	for _, parameter := range []string{"reg_id", "token"} {
		w.must(w.basic(ani, "PATCH", configPath, parameter+"=choosy&config[private]=1&config[report]=0"), 200)
	}
	w.run()
	event := func(typ string) string {
		return fmt.Sprintf(`{"id":%q,"type":%[1]q,"receiver_id":66,"title":null,"message":"Rp25.000 dari Liem","details":{"id":1}}`, typ)
	}
	w.must(w.publish(event("report")), 202)
	awaitPush(t, w, "report", "done")
	w.must(w.publish(event("dompet")), 202)
	awaitPush(t, w, "dompet", "done")

	w.must(w.basic(ani, "PATCH", configPath, "quiet[from]=15:00&quiet[to]=16:00&quiet[timezone]=WIT"), 200)
	w.must(w.publish(event("discount")), 202)
	awaitPush(t, w, "discount", "quiet") // in Eastern Indonesia it is after 15:00
	if list := w.must(w.get(listPath+"?type[]=discount&type[]=dompet&type[]=report"), 200); strings.Count(list.body, "Rp25.000") != 3 {
		t.Errorf("list %s", list.body)
	}
	w.at("2016-01-11T14:00:00+07:00")
	dueNow(t, w)
	awaitPush(t, w, "discount", "done")

	const open, hidden = "Rp25.000 dari Liem", "Ada pembaruan dompet"
	got := make(map[string][]string)
	for _, p := range box.Pushes() {
		name := p.Platform + " " + p.Token
		got[name] = append(got[name], shown(t, p))
	}
	for name, want := range map[string][]string{
		sandbox.PlatformFCM + " open": {open, open, open}, sandbox.PlatformAPNs + " open": {open, open, open},
		sandbox.PlatformFCM + " choosy": {hidden, open}, sandbox.PlatformAPNs + " choosy": {hidden, open},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s was shown %q, want %q", name, got[name], want)
		}
	}
}

// A push that is delayed to the end of quiet hours is sent once the user or a service
// removes or moves the quiet hours.
func TestChangedQuietHoursReleasePushes(t *testing.T) {
	box, err := sandbox.Start(sandbox.Options{History: 100})
	check(t, err)
	t.Cleanup(func() { check(t, box.Close()) })
	w := newWorld(t, sendersTo(t, box))
	w.at(sampleTime)
	register(t, w, devices.Android, "A")
	w.run()
	for i, change := range []func(){
		func() { w.must(w.basic(ani, "PATCH", configPath, "quiet=0"), 200) },
		func() { w.must(w.basic(ani, "PATCH", configPath, "quiet[from]=20:00&quiet[to]=21:00"), 200) },
		func() { w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"quiet":0}`), 200) },
	} {
		w.must(w.basic(ani, "PATCH", configPath, "quiet[from]=12:00&quiet[to]=16:00&quiet[timezone]=WIB"), 200)
		promotion := fmt.Sprintf("promotion-%d", i)
		w.must(w.publish(fmt.Sprintf(`{"id":%q,"type":"discount","receiver_id":66,"title":null,"message":"m","details":{"id":1}}`, promotion)), 202)
		awaitPush(t, w, promotion, "quiet")
		change()
		awaitPush(t, w, promotion, "done")
	}
}

// awaitPush waits until an event's push has the given state.
func awaitPush(t *testing.T, w *world, event, push string) {
	t.Helper()
	var last string
	err := poll(func() bool {
		last = w.bearer(shop, "GET", "/v2/events/"+event+".json", "").body
		return strings.Contains(last, fmt.Sprintf(`"push":%q`, push))
	})
	if err != nil {
		t.Fatalf("%s: %v: %s", event, err, last)
	}
}

// dueNow makes all delayed pushes due.
func dueNow(t *testing.T, w *world) {
	t.Helper()
	ctx := context.Background()
	keys, err := w.redis.Keys(ctx, w.prefix+"*delayed*").Result()
	check(t, err)
	if len(keys) == 0 {
		t.Fatal("nothing is delayed")
	}
	for _, key := range keys {
		for _, entry := range w.redis.ZRange(ctx, key, 0, -1).Val() {
			check(t, w.redis.ZAdd(ctx, key, redis.Z{Score: float64(time.Unix(1, 0).UnixMilli()), Member: entry}).Err())
		}
	}
}

// shown returns the text that a phone shows for a push. It checks that data has the same
// message, and that private is set when the message is concealed. The details are not
// checked.
func shown(t *testing.T, p sandbox.Push) string {
	t.Helper()
	var body struct {
		Android struct{ Notification struct{ Body string } }
		Aps     struct{ Alert struct{ Body string } }
		Data    struct {
			Message string
			Private any // FCM sends a string, APNs a boolean
		}
	}
	check(t, json.Unmarshal(p.Body, &body))
	text := body.Aps.Alert.Body
	if p.Platform == sandbox.PlatformFCM {
		text = body.Android.Notification.Body
	}
	message, private := body.Data.Message, fmt.Sprint(body.Data.Private) == "true"
	if message != text || private == strings.Contains(text, "Rp") {
		t.Errorf("%s shows %q, data says %q, private %t", p.Platform, text, message, private)
	}
	return text
}
