package broadcast

import "errors"

// ErrState reports that a broadcast cannot go from the state that it is in to the one
// that was asked for.
var ErrState = errors.New("the broadcast's state does not allow that")

// A State is what a broadcast is doing.
type State string

// The states. Of the last three no other follows.
const (
	Scheduled State = "scheduled" // its time has not come
	Running   State = "running"
	Paused    State = "paused"
	Cancelled State = "cancelled"
	Done      State = "done"    // the whole audience was reached
	Expired   State = "expired" // its time was over before that
)

// States that only Redis knows, beside Paused and those that are over.
const (
	preparing State = "preparing" // not accepted yet; callers do not see it
	active    State = "active"    // Scheduled or Running, depending on the time
)

// Over reports whether no other state follows.
func (s State) Over() bool { return s == Cancelled || s == Done || s == Expired }
