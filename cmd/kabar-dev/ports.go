package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// The default addresses. They are local, because the playground's keys are public.
const (
	presetListen = "127.0.0.1:8080"
	presetAdmin  = "127.0.0.1:9090"
	presetPage   = "127.0.0.1:8090"
)

// address returns the address to listen on: that of the flag, else the preset, else, when
// its port is taken, one with any free port. It fails when the flag's address cannot be
// used.
func address(flag, given, preset string) (string, error) {
	if given != "" {
		err := tryListen(given)
		if errors.Is(err, syscall.EADDRINUSE) {
			return "", fmt.Errorf("%s %s: another program listens there; choose another port, or leave %s out for a free one", flag, given, flag)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", flag, err)
		}
		return given, nil
	}
	err := tryListen(preset)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(preset)
		return net.JoinHostPort(host, "0"), nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return preset, nil
}

func tryListen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// local returns the address of a listener on this machine: loopback when it listens on all
// interfaces.
func local(a net.Addr) string {
	tcp := a.(*net.TCPAddr)
	ip := tcp.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	return (&net.TCPAddr{IP: ip, Port: tcp.Port, Zone: tcp.Zone}).String()
}

// instead says that the preset port was taken and which one replaces it. It returns ""
// when the preset is used, or the flag was given.
func instead(given, preset string, got net.Addr) string {
	_, wanted, _ := net.SplitHostPort(preset)
	_, port, _ := net.SplitHostPort(got.String())
	if given != "" || port == wanted {
		return ""
	}
	return fmt.Sprintf("port %s is taken, using %s", wanted, port)
}
