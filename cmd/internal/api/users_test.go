package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/inbox/attachments"
)

// profile returns the stored profile of user 66.
func (w *world) profile() map[string]string {
	w.t.Helper()
	keys, err := w.redis.Keys(w.t.Context(), w.prefix+":*:u66:profile").Result()
	check(w.t, err)
	if len(keys) != 1 {
		return nil
	}
	p, err := w.redis.HGetAll(w.t.Context(), keys[0]).Result()
	check(w.t, err)
	delete(p, "known")
	return p
}

func TestSetUser(t *testing.T) {
	w := newWorld(t, nil)
	set := func(body string, want map[string]string) {
		t.Helper()
		got := w.must(w.bearer(directory, "PUT", "/v2/users/66.json", body), 200)
		if got.body != `{"status":"OK","id":"66","message":null}` {
			t.Errorf("answered %s", got.body)
		}
		if diff := cmp.Diff(want, w.profile()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	all := map[string]string{
		"name": "Testing Account", "username": "testingaccount", "avatar": "https://example.com/a.jpg",
		"locale": "en", "timezone": "Asia/Makassar", "admin": "true",
	}
	set(`{"name":"Testing Account","username":"testingaccount","avatar":"https://example.com/a.jpg",
		"locale":"en","timezone":"Asia/Makassar","admin":true}`, all)
	set(``, all)
	set(`{}`, all)
	set(`{"name":null,"unknown":{"a":[]}}`, all)
	all["admin"], all["avatar"] = "false", ""
	set(`{"admin":"false","avatar":""}`, all)
	all["name"], all["username"] = "evil 👩\u200d👧", "می\u200cخواهم"
	set(`{"name":"\u202eevil\u202c \u2067👩\u200d👧\u2069","username":"می\u200cخواهم"}`, all)

	w.must(w.get(unreadsPath), 200) // the token has not changed
	set(`{"token":"an0ther"}`, all)
	w.must(w.get(unreadsPath), 401)
	w.must(w.basic("66:an0ther", "GET", unreadsPath, ""), 200)
	set(`{"token":""}`, all)
	w.must(w.basic("66:an0ther", "GET", unreadsPath, ""), 401)
}

func TestInvalidUser(t *testing.T) {
	w := newWorld(t, nil)
	for body, fields := range map[string][]string{
		`{"name":"` + strings.Repeat("é", maxName+1) + `"}`: {"name"},
		`{"name":"a\u0000"}`:               {"name"},
		`{"username":"a\n"}`:               {"username"},
		`{"name":["a",{}]}`:                {"name"},
		`{"name":" "}`:                     {"name"},
		`{"name":"\u202e\u2066 \u2069"}`:   {"name"},
		`{"username":"\u200d\u3164"}`:      {"username"},
		`{"token":" "}`:                    {"token"},
		`{"token":"\t\u200b\n"}`:           {"token"},
		`{"avatar":"javascript:alert(1)"}`: {"avatar"},
		`{"avatar":"/a.jpg"}`:              {"avatar"},
		`{"avatar":"https://"}`:            {"avatar"},
		`{"avatar":"https://a/` + strings.Repeat("x", maxAvatar) + `"}`: {"avatar"},
		`{"locale":"jv"}`:                 {"locale"},
		`{"locale":""}`:                   {"locale"},
		`{"timezone":"Mars/Olympus"}`:     {"timezone"},
		`{"timezone":"Local"}`:            {"timezone"},
		`{"timezone":""}`:                 {"timezone"},
		`{"timezone":"../../etc/passwd"}`: {"timezone"},
		`{"admin":"yes"}`:                 {"admin"},
		`{"admin":1}`:                     {"admin"},
		`{"name":"Ani","token":"` + strings.Repeat("t", credentials.MaxToken+1) + `"}`: {"token"},
		`{"locale":"x","timezone":"y","token":{}}`:                                     {"locale", "timezone", "token"},
	} {
		w.fails(w.bearer(directory, "PUT", "/v2/users/66.json", body), 422, invalid, fields...)
	}
	if p := w.profile(); len(p) != 0 {
		t.Errorf("stored %v", p)
	}
	w.must(w.get(unreadsPath), 200) // the token has not changed
	for _, id := range []string{"066", "0", "-1", "x", "1.5", "99999999999999999999", "%36%36%20"} {
		w.fails(w.bearer(directory, "PUT", "/v2/users/"+id+".json", "{}"), 422, invalid, "id")
	}
	longest := `{"name":"` + strings.Repeat("é", maxName) + `","token":"` + strings.Repeat("t", credentials.MaxToken) + `"}`
	w.must(w.bearer(directory, "PUT", "/v2/users/%36%36.json", longest), 200)
	w.must(w.do(call{method: "PUT", path: "/v2/users/66.json", auth: "Bearer " + directory, media: typeForm, body: "name=Ani&admin=true"}), 200)
	if p := w.profile(); p["name"] != "Ani" || p["admin"] != "true" {
		t.Errorf("stored %v", p)
	}
}

func TestEraseUser(t *testing.T) {
	w := newWorld(t, nil)
	const path = "/v2/users/66.json"
	w.must(w.bearer(directory, "PUT", path, `{"name":"Ani"}`), 200)
	w.fails(w.bearer(shop2, "DELETE", path, ""), 403, forbidden, "scope")
	w.fails(w.do(call{method: "DELETE", path: path, auth: ani}), 401, unauthorized)
	w.fails(w.bearer(directory, "DELETE", "/v2/users/066.json", ""), 422, invalid, "id")
	w.must(w.get(unreadsPath), 200)
	for range 2 { // the request can be repeated
		got := w.must(w.bearer(directory, "DELETE", path, ""), 200)
		if got.body != `{"status":"OK","id":"66","message":null}` {
			t.Errorf("answered %s", got.body)
		}
	}
	w.must(w.get(unreadsPath), 401)
	if p := w.profile(); p != nil {
		t.Errorf("left is %v", p)
	}
	w.must(w.publish(`{"id":"e","type":"dompet","receiver_id":66,"message":"m"}`), 202)
	if got := w.must(w.bearer(shop, "GET", "/v2/events/e.json", ""), 200); !strings.Contains(got.body, `"push":"erased"`) {
		t.Errorf("status of the event: %s", got.body)
	}
	w.must(w.bearer(directory, "PUT", path, `{"token":"tok3ntok3n"}`), 200)
	if got := w.must(w.get(unreadsPath), 200); !strings.Contains(got.body, `"unread_notifications":0`) {
		t.Errorf("after the user was added again: %s", got.body)
	}

	// While the user is being erased, the service is told to try again later.
	if err := w.inbox.Eraser.Begin(t.Context(), 66, time.Minute); err != nil {
		t.Fatal(err)
	}
	w.fails(w.bearer(directory, "PUT", path, `{}`), 503, unavailable)
}

// A lateUpload is an Eraser that stores one more file right before it erases.
type lateUpload struct {
	Eraser
	upload func(ctx context.Context, user int64)
}

func (d lateUpload) Erase(ctx context.Context, user int64) error {
	d.upload(ctx, user)
	return d.Eraser.Erase(ctx, user)
}

// All files that were stored before the tombstone are erased. Later ones are refused.
func TestEraseUserWhoSendsFiles(t *testing.T) {
	w := newWorld(t, nil)
	var late attachments.Attachment
	w.options.Eraser = lateUpload{w.dispatcher.Janitor, func(ctx context.Context, user int64) {
		var err error
		late, err = w.files.Put(ctx, user, "a.png", strings.NewReader(uploads[".png"]))
		check(t, err)
	}}
	w.options.Metrics = nil // the first server has registered its metrics already
	w.server.Close()
	w.server = httptest.NewServer(New(w.options))
	early := *w.must(w.upload("a.png", uploads[".png"]), 200).uploaded(t).URL
	w.must(w.bearer(directory, "DELETE", "/v2/users/66.json", ""), 200)
	for _, path := range []string{early[strings.Index(early, attachmentsPath):], attachmentsPath + late.Key + "/" + late.Name} {
		w.fails(w.do(call{method: "GET", path: path}), 404, notFound)
	}
	if _, err := w.files.Put(t.Context(), 66, "a.png", strings.NewReader(uploads[".png"])); !errors.Is(err, attachments.ErrErased) {
		t.Errorf("after the erasure: %v", err)
	}
}
