package api

import (
	"image/png"
	"net/http"
	"strings"
	"testing"
)

// Where an avatar is not set, answers name a picture that everybody can load.
func TestAvatarsThatAreNotSet(t *testing.T) {
	w := newWorld(t, nil)
	w.say(budi, "66", "halo")
	w.must(w.publish(`{"transaction":{"id":1,"state":"paid","seller":{"id":66},"buyer":{"id":67,"name":"Budi"}}}`), 202)
	address := w.server.URL + "/v2/default_avatar.png"
	for path, members := range map[string][]string{
		messagesPath:                             {"partner_avatar"},
		"/v2/messages/" + anisAndBudis + ".json": {"receiver_avatar", "sender_avatar"},
		"/v2/users/contact_list.json":            {"partner_avatar_url"},
	} {
		got := w.must(w.get(path), 200)
		for _, member := range members {
			if want := `"` + member + `":"` + address + `"`; !strings.Contains(got.body, want) {
				t.Errorf("%s: %s lacks %s", path, got.body, want)
			}
		}
	}
	r, err := http.Get(address)
	check(t, err)
	defer r.Body.Close()
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "image/png" || r.Header.Get("ETag") == "" {
		t.Errorf("%s %v", r.Status, r.Header)
	}
	picture, err := png.Decode(r.Body)
	check(t, err)
	if size := picture.Bounds().Size(); size.X != size.Y || size.X < 100 {
		t.Errorf("a picture of %v", size)
	}
	again, err := http.NewRequest("GET", address, nil)
	check(t, err)
	again.Header.Set("If-None-Match", r.Header.Get("ETag"))
	unchanged, err := http.DefaultClient.Do(again)
	check(t, err)
	unchanged.Body.Close()
	if unchanged.StatusCode != 304 {
		t.Errorf("the same again: %s", unchanged.Status)
	}
}
