package main

import (
	"net"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	defer l.Close()
	for _, test := range []struct {
		name, given, preset string
		want, problem       string
	}{
		{"preset", "", "127.0.0.1:0", "127.0.0.1:0", ""},
		{"preset taken", "", taken, "127.0.0.1:0", ""},
		{"given", "127.0.0.1:0", taken, "127.0.0.1:0", ""},
		{"given taken", taken, "127.0.0.1:0", "", "--listen " + taken + ": another program listens there"},
		{"no address", "8080", "127.0.0.1:0", "", "--listen: listen tcp: address 8080: missing port in address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := address("--listen", test.given, test.preset)
			if got != test.want {
				t.Errorf("%q, not %q", got, test.want)
			}
			if problem := test.problem; (err == nil) != (problem == "") || err != nil && !strings.HasPrefix(err.Error(), problem) {
				t.Errorf("error %v, not %q", err, problem)
			}
		})
	}
}

func TestInstead(t *testing.T) {
	at := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }
	for _, test := range []struct {
		given string
		got   net.Addr
		want  string
	}{
		{"", at(8080), ""},
		{"", at(54321), "port 8080 is taken, using 54321"},
		{"127.0.0.1:0", at(54321), ""},
	} {
		if got := instead(test.given, presetListen, test.got); got != test.want {
			t.Errorf("%q and %v: %q, not %q", test.given, test.got, got, test.want)
		}
	}
}

func TestLocal(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080",
		"0.0.0.0:8080":   "127.0.0.1:8080",
		"[::]:8080":      "127.0.0.1:8080",
		"[::1]:8080":     "[::1]:8080",
		"10.0.0.7:8080":  "10.0.0.7:8080",
	} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := local(a); got != want {
			t.Errorf("%s: %s, not %s", address, got, want)
		}
	}
}
