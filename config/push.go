package config

import "time"

// Push configures the delivery of pushes.
type Push struct {
	InFlight  InFlight `yaml:"in_flight"`
	LiveGrace Duration `yaml:"live_grace" doc:"how long a chat push waits for a live socket of the receiver to show the message; 0 to 1m, 0 is off"`
	RetryFor  Duration `yaml:"retry_for" doc:"how long a push is retried, unless the event's own TTL is shorter, before it becomes a dead letter; 1m to 28d"`
	Lease     Duration `yaml:"lease" doc:"how long another process waits before it takes over the work of a dead one; 2s to 30s"`
}

// InFlight bounds the requests that one process has under way, per lane and for
// each provider.
type InFlight struct {
	Urgent int `yaml:"urgent" doc:"requests under way to each provider in the urgent lane, a process; 1 to 10000"`
	Chat   int `yaml:"chat" doc:"requests under way to each provider in the chat lane, a process; 1 to 10000"`
	Bulk   int `yaml:"bulk" doc:"requests under way to each provider in the bulk lane, a process; 1 to 10000"`
}

// maxRetry is as long as FCM keeps a message for a phone that is away.
const maxRetry = 28 * day

func (c Push) validate(p *problems) {
	p.between("push.in_flight.urgent", c.InFlight.Urgent, 1, 10000)
	p.between("push.in_flight.chat", c.InFlight.Chat, 1, 10000)
	p.between("push.in_flight.bulk", c.InFlight.Bulk, 1, 10000)
	p.within("push.live_grace", c.LiveGrace, 0, Duration(time.Minute))
	p.within("push.retry_for", c.RetryFor, Duration(time.Minute), maxRetry)
	p.within("push.lease", c.Lease, Duration(2*time.Second), Duration(30*time.Second))
}
