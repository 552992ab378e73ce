package edge

import (
	"strings"
)

// Origins are those whose pages may use the API and open sockets. The zero value allows
// none. It is safe for concurrent use.
type Origins struct {
	exact map[string]bool
	below []suffix
}

// A suffix stands for all names below one.
type suffix struct {
	scheme string // such as "https://"
	rest   string // such as ".shop.example" or ".shop.example:8443"
}

// NewOrigins returns the origins of a valid configuration: exact ones, like
// https://shop.example, and names below one, like https://*.shop.example.
func NewOrigins(list []string) Origins {
	o := Origins{exact: make(map[string]bool)}
	for _, origin := range list {
		if scheme, rest, ok := strings.Cut(origin, "*"); ok {
			o.below = append(o.below, suffix{scheme, rest})
		} else {
			o.exact[origin] = true
		}
	}
	return o
}

// Any reports whether an origin is allowed at all.
func (o Origins) Any() bool { return len(o.exact) > 0 || len(o.below) > 0 }

// Allows reports whether the pages of an origin, as the header Origin has it, are allowed.
func (o Origins) Allows(origin string) bool {
	if o.exact[origin] {
		return true
	}
	for _, s := range o.below {
		host, ok := strings.CutPrefix(origin, s.scheme)
		if !ok {
			continue
		}
		if name, ok := strings.CutSuffix(host, s.rest); ok && isName(name) {
			return true
		}
	}
	return false
}

// isName reports whether text is a name in a host: labels with dots between them.
func isName(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return false
		}
	}
	return true
}
