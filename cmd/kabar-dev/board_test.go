package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

func TestBoard(t *testing.T) {
	a := arrival{push: fcmPush(fcmBody), owner: "66 Testing Account", phone: devices.Device{
		Platform: devices.Android, Token: "secret-token", Manufacturer: "Nokia", Model: "3310",
	}}
	b := newBoard()
	_, slow, leaveSlow := b.watch(0)
	defer leaveSlow()
	for range maxKept + 1 {
		b.show(a)
	}
	n := 0
	for range slow { // the board closes it, because it has fallen behind
		n++
	}
	if n != maxBehind {
		t.Errorf("a slow page got %d pushes before it was cut off, not %d", n, maxBehind)
	}

	kept, follow, leave := b.watch(0)
	if len(kept) != maxKept || kept[0].number != 2 {
		t.Errorf("%d pushes are kept, from %d on", len(kept), kept[0].number)
	}
	b.show(a)
	if got := <-follow; got.number != maxKept+2 {
		t.Errorf("number %d follows", got.number)
	}
	leave()
	kept, _, leave = b.watch(maxKept + 1)
	defer leave()
	if len(kept) != 1 {
		t.Fatalf("%d pushes are new to a page that has all but one", len(kept))
	}
	view := string(kept[0].view)
	for _, want := range []string{`"name":"Nokia 3310","platform":"Android"`, `"owner":"66 Testing Account"`, `"title":"Nego"`, `"provider":"FCM"`} {
		if !strings.Contains(view, want) {
			t.Errorf("no %s in %s", want, view)
		}
	}
	if strings.Contains(view, "secret-token") {
		t.Errorf("the device token is shown: %s", view)
	}
}

// TestScreenTellsTheBoard checks that the board gets each push that the screen shows.
func TestScreenTellsTheBoard(t *testing.T) {
	out := newConsole()
	find := func(_ context.Context, d devices.Device) (devices.Device, string) { return d, "15 Me Ow" }
	s := newScreen(out, find, func(err error) { t.Error(err) })
	b := newBoard()
	s.also = b.show
	s.show(fcmPush(fcmBody))
	if err := s.close(); err != nil {
		t.Error(err)
	}
	kept, _, leave := b.watch(0)
	defer leave()
	if len(kept) != 1 || !strings.Contains(string(kept[0].view), `"owner":"15 Me Ow"`) {
		t.Errorf("on the board: %v", kept)
	}
}

// TestBoardShade checks that each notice says what the sandbox's phone has on its screen then,
// by the numbers of the notices.
func TestBoardShade(t *testing.T) {
	b := newBoard()
	shade := func() (v pushView) {
		kept, _, leave := b.watch(b.last - 1)
		defer leave()
		if err := json.Unmarshal(kept[0].view, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	refused := fcmPush(`{"android":{"notification":{"body":"refused","tag":"a"}}}`)
	refused.Answer, refused.Reason = http.StatusNotFound, "UNREGISTERED"
	other := galaxy
	other.Token = "other"
	for i, step := range []struct {
		phone devices.Device
		push  *sandbox.Push
		want  []int
	}{
		{galaxy, fcmPush(`{"android":{"notification":{"body":"1","tag":"a"}}}`), []int{1}},
		{galaxy, fcmPush(`{"data":{"notification":"{\"body\":\"2\",\"tag\":\"b\"}"}}`), []int{1, 2}},
		{other, fcmPush(`{"android":{"notification":{"body":"3","tag":"a"}}}`), []int{3}},
		{galaxy, fcmPush(`{"android":{"notification":{"body":"4","tag":"a"}}}`), []int{2, 4}},
		{galaxy, refused, []int{2, 4}},
		{galaxy, fcmPush(`{"data":{"type":"reminder"}}`), []int{2, 4}},
	} {
		b.show(arrival{push: step.push, phone: step.phone})
		if diff := cmp.Diff(step.want, shade().Shade); diff != "" {
			t.Errorf("after push %d: %s", i+1, diff)
		}
	}
	for i := range maxShown + 5 {
		b.show(arrival{push: fcmPush(fmt.Sprintf(`{"android":{"notification":{"body":"x","tag":"%d"}}}`, i)), phone: galaxy})
	}
	if got := shade().Shade; len(got) != maxShown || got[maxShown-1] != b.last {
		t.Errorf("of a full screen %v are told", got)
	}
}

// TestBoardLook checks what the page is told of a push's look.
func TestBoardLook(t *testing.T) {
	const details = `"details":{"actions":["accept","reject"]}`
	const quoted = `"details":"{\"transaction\":{\"actions\":[\"deliver\"]}}"`
	const byApp = `"notification":"{\"body\":\"B\",\"channel_id\":\"promo\",\"image\":\"https://playground.example/x.png\"}"`
	for name, test := range map[string]struct {
		push *sandbox.Push
		want lookView
	}{
		"an app draws buttons": {
			fcmPush(`{"data":{"notification_id":"n","link":"shop://1",` + quoted + `,` + byApp + `}}`),
			lookView{Channel: "promo", Image: "pictures/x.png", Link: "shop://1", ByApp: true, Buttons: []string{"deliver"}, Notification: "n"},
		},
		"but none of a private push": {
			fcmPush(`{"data":{"private":"true",` + quoted + `,` + byApp + `}}`),
			lookView{Channel: "promo", Image: "pictures/x.png", ByApp: true, Buttons: []string{}},
		},
		"Android draws none": {
			fcmPush(`{"data":{` + quoted + `},"android":{"notification":{"body":"B","channel_id":"urgent"}}}`),
			lookView{Channel: "urgent", Buttons: []string{}},
		},
		"an iPhone draws those of the category": {
			apnsPush(`{"aps":{"alert":{"body":"B","subtitle":"S"},"category":"pay","interruption-level":"active","sound":"s"},"data":{"notification_id":"n",` + details + `}}`),
			lookView{Subtitle: "S", Level: "active", Sound: "s", Buttons: []string{"pay"}, Notification: "n"},
		},
	} {
		body, err := json.Marshal(viewPush(arrival{push: test.push, phone: galaxy}))
		var got pushView
		if err != nil || json.Unmarshal(body, &got) != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got.Look); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
