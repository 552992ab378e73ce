package webpush

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

const (
	maxEndpoint = 1024 // bytes
	authLen     = 16   // bytes of a subscription's secret
)

// CheckService returns an error unless a service is a host, or "*." and the end of its hosts'
// names; each with a port if it is not 443.
func CheckService(service string) error {
	name := strings.TrimPrefix(service, "*.")
	u, err := url.Parse("https://" + name)
	if err != nil || u.Host != name || u.Hostname() == "" || strings.ToLower(name) != name || strings.ContainsAny(name, "*@") {
		return fmt.Errorf("%q is not a host in small letters, such as updates.push.services.mozilla.com or *.push.apple.com", service)
	}
	if single(service) || net.ParseIP(u.Hostname()) == nil && strings.Contains(name, ".") {
		return nil
	}
	return fmt.Errorf("%q: *. must be followed by a domain of two parts", service)
}

// single reports whether a service has one host.
func single(service string) bool { return !strings.HasPrefix(service, "*.") }

// Matches reports whether a host is of a service.
func Matches(service, host string) bool {
	host = strings.TrimSuffix(host, ":443")
	if end, ok := strings.CutPrefix(service, "*"); ok {
		return strings.HasSuffix(host, end) && len(host) > len(end)
	}
	return host == service
}

// ServiceOf returns the service of an endpoint, or an error if it is of none.
func ServiceOf(services []string, endpoint string) (string, error) {
	if err := CheckEndpoint(endpoint); err != nil {
		return "", err
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err // CheckEndpoint has parsed it
	}
	for _, s := range services {
		if Matches(s, u.Host) {
			return s, nil
		}
	}
	return "", errors.New("is at a host that is none of webpush.services")
}

// CheckEndpoint returns an error unless a subscription's endpoint is an https URL that
// consists of nothing but a host in small letters, a path and a query. The error does not
// contain it: whoever knows it may send to the browser.
func CheckEndpoint(endpoint string) error {
	if len(endpoint) > maxEndpoint {
		return fmt.Errorf("has more than %d characters", maxEndpoint)
	}
	for i := range len(endpoint) {
		if endpoint[i] <= ' ' || endpoint[i] >= 0x7f {
			return errors.New("holds a character that no URL has")
		}
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return errors.New("is not an https:// URL of a push service")
	case strings.ToLower(u.Host) != u.Host:
		return errors.New("has a host that is not in small letters")
	}
	return nil
}

// CheckKeys returns the error of each of a subscription's keys: p256dh is a point of the curve
// P-256, auth is 16 bytes, both in base64. The errors do not contain them.
func CheckKeys(p256dh, auth string) (errP256dh, errAuth error) {
	b, err := decode(p256dh)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(b)
	}
	if err != nil {
		errP256dh = errors.New("is not a public key of the curve P-256 in base64")
	}
	if b, err = decode(auth); err != nil || len(b) != authLen {
		errAuth = fmt.Errorf("is not %d bytes in base64", authLen)
	}
	return errP256dh, errAuth
}

// decode decodes base64 of either alphabet, with or without padding, as the library does.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "+/") && strings.ContainsAny(text, "-_") {
		return nil, base64.CorruptInputError(0)
	}
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	return base64.RawURLEncoding.DecodeString(text)
}
