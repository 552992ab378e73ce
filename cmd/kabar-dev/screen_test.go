package main

import (
	"context"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
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
	nobody := func(_ context.Context, p devices.Platform, token string) (devices.Device, string) {
		return devices.Device{Platform: p, Token: token}, ""
	}
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
