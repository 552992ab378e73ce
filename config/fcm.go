package config

import (
	"net/url"
	"regexp"
	"strings"
)

// FCM configures the pushes to Android phones. They are off without a project.
type FCM struct {
	ProjectID       string `yaml:"project_id" doc:"Firebase project; Android push is off without one"`
	CredentialsFile string `yaml:"credentials_file" doc:"service account key (JSON) of the project; needed unless endpoint is not Google's"`
	Endpoint        string `yaml:"endpoint" doc:"base URL with its version, like https://host/v1, instead of Google's"`
	CAFile          string `yaml:"ca_file" doc:"PEM certificates to trust for endpoint, instead of the system's"`
}

// Enabled reports whether Android push is on.
func (c FCM) Enabled() bool { return c.ProjectID != "" }

// projectID matches every form that Google's project ids have ever had, and nothing that is
// unsafe in a URL's path.
var projectID = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]{0,62}$`)

func (c FCM) validate(p *problems, section string) {
	if c.Enabled() {
		p.matches(section+".project_id", c.ProjectID, projectID, "the id of a Firebase project")
	}
	p.file(section+".credentials_file", c.CredentialsFile)
	p.caFile(section+".ca_file", c.CAFile)

	google := true
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		switch {
		case err != nil || !isHTTPS(u) || len(u.Path) < 2 || strings.HasSuffix(u.Path, "/"):
			p.add(section+".endpoint", "must be an https URL with its version as path, like https://host/v1")
		default:
			google = isGoogle(u.Hostname())
		}
	}
	if c.Enabled() && google && c.CredentialsFile == "" {
		p.add(section+".credentials_file", "must be set to send to Google (%s.project_id is set)", section)
	}
}

// isHTTPS reports whether u is made of an https scheme, a host and perhaps a
// port and a path, and of nothing else.
func isHTTPS(u *url.URL) bool {
	return u.Scheme == "https" && u.Hostname() != "" && u.User == nil &&
		u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
}

func isGoogle(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "googleapis.com" || strings.HasSuffix(host, ".googleapis.com")
}
