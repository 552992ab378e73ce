package broadcast

import "errors"

// ErrState reports that a broadcast cannot go from the state that it is in to the one
// that was asked for.
var ErrState = errors.New("the broadcast's state does not allow that")

// State is the lifecycle state of a broadcast.
type State string

// The states. The last three are final.
const (
	Scheduled State = "scheduled" // its time has not come
	Running   State = "running"
	Paused    State = "paused"
	Cancelled State = "cancelled"
	Done      State = "done"    // the whole audience was reached
	Expired   State = "expired" // it expired before that
)

// States that only Redis knows, beside Paused and the final ones.
const (
	preparing State = "preparing" // not accepted yet; callers do not see it
	active    State = "active"    // Scheduled or Running, depending on the time
)

// Over reports whether the state is final.
func (s State) Over() bool { return s == Cancelled || s == Done || s == Expired }
