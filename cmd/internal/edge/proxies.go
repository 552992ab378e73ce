package edge

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies tells from which address a request comes. The zero value trusts no proxy. It is
// safe for concurrent use.
type Proxies struct {
	// Networks are those of the proxies whose Header counts.
	Networks []netip.Prefix
	// Header is the one header in which they name the client. Each proxy appends the
	// address of its own peer, or replaces the header by it.
	Header string
}

// Client returns the address of the client: that of the connection, unless a trusted proxy
// is at its other end. Then Header is read from the right, past the addresses of trusted
// proxies, because what stands further left is what the client has sent itself. It is the
// address of the last trusted proxy when that one names none that can be read, and the zero
// Addr when the connection has no IP address.
func (p Proxies) Client(r *http.Request) netip.Addr {
	client := parseAddress(r.RemoteAddr)
	if !p.Trusts(client) {
		return client
	}
	for _, list := range slices.Backward(r.Header.Values(p.Header)) {
		for list != "" {
			var last string
			if i := strings.LastIndexByte(list, ','); i >= 0 {
				list, last = list[:i], list[i+1:]
			} else {
				list, last = "", list
			}
			address := parseAddress(strings.TrimSpace(last))
			if !address.IsValid() {
				return client
			}
			client = address
			if !p.Trusts(client) {
				return client
			}
		}
	}
	return client
}

// Trusts reports whether an address is that of a trusted proxy.
func (p Proxies) Trusts(address netip.Addr) bool {
	return slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(address) })
}

// parseAddress reads an address, with or without a port. It returns the zero Addr when text
// is none.
func parseAddress(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

// Network returns an address as limits count it: of IPv6 the network of 64 bits that one
// customer has, since its addresses cost nothing. The zero Addr gives the zero Prefix.
func Network(address netip.Addr) netip.Prefix {
	if !address.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(address, min(64, address.BitLen())).Masked()
}
