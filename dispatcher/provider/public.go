package provider

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrPrivate means that an address that others chose, or the one its name resolves to, is not
// on the public internet.
var ErrPrivate = errors.New("not an address on the public internet")

// PublicOnly is the [net.Dialer.Control] that refuses connections to private addresses. It
// sees the resolved address, so that a name cannot resolve to another address between the
// check and the connection (DNS rebinding).
func PublicOnly(_, address string, _ syscall.RawConn) error {
	remote, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrPrivate, address)
	}
	if !isPublic(remote.Addr()) {
		return fmt.Errorf("%w: %s", ErrPrivate, remote.Addr())
	}
	return nil
}

// globalV6 is the range of IPv6 that IANA has allocated for global unicast.
var globalV6 = netip.MustParsePrefix("2000::/3")

// specialPurpose are the ranges of IPv4 and of globalV6 that are not on the public
// internet, or that embed IPv4 addresses (IANA's special-purpose address registries,
// RFC 6890).
var specialPurpose = prefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // carriers' NAT
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local; cloud metadata
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // relays from 6to4
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, broadcast
	"2001::/23",       // protocol assignments, Teredo
	"2001:db8::/32",   // documentation
	"2002::/16",       // 6to4
	"3fff::/20",       // documentation
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// isPublic reports whether a is an address on the public internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || a.Is6() && !globalV6.Contains(a) {
		return false
	}
	for _, p := range specialPurpose {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}
