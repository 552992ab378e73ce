package config

import (
	"crypto/ecdh"
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
)

// WebPush configures the pushes to browsers. They are off without a key.
type WebPush struct {
	PrivateKey     Secret   `yaml:"private_key" doc:"VAPID private key, as kabar vapid prints it; browser push is off without one; with another key browsers must subscribe anew"`
	PrivateKeyFile string   `yaml:"private_key_file" doc:"file with private_key"`
	Subject        string   `yaml:"subject" doc:"how push services reach you: mailto: and an address, or an https URL"`
	Services       []string `yaml:"services" doc:"hosts of push services that browsers may subscribe to, such as push.example.com, or *.push.example.com for all below it; the variable takes a,b,…"`
	AllowPrivate   bool     `yaml:"allow_private" doc:"send to addresses that are not public (private, loopback, link-local)"`
	CAFile         string   `yaml:"ca_file" doc:"PEM certificates to trust for push services, instead of the system's"`
}

// pushServices are those of Chrome and what is made of it, of Firefox, Safari and Edge.
var pushServices = []string{"fcm.googleapis.com", "*.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com"}

// Enabled reports whether browser push is on.
func (c WebPush) Enabled() bool { return c.PrivateKey != "" }

// pushService matches a host, or "*." and a domain, with a port or without.
var pushService = regexp.MustCompile(`^(\*\.[a-z0-9-]+(\.[a-z0-9-]+)+|[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[0-9]{1,5})?$`)

func (c WebPush) validate(p *problems) {
	if c.Enabled() {
		key, err := base64.RawURLEncoding.DecodeString(c.PrivateKey.Reveal())
		if err == nil {
			_, err = ecdh.P256().NewPrivateKey(key)
		}
		if err != nil {
			p.add("webpush.private_key", "must be the base64 of a private key of the curve P-256, as kabar vapid prints it")
		}
		if !isContact(c.Subject) {
			p.add("webpush.subject", "must be mailto: and an address, or an https URL, not %q", c.Subject)
		}
		if len(c.Services) == 0 {
			p.add("webpush.services", "must name a push service, such as fcm.googleapis.com")
		}
	}
	for _, s := range c.Services {
		p.matches("webpush.services", s, pushService, "a host in small letters like push.example.com, or *.push.example.com")
	}
	p.caFile("webpush.ca_file", c.CAFile)
}

// isContact reports whether a push service can reach somebody there.
func isContact(subject string) bool {
	if mail, ok := strings.CutPrefix(subject, "mailto:"); ok {
		return strings.Contains(mail, "@")
	}
	u, err := url.Parse(subject)
	return err == nil && isHTTPS(u)
}
