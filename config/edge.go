package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// TrustedProxies names the proxies in front of Kabar that may say where a request comes
// from.
type TrustedProxies struct {
	CIDRs  []string `yaml:"cidrs" doc:"networks of the proxies in front of Kabar, such as 10.0.0.0/8; the variable takes a,b,…; needs header"`
	Header string   `yaml:"header" doc:"the one header in which these proxies name the client, such as X-Forwarded-For; it is read from the right, past trusted addresses; needs cidrs"`
}

// Networks returns CIDRs in the form of net/netip, without those that Validate refuses.
func (c TrustedProxies) Networks() []netip.Prefix {
	var networks []netip.Prefix
	for _, text := range c.CIDRs {
		if network, err := netip.ParsePrefix(text); err == nil {
			networks = append(networks, network.Masked())
		}
	}
	return networks
}

// headerName is what RFC 9110 permits in the name of a header.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (c TrustedProxies) validate(p *problems) {
	for i, text := range c.CIDRs {
		key := fmt.Sprintf("trusted_proxies.cidrs[%d]", i)
		network, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			p.add(key, "must be a network like 10.0.0.0/8 or 2001:db8::/32 (one address is 192.0.2.1/32), not %q", text)
		case network.Addr().Is4In6():
			p.add(key, "must be written as a network of IPv4, not %q", text)
		case network.Bits() == 0:
			p.add(key, "must not be every address: everybody could then name any address as theirs")
		}
	}
	switch {
	case len(c.CIDRs) > 0 && c.Header == "":
		p.add("trusted_proxies.header", "must be set together with trusted_proxies.cidrs, such as X-Forwarded-For")
	case len(c.CIDRs) == 0 && c.Header != "":
		p.add("trusted_proxies.cidrs", "must be set together with trusted_proxies.header: it counts from these proxies alone")
	case strings.EqualFold(c.Header, "Forwarded"):
		p.add("trusted_proxies.header", "must be a header of addresses alone, such as X-Forwarded-For; Kabar does not read Forwarded")
	case c.Header != "":
		p.matches("trusted_proxies.header", c.Header, headerName, "the name of one header")
	}
}

// Connections limits connections to the public address. 0 is no limit.
type Connections struct {
	PerAddress int `yaml:"per_address" doc:"connections without a live socket that one address (of IPv6 a /64) may keep open to a process; for one more, the one that has been idle for the longest time is closed; trusted proxies are not limited; 0 to 1000000, 0 is no limit"`
	Total      int `yaml:"total" doc:"the same for all addresses together; 0 to 1000000, 0 is no limit; with live sockets they are at most what the limit on open files leaves after a reserve"`
}

func (c Connections) validate(p *problems) {
	p.between("connections.per_address", c.PerAddress, 0, 1_000_000)
	p.between("connections.total", c.Total, 0, 1_000_000)
}

var (
	// origin is the scheme, then a name (the first group when all names below it are meant)
	// or an address, and a port.
	origin     = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://(?:\*\.([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?$`)
	usualPorts = regexp.MustCompile(`^(http://.*:80|https://.*:443)$`)
)

func validateOrigins(p *problems, origins []string) {
	for i, text := range origins {
		key := fmt.Sprintf("origins[%d]", i)
		switch {
		case text == "*":
			p.add(key, "must be one origin, like https://shop.example, or the names below one, like https://*.shop.example: pages of everybody are not allowed")
		case usualPorts.MatchString(text):
			p.add(key, "must be without the usual port, as browsers send it, not %q", text)
		case isPublicSuffix(below(text)):
			p.add(key, "must not be all names below %s: everybody can get one", below(text))
		case !origin.MatchString(text):
			p.add(key, "must be scheme and host as browsers send them (lower case, no path, no slash at the end), like https://shop.example or https://*.shop.example, not %q", text)
		}
	}
}

// below returns the name below which all names are meant, or "".
func below(text string) string {
	if m := origin.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// isPublicSuffix reports whether the owners of the names below a name have nothing to do with
// each other, as below com, co.id or github.io.
func isPublicSuffix(name string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	return name != "" && suffix == name
}
