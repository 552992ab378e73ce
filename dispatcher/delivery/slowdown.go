package delivery

import (
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// The rules for lanes that slow down: pure functions.

const (
	slowFor     = time.Minute      // how long a lane pauses when the provider does not say
	maxSlow     = 5 * time.Minute  // how long it pauses at most
	slowWindow  = 30 * time.Second // answers to a quorum of users within it mean the project
	reopenFirst = 5                // pushes a second and gateway after a pause; doubles each second
	reopenFor   = 10 * time.Second // after which there is no limit any more
)

// A slowdown is the state of an app whose provider asks to send less, as Redis keeps it for
// all gateways.
type slowdown struct {
	Pauses [len(push.Lanes)]pause `json:"pauses"`
}

// A pause is the time in which a lane sends nothing.
type pause struct {
	Since int64 `json:"since,omitempty"` // ms
	Until int64 `json:"until,omitempty"` // ms
}

// slowed returns the state after the provider has asked to slow down, in an answer to a push
// of lane l whose request began at started, and the lane that pauses; ok is false if none
// does. Bulk pauses first. Chat pauses when a push that was sent after bulk had paused is
// still told so. Urgent never pauses: a push that was told so waits alone.
func (s slowdown) slowed(now time.Time, l push.Lane, started time.Time, retryAfter time.Duration) (next slowdown, paused push.Lane, ok bool) {
	if retryAfter <= 0 {
		retryAfter = slowFor
	}
	until := now.Add(min(retryAfter, maxSlow)).UnixMilli()
	for lane := push.Bulk; lane > push.Urgent; lane-- {
		p := &s.Pauses[lane]
		paused := now.UnixMilli() < p.Until
		switch {
		case paused && p.Since >= started.UnixMilli():
			return s, lane, false // the answer is older than the pause
		case paused && lane > l:
			continue
		}
		p.Since, p.Until = now.UnixMilli(), max(p.Until, until)
		return s, lane, true
	}
	return s, push.Urgent, false
}

// wait returns how long a push of a lane waits because the lane pauses.
func (s slowdown) wait(l push.Lane, now time.Time) time.Duration {
	return max(0, time.Duration(s.Pauses[l].Until-now.UnixMilli())*time.Millisecond)
}

// allowance returns how many pushes of a lane a gateway may attempt in the current second,
// since a lane starts with a few pushes after a pause; ok is false if there is no limit.
func (s slowdown) allowance(l push.Lane, now time.Time) (n int, ok bool) {
	over := time.Duration(now.UnixMilli()-s.Pauses[l].Until) * time.Millisecond
	if s.Pauses[l].Until == 0 || over >= reopenFor {
		return 0, false
	}
	return reopenFirst << max(0, int(over/time.Second)), true
}

// over reports whether no lane pauses or starts again.
func (s slowdown) over(now time.Time) bool {
	for _, l := range push.Lanes {
		if _, limited := s.allowance(l, now); limited {
			return false
		}
	}
	return true
}
