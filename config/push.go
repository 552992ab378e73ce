package config

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Push configures the delivery of pushes.
type Push struct {
	InFlight    InFlight `yaml:"in_flight"`
	LinkSchemes []string `yaml:"link_schemes" doc:"schemes that links of events may have beside https, such as shop for shop://cart; the variable takes a,b,…"`
	LiveGrace   Duration `yaml:"live_grace" doc:"how long a chat push waits for a live socket of the receiver to show the message; 0 to 1m, 0 is off"`
	Dismiss     bool     `yaml:"dismiss" doc:"whether what is read on one device is taken down on the user's others"`
	RetryFor    Duration `yaml:"retry_for" doc:"how long a push is retried, unless the event's own TTL is shorter, before it becomes a dead letter; 1m to 28d"`
	Lease       Duration `yaml:"lease" doc:"how long another process waits before it takes over the work of a dead one; 2s to 30s"`
}

// InFlight bounds the requests that one process has under way, per lane and for
// each provider.
type InFlight struct {
	Urgent int `yaml:"urgent" doc:"requests under way to each provider in the urgent lane, a process; 1 to 10000"`
	Chat   int `yaml:"chat" doc:"requests under way to each provider in the chat lane, a process; 1 to 10000"`
	Bulk   int `yaml:"bulk" doc:"requests under way to each provider in the bulk lane, a process; 1 to 10000"`
}

var (
	linkScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,31}$`)
	// unsafeSchemes are open to everybody who reads along, or run or read what they name.
	unsafeSchemes = []string{"http", "ws", "javascript", "vbscript", "data", "blob", "file", "content", "intent", "about"}
)

// maxRetry is as long as FCM keeps a message for a phone that is away.
const maxRetry = 28 * day

func (c Push) validate(p *problems) {
	p.between("push.in_flight.urgent", c.InFlight.Urgent, 1, 10000)
	p.between("push.in_flight.chat", c.InFlight.Chat, 1, 10000)
	p.between("push.in_flight.bulk", c.InFlight.Bulk, 1, 10000)
	p.within("push.live_grace", c.LiveGrace, 0, Duration(time.Minute))
	p.within("push.retry_for", c.RetryFor, Duration(time.Minute), maxRetry)
	for i, scheme := range c.LinkSchemes {
		key := fmt.Sprintf("push.link_schemes[%d]", i)
		p.matches(key, scheme, linkScheme, "a scheme in lower case without a colon, like shop")
		if slices.Contains(unsafeSchemes, scheme) {
			p.add(key, "must be a scheme of your apps, not %q", scheme)
		}
	}
	p.within("push.lease", c.Lease, Duration(2*time.Second), Duration(30*time.Second))
}
