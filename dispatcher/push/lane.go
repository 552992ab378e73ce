package push

import (
	"fmt"
)

// A Lane is one of three separate ways from the outbox to the providers.
// Lanes share neither queue, nor workers, nor in-flight budget, nor connections
// (guarantee G5), so money never waits behind promotions.
type Lane uint8

// The lanes, in the order in which a provider's request to slow down spares
// them: bulk slows first and urgent last.
const (
	Urgent Lane = iota // transaction, nego, dompet
	Chat               // message
	Bulk               // everything else, broadcasts
)

// Lanes lists every lane.
var Lanes = [...]Lane{Urgent, Chat, Bulk}

var laneNames = [...]string{"urgent", "chat", "bulk"}

// String returns the lane's name as it stands in keys, metrics and configuration.
func (l Lane) String() string { return laneNames[l] }

// ParseLane is the inverse of String.
func ParseLane(s string) (Lane, error) {
	for _, l := range Lanes {
		if l.String() == s {
			return l, nil
		}
	}
	return 0, fmt.Errorf("lane %q is none of urgent, chat, bulk", s)
}
