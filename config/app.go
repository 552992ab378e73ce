package config

import (
	"fmt"
	"regexp"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// App is an app with a project at FCM, or a topic at APNs, of its own.
type App struct {
	Name string `yaml:"name" doc:"the app's name, 1 to 32 of a-z 0-9 _ -, which devices register with; not default, which fcm and apns are"`
	FCM  FCM    `yaml:"fcm,omitempty"`
	APNs APNs   `yaml:"apns,omitempty"`
}

// AllApps returns the default app, which the sections fcm and apns are, and then the others.
func (c *Config) AllApps() []App {
	return append([]App{{Name: push.DefaultApp, FCM: c.FCM, APNs: c.APNs}}, c.Apps...)
}

// AppNames returns the names of the apps beside the default one.
func (c *Config) AppNames() []string {
	names := make([]string, len(c.Apps))
	for i, a := range c.Apps {
		names[i] = a.Name
	}
	return names
}

// Section returns the prefix of the app's keys: "", or "apps[0]." of the first of c.Apps.
func (c *Config) Section(name string) string {
	for i, a := range c.Apps {
		if a.Name == name {
			return fmt.Sprintf("apps[%d].", i)
		}
	}
	return ""
}

var appName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

func validateApps(p *problems, apps []App) {
	names := make(map[string]int)
	for i, a := range apps {
		key := fmt.Sprintf("apps[%d]", i)
		p.matches(key+".name", a.Name, appName, "1 to 32 of a-z 0-9 _ -")
		if a.Name == push.DefaultApp {
			p.add(key+".name", "must not be %s, which is the app of the sections fcm and apns", a.Name)
		}
		if first, taken := names[a.Name]; taken {
			p.add(key+".name", "must differ from that of apps[%d], %q", first, a.Name)
		} else {
			names[a.Name] = i
		}
		if !a.FCM.Enabled() && !a.APNs.Enabled() {
			p.add(key, "must have fcm.project_id, apns.key_file or apns.certificate_file")
		}
		a.FCM.validate(p, key+".fcm")
		a.APNs.Environment = a.APNs.Home() // of an item there is no default
		a.APNs.validate(p, key+".apns")
	}
}
