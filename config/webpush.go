package config

import "github.com/kabar-gateway/kabar/dispatcher/webpush"

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

func (c WebPush) validate(p *problems) {
	if c.Enabled() {
		if _, err := webpush.PublicKey(c.PrivateKey.Reveal()); err != nil {
			p.add("webpush.private_key", "must be the base64 of a private key of the curve P-256, as kabar vapid prints it")
		}
		if webpush.CheckSubject(c.Subject) != nil {
			p.add("webpush.subject", "must be mailto: and an address, or an https URL, not %q", c.Subject)
		}
		if len(c.Services) == 0 {
			p.add("webpush.services", "must name a push service, such as fcm.googleapis.com")
		}
	}
	for _, s := range c.Services {
		if webpush.CheckService(s) != nil {
			p.add("webpush.services", "must be a host in small letters like push.example.com, or *.push.example.com, not %q", s)
		}
	}
	p.caFile("webpush.ca_file", c.CAFile)
}
