package main

import (
	"context"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
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
	find := func(_ context.Context, p devices.Platform, token string) (devices.Device, string) {
		return devices.Device{Platform: p, Token: token}, "15 Me Ow"
	}
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
