package localredis

import (
	"errors"
	"net"
	"strconv"
	"testing"
)

// A server whose port another one takes first is started on another port, and is not mistaken
// for the other one.
func TestPortThatIsTaken(t *testing.T) {
	stranger, err := Start(t.Context(), Options{})
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	_, taken, err := net.SplitHostPort(stranger.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(taken)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Start(t.Context(), Options{Port: port}); !errors.Is(err, errPortTaken) {
		t.Errorf("on the port of another server: %v, %v", s, err)
	}
	tries := 0
	s, err := onFreePort(func(free int) (*Server, error) {
		if tries++; tries == 1 {
			free = port
		}
		return start(t.Context(), Options{Port: free})
	})
	if err != nil || tries != 2 || s.Addr() == stranger.Addr() {
		t.Fatalf("after %d tries: %v, %v", tries, s, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
