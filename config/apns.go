package config

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// The values of apns.environment.
const (
	APNsProduction  = "production"
	APNsDevelopment = "development"
)

// APNs configures the pushes to iPhones. They are off without a signing key or a
// certificate.
type APNs struct {
	KeyFile                 string `yaml:"key_file" doc:"signing key (.p8); iOS push is off without this or certificate_file"`
	KeyID                   string `yaml:"key_id" doc:"id of the signing key, 10 characters"`
	TeamID                  string `yaml:"team_id" doc:"id of the developer team, 10 characters"`
	CertificateFile         string `yaml:"certificate_file" doc:"certificate with its key (.p12 or .pem), instead of key_file"`
	CertificatePassword     Secret `yaml:"certificate_password" doc:"password of certificate_file"`
	CertificatePasswordFile string `yaml:"certificate_password_file" doc:"file with certificate_password"`
	Topic                   string `yaml:"topic" doc:"bundle id of the app"`
	Environment             string `yaml:"environment" doc:"Apple's service to send to: production or development"`
	Endpoint                string `yaml:"endpoint" doc:"scheme, host and port, like https://host:2197, instead of Apple's"`
	CAFile                  string `yaml:"ca_file" doc:"PEM certificates to trust for endpoint, instead of the system's"`
}

// Enabled reports whether iOS push is on.
func (c APNs) Enabled() bool { return c.KeyFile != "" || c.CertificateFile != "" }

var (
	appleID  = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	bundleID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,255}$`)
)

func (c APNs) validate(p *problems) {
	c.validateCredentials(p)
	if c.Enabled() {
		p.matches("apns.topic", c.Topic, bundleID, "the bundle id of the app, like com.example.app")
	}
	p.oneOf("apns.environment", c.Environment, APNsProduction, APNsDevelopment)
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || !isHTTPS(u) || u.Path != "" {
			p.add("apns.endpoint", "must be an https URL of host and port alone, like https://host:2197")
		}
	}
	p.caFile("apns.ca_file", c.CAFile)
}

func (c APNs) validateCredentials(p *problems) {
	p.file("apns.key_file", c.KeyFile)
	if c.KeyFile != "" {
		p.matches("apns.key_id", c.KeyID, appleID, "the 10 letters and digits of the key's id")
		p.matches("apns.team_id", c.TeamID, appleID, "the 10 letters and digits of the team's id")
	}
	p.file("apns.certificate_file", c.CertificateFile)
	if c.CertificateFile == "" {
		return
	}
	if c.KeyFile != "" {
		p.add("apns.certificate_file", "must not be set together with apns.key_file")
	}
	switch strings.ToLower(filepath.Ext(c.CertificateFile)) {
	case ".p12", ".pem":
	default:
		p.add("apns.certificate_file", "must be a .p12 or a .pem file, not %q", c.CertificateFile)
	}
}
