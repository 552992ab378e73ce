package edge

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClient(t *testing.T) {
	p := Proxies{
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")},
		Header:   "X-Forwarded-For",
	}
	for _, tc := range []struct {
		name, peer string
		header     []string
		want       string
	}{
		{"no proxy", "198.51.100.7:1", nil, "198.51.100.7"},
		{"not a proxy of ours", "198.51.100.7:1", []string{"203.0.113.5"}, "198.51.100.7"},
		{"one proxy", "10.0.0.1:1", []string{"203.0.113.5"}, "203.0.113.5"},
		{"the client claims another address", "10.0.0.1:1", []string{"192.0.2.66, 203.0.113.5"}, "203.0.113.5"},
		{"it claims to be a proxy", "10.0.0.1:1", []string{"192.0.2.66, 10.0.0.9, 203.0.113.5"}, "203.0.113.5"},
		{"in a header of its own", "10.0.0.1:1", []string{"192.0.2.66", "203.0.113.5"}, "203.0.113.5"},
		{"two proxies", "10.0.0.1:1", []string{"203.0.113.5, 10.0.0.2"}, "203.0.113.5"},
		{"two proxies, a header each", "10.0.0.1:1", []string{"203.0.113.5", "10.0.0.2"}, "203.0.113.5"},
		{"from a proxy's network itself", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.5:4711"}, "203.0.113.5"},
		{"IPv6", "[2001:db8:ffff::1]:1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8::5]:4711"}, "2001:db8::5"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
		{"a zone", "10.0.0.1:1", []string{"fe80::1%eth0"}, "fe80::1"},
		{"no header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"an empty one", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"not an address", "10.0.0.1:1", []string{"192.0.2.66, unknown"}, "10.0.0.1"},
		{"not an address behind a proxy", "10.0.0.1:1", []string{"192.0.2.66, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"nothing between commas", "10.0.0.1:1", []string{"192.0.2.66,,"}, "10.0.0.1"},
		{"no address at all", "@", []string{"203.0.113.5"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tc.peer, Header: http.Header{"X-Forwarded-For": tc.header, "X-Real-Ip": {"192.0.2.99"}}}
		if got := p.Client(r).String(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"203.0.113.5"}}}
	if got := (Proxies{}).Client(r).String(); got != "10.0.0.1" {
		t.Errorf("without trusted proxies: %s", got)
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.5": "203.0.113.5/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::1": "::/64",
	} {
		if got := Network(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("no address: %s", got)
	}
}
