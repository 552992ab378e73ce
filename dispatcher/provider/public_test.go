package provider

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

func TestPublicAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.15.0.1": true, "100.63.255.255": true, "2606:4700::1111": true,
		"0.0.0.0": false, "10.1.2.3": false, "100.64.0.1": false, "100.127.255.255": false, "127.0.0.1": false,
		"127.255.0.1": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"192.0.2.1": false, "198.18.0.1": false, "224.0.0.1": false, "239.1.1.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "::7f00:1": false, "fe80::1": false,
		"fd00::1": false, "fc00::1": false, "ff02::1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false,
		"2001::1": false, "2001:db8::1": false, "fe80::1%eth0": false, "2606:4700::1%eth0": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
	if err := PublicOnly("tcp", "nonsense", nil); !errors.Is(err, ErrPrivate) {
		t.Errorf("an invalid address: %v", err)
	}
}

// A pool for addresses that others chose connects to none that is not public, and says so.
func TestPoolOfPublicAddresses(t *testing.T) {
	var requests atomic.Int32
	s := newServer(t, 100, func(c *conn, stream uint32) { requests.Add(1); c.answer(stream, 200, "") })
	for _, public := range []bool{true, false} {
		p := NewPool(Options{URL: s.url, RootCAs: s.roots, PublicOnly: public})
		a := post(t.Context(), p, s.url)
		p.Close()
		if r := Unanswered(&a); public && (a.Answered() || r.Outcome != push.Later || r.Reason != "private_address" || r.Lost) {
			t.Errorf("got %+v, %+v", a, r)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}
