package delivery

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// The rules for circuits: pure functions of what all gateways have seen of an app. Each app
// and environment at a provider has one circuit; see doc.go.

const (
	// window is how long evidence counts.
	window = 10 * time.Minute
	// quorum is how many distinct users must be affected before the fault is the app's.
	quorum = 3
	// contradicts is how long an acceptance contradicts evidence.
	contradicts = time.Minute

	firstProbe   = time.Second      // the first probe comes after this to twice as long
	maxProbe     = time.Minute      // between two probes at most
	probeTimeout = 15 * time.Second // for asking the provider
	trials       = 3                // pushes of each lane that are made due when a circuit is half-open
	trialTime    = 3 * time.Second  // how long a probe waits for the answers to them
)

// evidence is what all gateways have seen of an app within the window.
type evidence struct {
	accepted  time.Time // of the newest acceptance; zero: nothing was ever accepted
	attempted int       // distinct users to whom pushes were attempted
	blaming   []int64   // distinct users whose newest answer is evidence, a quorum at most; see blames
}

// opens reports whether evidence alone opens the circuit: a quorum of distinct users is
// affected, or everybody to whom a push was attempted if they are fewer, and no push was
// accepted within the last minute.
func (e evidence) opens(now time.Time) bool {
	n := len(e.blaming)
	return n > 0 && n >= min(quorum, e.attempted) && now.Sub(e.accepted) > contradicts
}

// blames reports whether an answer is evidence against the app. known says that a push to
// the device was accepted before. An answer to a token that was never accepted is none, unless the app has accepted nothing yet: everybody can
// register a made-up token.
func blames(r *push.Result, known, anyAccepted bool) bool {
	switch r.Outcome {
	case push.Ambiguous, push.Unsendable:
	case push.DeadToken:
		if !fromWrongTopic[r.Reason] {
			return false
		}
	default:
		return false
	}
	return known || !anyAccepted
}

// fromWrongTopic are the reasons for calling a token dead that a wrong topic or environment
// in our configuration causes, too.
var fromWrongTopic = map[push.Reason]bool{"BadDeviceToken": true, "DeviceTokenNotForTopic": true}

// recognises reports whether an answer shows that the provider accepts our credentials and
// configuration, so that a trial push which gets it closes the circuit.
func recognises(r *push.Result) bool {
	switch r.Outcome {
	case push.Accepted, push.Refused:
		return true
	case push.DeadToken:
		return !fromWrongTopic[r.Reason]
	case push.SlowDown:
		return r.Scope == push.ScopeDevice
	}
	return false
}

// A circuit is the state of an open circuit, as Redis keeps it for all gateways.
type circuit struct {
	Since       int64       `json:"since"` // ms
	Why         push.Reason `json:"why"`
	Credentials bool        `json:"credentials,omitempty"` // the credentials were refused; otherwise evidence has opened it
	Users       []int64     `json:"users,omitempty"`       // whose pushes were the evidence, a quorum at most
	Anyone      bool        `json:"anyone,omitempty"`      // pushes to these users are tried, too, in this probe
	Delay       int64       `json:"delay"`                 // ms between the last two probes
	Probe       int64       `json:"probe"`                 // ms: when to probe next
}

// openCircuit returns a circuit that opens now.
func openCircuit(now time.Time, why push.Reason, users []int64) *circuit {
	delay := firstProbe + rand.N(firstProbe)
	return &circuit{
		Since: now.UnixMilli(), Why: why, Credentials: users == nil, Users: users[:min(quorum, len(users))],
		Delay: delay.Milliseconds(), Probe: now.Add(delay).UnixMilli(),
	}
}

// due reports whether the circuit may be probed.
func (c *circuit) due(now time.Time) bool { return now.UnixMilli() >= c.Probe }

// claimed returns the circuit while a gateway probes it, so that no other one does.
func (c *circuit) claimed(now time.Time) *circuit {
	next := *c
	next.Probe = now.Add(2 * probeTimeout).UnixMilli()
	return &next
}

// failed returns the circuit after a probe without success. tried says that something
// waited that could be tried; otherwise the circuit stays ready for what comes.
func (c *circuit) failed(now time.Time, tried bool) *circuit {
	next := *c
	next.Anyone = !c.Anyone
	if tried {
		next.Delay = min(2*c.Delay, maxProbe.Milliseconds())
		next.Probe = now.UnixMilli() + next.Delay
	} else {
		next.Probe = now.Add(firstProbe).UnixMilli()
	}
	return &next
}

// tries reports whether a push to a user that was made due may be attempted: to those who
// have opened the circuit only in every other probe, so that they do not stand in the way
// of others.
func (c *circuit) tries(user int64) bool {
	return !c.Credentials && (c.Anyone || !slices.Contains(c.Users, user))
}

// contestable reports whether a push to the user may be attempted although the circuit is
// open: fewer users than a quorum have opened it, and this user is none of them. So one user
// cannot stop others on a quiet platform.
func (c *circuit) contestable(user int64) bool {
	return !c.Credentials && len(c.Users) < quorum && !slices.Contains(c.Users, user)
}
