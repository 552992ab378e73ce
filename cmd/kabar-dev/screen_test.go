package main

import (
	"context"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// A halted is an output that blocks every write until it is released, like a terminal after
// Ctrl-S.
type halted struct {
	*console
	asked   chan struct{} // closed at the first write
	release chan struct{}
}

func (h *halted) Write(b []byte) (int, error) {
	select {
	case <-h.asked:
	default:
		close(h.asked)
	}
	<-h.release
	return h.console.Write(b)
}

// TestHaltedTerminal checks that a halted terminal does not hold up pushes. Those that do
// not fit into the queue are only counted.
func TestHaltedTerminal(t *testing.T) {
	out := &halted{console: newConsole(), asked: make(chan struct{}), release: make(chan struct{})}
	nobody := func(_ context.Context, d devices.Device) (devices.Device, string) { return d, "" }
	s := newScreen(out, nobody, func(err error) { t.Error(err) })
	s.show(fcmPush(fcmBody))
	<-out.asked
	const more = 3
	for range maxQueued + more {
		s.show(fcmPush(fcmBody))
	}
	close(out.release)
	if err := s.close(); err != nil {
		t.Error(err)
	}
	text := out.String()
	if n := strings.Count(text, "│ Nego"); n != 1+maxQueued {
		t.Errorf("%d pushes were printed, not %d", n, 1+maxQueued)
	}
	if n := strings.Count(text, "… and 3 more that came too fast to be shown\n"); n != 1 {
		t.Errorf("the missing pushes are reported %d times", n)
	}
}

// An iPhone that FCM carries the push to is no Android phone.
func TestDeviceOfAPush(t *testing.T) {
	const body = `{"fid":"A","apns":{"payload":{"aps":{}}}}`
	for want, p := range map[devices.Device]*sandbox.Push{
		{Platform: devices.Android, Token: "A"}:                    {Platform: sandbox.PlatformFCM, Token: "A", Body: []byte(`{"token":"A"}`)},
		{Platform: devices.IOS, Provider: devices.FCM, Token: "A"}: {Platform: sandbox.PlatformFCM, Token: "A", Body: []byte(body)},
		{Platform: devices.IOS, Token: "A"}:                        {Platform: sandbox.PlatformAPNs, Token: "A", Body: []byte(`{"aps":{}}`)},
		{Platform: devices.Web, Token: "https://a"}:                {Platform: sandbox.PlatformWeb, Token: "name", Endpoint: "https://a"},
	} {
		if got := deviceOf(p); got != want {
			t.Errorf("%s: %+v, want %+v", p.Body, got, want)
		}
	}
}
