// Package config is Kabar's configuration: its keys, their defaults, and how it is loaded
// and validated.
//
// [Load] reads a YAML file and the environment; [Config.Validate] reports everything that
// is wrong with the result at once. Each section of the file is one struct here, and the
// tags of its fields (yaml, doc) are the only list of the keys: [Keys] derives names,
// variables, defaults and explanations from them.
//
// A Config is plain data. The caller may change it until it is shared, and nobody
// afterwards.
package config

import (
	"bytes"
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // zones are known in an image without a file system, too

	"go.yaml.in/yaml/v3"
)

// Config is the whole configuration of a Kabar process.
type Config struct {
	Listen      string         `yaml:"listen" doc:"address of the public API and its sockets, host:port"`
	AdminListen string         `yaml:"admin_listen" doc:"address of /metrics, /healthz, /readyz and /debug/pprof/, host:port; not for the public"`
	Origins     []string       `yaml:"origins" doc:"origins whose pages may use the API and open sockets: exact, like https://shop.example, or all names below one, like https://*.shop.example; the variable takes a,b,…"`
	Proxies     TrustedProxies `yaml:"trusted_proxies"`
	Connections Connections    `yaml:"connections"`
	Redis       Redis          `yaml:"redis"`
	Auth        Auth           `yaml:"auth"`
	Services    []Service      `yaml:"services" doc:"the services that may publish; the variable takes name:sha256[:scope+scope],…"`
	Webhooks    Webhooks       `yaml:"webhooks"`
	FCM         FCM            `yaml:"fcm"`
	APNs        APNs           `yaml:"apns"`
	Apps        []App          `yaml:"apps" doc:"further apps, each with a section fcm or apns like those above; the variable takes the list as YAML, [{name: …, fcm: {…}}]"`
	Android     Android        `yaml:"android"`
	WebPush     WebPush        `yaml:"webpush"`
	Push        Push           `yaml:"push"`
	Live        Live           `yaml:"live"`
	Devices     Devices        `yaml:"devices"`
	Dedupe      Dedupe         `yaml:"dedupe"`
	Attachments Attachments    `yaml:"attachments"`
	Timezone    string         `yaml:"timezone" doc:"zone of the times in answers, an IANA name"`
	Locale      string         `yaml:"locale" doc:"language of a user who did not choose one: id or en"`
	Texts       string         `yaml:"texts" doc:"folder with message files of your own, id.yaml and en.yaml, whose texts replace the built-in ones"`
	Retention   Retention      `yaml:"retention"`
	Types       []EventType    `yaml:"types" doc:"further event types, and defaults of built-in ones; the variable takes the list as YAML, [{name: …, lane: …}]"`
	Log         Log            `yaml:"log"`
}

// Default returns the default configuration. It is valid: all providers are off and Redis
// is expected on this machine.
func Default() *Config {
	return &Config{
		Listen:      ":8080",
		AdminListen: "127.0.0.1:9090",
		Connections: Connections{PerAddress: 1000, Total: 10_000},
		Redis:       Redis{URL: "redis://127.0.0.1:6379/0", Partitions: 16, Prefix: "kabar"},
		Auth:        Auth{Mode: AuthStore, FailuresPerUser: 10, UsersPerAddress: 200, UpstreamPerAddress: 240},
		APNs:        APNs{Environment: APNsProduction},
		Android:     Android{Style: AndroidNotification},
		WebPush:     WebPush{Services: slices.Clone(pushServices)},
		Push: Push{
			InFlight:  InFlight{Urgent: 400, Chat: 300, Bulk: 300},
			LiveGrace: Duration(3 * time.Second),
			Dismiss:   true,
			RetryFor:  Duration(24 * time.Hour),
			Lease:     Duration(30 * time.Second),
		},
		Live:        Live{Frames: 20, ControlFrames: 20, Typing: Duration(time.Second)},
		Devices:     Devices{PerUser: 60, PerAddress: 6000},
		Dedupe:      Dedupe{Window: 7 * day},
		Attachments: Attachments{URL: "file://./attachments", PerUser: 120, PerAddress: 6000, Quota: 1024},
		Timezone:    "Asia/Jakarta",
		Locale:      "id",
		Retention:   Retention{Notifications: 90 * day, MaxNotifications: 1000},
		Log:         Log{Level: "info", Format: LogJSON},
	}
}

// Validate reports everything that is wrong, joined with errors.Join: each error begins
// with a key and says what is allowed. It also checks that the files that are named can be
// read. No error contains a secret.
func (c *Config) Validate() error { return c.problems().join() }

func (c *Config) problems() problems {
	var p problems
	p.address("listen", c.Listen)
	p.address("admin_listen", c.AdminListen)
	validateOrigins(&p, c.Origins)
	c.Proxies.validate(&p)
	c.Connections.validate(&p)
	c.Redis.validate(&p)
	c.Auth.validate(&p)
	validateServices(&p, c.Services, c.Webhooks.AllowPrivate)
	c.FCM.validate(&p, "fcm")
	c.APNs.validate(&p, "apns")
	validateApps(&p, c.Apps)
	c.Android.validate(&p)
	c.WebPush.validate(&p)
	c.Push.validate(&p)
	c.Live.validate(&p)
	c.Devices.validate(&p)
	c.Dedupe.validate(&p)
	c.Attachments.validate(&p)
	if _, err := location(c.Timezone); err != nil {
		p.add("timezone", "must be the name of a time zone, like Asia/Jakarta: %w", err)
	}
	p.oneOf("locale", c.Locale, "id", "en")
	p.folder("texts", c.Texts)
	c.Retention.validate(&p)
	validateTypes(&p, c.Types, c.AppNames(), c.Push.LinkSchemes)
	c.Log.validate(&p)
	return p
}

// Location returns the zone that Timezone names, or UTC for a name that
// Validate refuses.
func (c *Config) Location() *time.Location {
	zone, err := location(c.Timezone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// location refuses the two names that time.LoadLocation reads as something
// other than a place: "" and "Local".
func location(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q names no zone", name)
	}
	return time.LoadLocation(name)
}

// YAML returns the configuration as a file that Load understands, apart from
// the secrets, which are ***.
func (c *Config) YAML() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	return out.Bytes(), nil
}
