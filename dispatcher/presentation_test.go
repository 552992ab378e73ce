package dispatcher

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// registerStyled registers an Android phone whose app asks for a style.
func (w *world) registerStyled(user int64, token string, style devices.Style) {
	w.t.Helper()
	d := devices.Device{Platform: devices.Android, Token: token, Style: style}
	if _, err := w.opts.Devices.Register(context.Background(), user, d, nil); err != nil {
		w.t.Fatal(err)
	}
}

// shadeOf returns what is on the screen of a phone after everything that was pushed to it.
func shadeOf(box *sandbox.Sandbox, token string) []sandbox.Shown {
	var phone sandbox.Phone
	for _, p := range pushesTo(box, token) {
		phone.Play(&p)
	}
	return phone.Shade()
}

const richEvent = `{"id":"rich","type":"dompet","receiver_id":66,"title":"Dompet","message":"Saldo masuk","details":{"id":"7"},
	"image":"https://img.example/a.png?a=1&b=2","sound":"coins.caf",
	"options":{"android":{"channel_id":"wallet","visibility":"SECRET"},"apns":{"subtitle":"Rp 25.000","category":"OPEN"}}}`

// An event looks the same whoever draws it on Android, and a private phone shows nothing of
// how the service presents it, only what its type and lane always have.
func TestPresentationOnEachPhone(t *testing.T) {
	t.Parallel()
	w, box := newSandboxWorld(t, func(o *Options) {
		o.LinkSchemes = []string{"shop"}
		o.Types = []event.Type{{Name: "dompet", Defaults: event.Defaults{
			Channel: "money", Sound: "till", InterruptionLevel: "time-sensitive", Link: "shop://wallet/{id}",
		}}}
	})
	w.register(66, devices.Android, "drawn-by-system")
	w.registerStyled(66, "drawn-by-app", devices.StyleData)
	w.register(66, devices.IOS, "iPhone")
	w.registerStyled(66, "private-system", "")
	w.registerStyled(66, "private-app", devices.StyleData)
	w.register(66, devices.IOS, "privateiPhone")
	w.prefers(66, devices.Android, "private-system", private)
	w.prefers(66, devices.Android, "private-app", private)
	w.prefers(66, devices.IOS, "privateiPhone", private)
	w.speaks(66, "en")
	w.run()
	w.publish(richEvent)
	w.status("rich", func(s delivery.ReceiverStatus) bool { return s.Push == "done" && len(s.Devices) == 6 })

	first := shadeOf(box, "drawn-by-system")[0]
	id, tag := first.ID, first.Tag
	android := sandbox.Shown{
		ID:    id,
		Title: "Dompet", Body: "Saldo masuk", Tag: tag, Image: "https://img.example/a.png?a=1&b=2", Link: "shop://wallet/7",
		Sound: "coins", Channel: "wallet",
	}
	iPhone := android
	iPhone.Subtitle, iPhone.Sound, iPhone.Channel, iPhone.Category, iPhone.Level = "Rp 25.000", "coins.caf", "", "OPEN", "time-sensitive"
	hidden := sandbox.Shown{ID: id, Body: "There is news of your wallet", Tag: tag, Sound: "till", Channel: "money"}
	hiddenIPhone := sandbox.Shown{ID: id, Body: "There is news of your wallet", Tag: tag, Sound: "till", Level: "time-sensitive"}
	drawn := func(s sandbox.Shown) sandbox.Shown { s.ByApp = true; return s }
	for token, want := range map[string]sandbox.Shown{
		"drawn-by-system": android, "drawn-by-app": drawn(android), "iPhone": iPhone,
		"private-system": hidden, "private-app": drawn(hidden), "privateiPhone": hiddenIPhone,
	} {
		if diff := cmp.Diff([]sandbox.Shown{want}, shadeOf(box, token)); diff != "" {
			t.Errorf("%s (-want +shown):\n%s", token, diff)
		}
	}
}

// The configured style is that of phones whose app has not asked for another one, and
// registering again forgets what the app asked for before.
func TestStyles(t *testing.T) {
	t.Parallel()
	for _, configured := range []devices.Style{"", devices.StyleNotification, devices.StyleData} {
		t.Run(string(configured), func(t *testing.T) { testStyles(t, configured) })
	}
}

func testStyles(t *testing.T, configured devices.Style) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.AndroidStyle = configured })
	w.register(66, devices.Android, "A")
	w.registerStyled(66, "B", devices.StyleNotification)
	w.registerStyled(66, "C", devices.StyleData)
	w.registerStyled(66, "D", devices.StyleData)
	w.registerStyled(66, "D", "")
	w.register(66, devices.IOS, "I")
	w.run()
	w.publish(promo)
	got := make(map[string]bool)
	for _, d := range slices.Concat(w.android.wait(t, "pushes", count(4)), w.ios.wait(t, "push", count(1))) {
		got[d.Token] = d.DataOnly
	}
	data := configured == devices.StyleData
	if diff := cmp.Diff(map[string]bool{"A": data, "B": false, "C": true, "D": data, "I": false}, got); diff != "" {
		t.Error(diff)
	}
}

// Without anything said, Android's channel is named as the lane and FCM's label as the type.
func TestDefaultPresentation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		o.Types = []event.Type{{Name: "campaign", Defaults: event.Defaults{Channel: "campaigns", Sound: push.SoundNone, InterruptionLevel: "passive"}}}
	})
	w.register(66, devices.Android, "A")
	w.run()
	for n, c := range []struct {
		raw  string
		want push.Presentation
	}{
		{`{"type":"dompet","receiver_id":66,"message":"m"}`, push.Presentation{Label: "dompet", Android: push.Android{Channel: "urgent"}}},
		{promo, push.Presentation{Label: "discount", Android: push.Android{Channel: "bulk"}}},
		{`{"type":"campaign","receiver_id":66,"message":"m"}`, push.Presentation{
			Label: "campaign", Sound: push.SoundNone, Android: push.Android{Channel: "campaigns"}, APNs: push.APNs{InterruptionLevel: "passive"},
		}},
		{`{"type":"campaign","receiver_id":66,"message":"m","sound":"default","options":{"analytics_label":"x","android":{"channel_id":"c"},"apns":{"interruption_level":"active"}}}`, push.Presentation{
			Label: "x", Sound: push.SoundDefault, Android: push.Android{Channel: "c"}, APNs: push.APNs{InterruptionLevel: "active"},
		}},
		{`{"type":"transaction","receiver_id":66,"message":"m","details":{"id":1,"state":"paid","seller":{"id":66},"actions":["deliver","reject"]},"options":{"apns":{"subtitle":"s"}}}`, push.Presentation{
			Label: "transaction", Android: push.Android{Channel: "urgent"}, APNs: push.APNs{Category: "deliver_reject", Subtitle: "s"},
		}},
	} {
		w.publish(c.raw)
		sent := w.android.wait(t, "push", count(n+1))
		if diff := cmp.Diff(c.want, sent[n].Presentation); diff != "" {
			t.Errorf("%s:\n%s", c.raw, diff)
		}
	}
}

// A message opens what its type's template says: in its push, in its details and in its
// frames.
func TestLinkOfAMessage(t *testing.T) {
	t.Parallel()
	w := newChat(t, func(o *Options) {
		o.LinkSchemes = []string{"shop"}
		o.Types = []event.Type{{Name: "message", Defaults: event.Defaults{Link: "shop://chats/{inbox_id}"}}}
	})
	w.register(66, devices.Android, "A")
	w.run()
	id := w.send(15, 66, "halo")
	d := w.android.wait(t, "push", count(1))[0]
	want := "shop://chats/" + model.ConversationID(15, 66)
	if d.Presentation.Link != want || d.Presentation.Android.Channel != "chat" {
		t.Errorf("%+v", d.Presentation)
	}
	frames, err := w.Chat.MessageMembers(t.Context(), 66, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"push": string(dataJSON(d.Data)), "frame": string(frames[id])} {
		if !strings.Contains(got, `"link":"`+want+`"`) || !strings.Contains(got, `"link_to":"`+want+`"`) {
			t.Errorf("the %s has another link: %s", name, got)
		}
	}
}
