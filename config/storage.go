package config

import (
	"regexp"
	"time"
)

// Dedupe configures how long a repeated event is recognised.
type Dedupe struct {
	Window Duration `yaml:"window" doc:"how long a repeated event or message is recognised and stored only once; 1m to 30d"`
}

func (c Dedupe) validate(p *problems) {
	p.within("dedupe.window", c.Window, Duration(time.Minute), 30*day)
}

// Attachments configures where files sent in chats are kept.
type Attachments struct {
	URL        URL    `yaml:"url" doc:"bucket for files sent in chats: file://./folder, file:///folder, s3://bucket?region=… or mem://"`
	PerUser    int    `yaml:"per_user" doc:"files that a user may upload in any hour, half of them at once; 0 to 100000, 0 is no limit"`
	PerAddress int    `yaml:"per_address" doc:"the same for all users of one public IP address (of IPv6 the /64); 0 to 1000000, 0 is no limit"`
	Quota      int    `yaml:"quota" doc:"MiB that the files of a user may take; 0 to 1048576, 0 is no limit"`
	PublicURL  string `yaml:"public_url" doc:"where clients reach Kabar, such as https://chat.example.com, for the addresses of files and of the default avatar; empty: as the request did"`
}

var bucketURL = regexp.MustCompile(`^(mem://|[a-z][a-z0-9+.-]*://.)`)

func (c Attachments) validate(p *problems) {
	if !bucketURL.MatchString(c.URL.Reveal()) {
		p.add("attachments.url", "must be a bucket URL, like file://./attachments or s3://bucket")
	}
	p.between("attachments.per_user", c.PerUser, 0, 100_000)
	p.between("attachments.per_address", c.PerAddress, 0, 1_000_000)
	p.between("attachments.quota", c.Quota, 0, 1<<20)
	if c.PublicURL != "" {
		p.url("attachments.public_url", c.PublicURL, "http", "https")
	}
}

// Retention configures how long users' data is kept.
type Retention struct {
	Notifications    Duration `yaml:"notifications" doc:"age at which a notification is removed; 1d to 3650d"`
	Messages         Duration `yaml:"messages" doc:"age at which a message, and a file sent in a chat, is removed; 1d to 3650d, 0 keeps them for ever"`
	MaxNotifications int      `yaml:"max_notifications" doc:"notifications kept per user, the newest; 10 to 100000"`
}

const longest = 3650 * day

func (c Retention) validate(p *problems) {
	p.within("retention.notifications", c.Notifications, day, longest)
	if c.Messages != 0 && (c.Messages < day || c.Messages > longest) {
		p.add("retention.messages", "must be 0 (for ever) or between %v and %v, not %v", day, longest, c.Messages)
	}
	p.between("retention.max_notifications", c.MaxNotifications, 10, 100000)
}
