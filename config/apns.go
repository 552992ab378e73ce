package config

import (
	"cmp"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// The values of apns.environment.
const (
	APNsProduction = push.Production
	APNsSandbox    = push.Sandbox
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
	Environment             string `yaml:"environment" doc:"Apple's service that is tried first for devices which do not say theirs: production or sandbox"`
	Endpoint                string `yaml:"endpoint" doc:"scheme, host and port, like https://host:2197, instead of Apple's for production; the sandbox is off then unless sandbox_endpoint is set"`
	SandboxEndpoint         string `yaml:"sandbox_endpoint" doc:"the same instead of Apple's for the sandbox; production is off then unless endpoint is set"`
	CAFile                  string `yaml:"ca_file" doc:"PEM certificates to trust for endpoint and sandbox_endpoint, instead of the system's"`
}

// Enabled reports whether iOS push is on.
func (c APNs) Enabled() bool { return c.KeyFile != "" || c.CertificateFile != "" }

// Home returns the environment that is tried first for devices which do not say theirs.
func (c APNs) Home() string { return cmp.Or(c.Environment, APNsProduction) }

// Endpoints returns the endpoint of each environment that is on; an empty one is Apple's.
func (c APNs) Endpoints() map[string]string {
	all := map[string]string{APNsProduction: c.Endpoint, APNsSandbox: c.SandboxEndpoint}
	if c.Endpoint != "" || c.SandboxEndpoint != "" {
		maps.DeleteFunc(all, func(_, endpoint string) bool { return endpoint == "" })
	}
	return all
}

var (
	appleID  = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	bundleID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,255}$`)
)

func (c APNs) validate(p *problems, section string) {
	c.validateCredentials(p, section)
	if c.Enabled() {
		p.matches(section+".topic", c.Topic, bundleID, "the bundle id of the app, like com.example.app")
	}
	p.oneOf(section+".environment", c.Environment, APNsProduction, APNsSandbox)
	for _, e := range []struct{ key, value string }{{".endpoint", c.Endpoint}, {".sandbox_endpoint", c.SandboxEndpoint}} {
		if e.value == "" {
			continue
		}
		if u, err := url.Parse(e.value); err != nil || !isHTTPS(u) || u.Path != "" {
			p.add(section+e.key, "must be an https URL of host and port alone, like https://host:2197")
		}
	}
	switch _, on := c.Endpoints()[c.Environment]; {
	case on:
	case c.Environment == APNsProduction:
		p.add(section+".endpoint", "must be set, as sandbox_endpoint is and environment is production")
	case c.Environment == APNsSandbox:
		p.add(section+".sandbox_endpoint", "must be set, as endpoint is and environment is sandbox")
	}
	p.caFile(section+".ca_file", c.CAFile)
}

func (c APNs) validateCredentials(p *problems, section string) {
	p.file(section+".key_file", c.KeyFile)
	if c.KeyFile != "" {
		p.matches(section+".key_id", c.KeyID, appleID, "the 10 letters and digits of the key's id")
		p.matches(section+".team_id", c.TeamID, appleID, "the 10 letters and digits of the team's id")
	}
	p.file(section+".certificate_file", c.CertificateFile)
	if c.CertificateFile == "" {
		return
	}
	if c.KeyFile != "" {
		p.add(section+".certificate_file", "must not be set together with %s.key_file", section)
	}
	switch strings.ToLower(filepath.Ext(c.CertificateFile)) {
	case ".p12", ".pem":
	default:
		p.add(section+".certificate_file", "must be a .p12 or a .pem file, not %q", c.CertificateFile)
	}
}
