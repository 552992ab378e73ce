package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/inbox"
)

// TestBroadcastAudience checks which users, and which of their devices, belong to an
// audience.
func TestBroadcastAudience(t *testing.T) {
	t.Parallel()
	ctx, w := context.Background(), newWorld(t)
	device := func(user int64, platform devices.Platform, version string) {
		t.Helper()
		token := fmt.Sprintf("%s%d", platform, user)
		if _, err := w.opts.Devices.Register(ctx, user, devices.Device{Platform: platform, Token: token, AppVersion: version}, nil); err != nil {
			t.Fatal(err)
		}
	}
	device(1, devices.Android, "1.2")
	device(2, devices.IOS, "1.10.1 (77)")
	device(3, devices.Android, "")
	device(3, devices.IOS, "2.0")
	english := "en"
	for user, p := range map[int64]inbox.Profile{4: {}, 5: {Locale: &english}} {
		if err := w.opts.Inbox.Profiles.Set(ctx, user, p); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	cases := []struct {
		audience string
		users    []int64
		pushes   []string
	}{
		{`"all"`, []int64{1, 2, 3, 4, 5}, []string{"android1", "android3", "ios2", "ios3"}},
		{`{"platform":"android"}`, []int64{1, 3}, []string{"android1", "android3"}},
		{`{"app_version":{"min":"1.3"}}`, []int64{2, 3}, []string{"ios2", "ios3"}},
		{`{"app_version":{"max":"1.10"}}`, []int64{1}, []string{"android1"}},
		{`{"app_version":{"min":"1.2.0","max":"1.99"}}`, []int64{1, 2}, []string{"android1", "ios2"}},
		{`{"platform":"ios","app_version":{"max":"1.99"}}`, []int64{2}, []string{"ios2"}},
		{`{"locale":"en"}`, []int64{5}, nil},
		{`{"locale":"id","platform":"ios"}`, []int64{2, 3}, []string{"ios2", "ios3"}},
		{`{"user_ids":[3,"4",4,77]}`, []int64{3, 4, 77}, []string{"android3", "ios3"}},
		{`{"user_ids":[1,2,3],"platform":"ios"}`, []int64{2, 3}, []string{"ios2", "ios3"}},
	}
	for i, c := range cases {
		sent := len(w.android.wait(t, "", count(0))) + len(w.ios.wait(t, "", count(0)))
		had := make(map[int64]int)
		everyone := []int64{1, 2, 3, 4, 5, 77}
		for _, user := range everyone {
			had[user] = w.notes(user)
		}
		id := fmt.Sprint("cast", i)
		w.start(fmt.Sprintf(`{"id":%q,"type":"campaign","message":%q,"audience":%s}`, id, id, c.audience))
		s := w.becomes(id, broadcast.Done)
		s = w.reaches(id, "pushes of "+c.audience, func(s broadcast.Status) bool { return s.Pushed == int64(len(c.pushes)) })
		w.settled()
		var told []int64
		for _, user := range everyone {
			if w.notes(user) == had[user]+1 {
				told = append(told, user)
			}
		}
		var pushes []string
		for _, push := range slices.Concat(w.android.wait(t, "", count(0)), w.ios.wait(t, "", count(0))) {
			if push.Body == id {
				pushes = append(pushes, push.Token)
			}
		}
		slices.Sort(pushes)
		if !slices.Equal(told, c.users) || !slices.Equal(pushes, c.pushes) {
			t.Errorf("%s: told %v, want %v; pushed to %v, want %v", c.audience, told, c.users, pushes, c.pushes)
		}
		if s.Sent != int64(len(c.users)) || s.Walked != s.Total || s.Skipped != s.Total-s.Sent {
			t.Errorf("%s: %+v", c.audience, s)
		}
		if got := len(w.android.wait(t, "", count(0))) + len(w.ios.wait(t, "", count(0))) - sent; got != len(c.pushes) {
			t.Errorf("%s: %d pushes, want %d", c.audience, got, len(c.pushes))
		}
	}
}
