package push

import (
	"fmt"
	"log/slog"
)

// A Lane is one of three separate paths from the outbox to the providers. Lanes share
// neither queues, workers, limits of requests in flight nor connections (guarantee G5),
// so that payments never wait behind promotions.
type Lane uint8

// The lanes, by priority: when a provider asks us to slow down, the last one pauses
// first.
const (
	Urgent Lane = iota // transaction, nego, dompet
	Chat               // message
	Bulk               // everything else, broadcasts
)

// Lanes lists all lanes, by priority.
var Lanes = [...]Lane{Urgent, Chat, Bulk}

var laneNames = [...]string{"urgent", "chat", "bulk"}

// String returns the lane's name in Redis keys, metrics and the configuration. It panics
// for a value that is none of [Lanes].
func (l Lane) String() string { return laneNames[l] }

// LogValue implements [slog.LogValuer]: every handler logs the lane's name. The JSON handler
// would log its number otherwise.
func (l Lane) LogValue() slog.Value { return slog.StringValue(l.String()) }

// ParseLane is the inverse of [Lane.String].
func ParseLane(s string) (Lane, error) {
	for _, l := range Lanes {
		if l.String() == s {
			return l, nil
		}
	}
	return 0, fmt.Errorf("lane %q is none of urgent, chat, bulk", s)
}
