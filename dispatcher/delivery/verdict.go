package delivery

import (
	"math"
	"time"

	"github.com/kabar-gateway/kabar/devices"
)

// The rules for devices whose token a provider calls dead (guarantee G11): pure functions.

const (
	recheckAfter = time.Minute         // between the first verdict and an attempt whose verdict counts, at least
	stormRecheck = time.Hour           // the same during a storm of verdicts
	fewRecheck   = 24 * time.Hour      // the same when nothing else was accepted since the first verdict
	maxRecheck   = time.Hour           // between two rechecks at most
	behind       = 2 * time.Second     // how long after the recheck other pushes to the device follow
	lostRecheck  = 10 * time.Second    // after which another push does the recheck
	current      = 30 * 24 * time.Hour // devices that were accepted within this time count in storms
	trialEvery   = 24 * time.Hour      // between two pushes to a suspended device
	few          = 5
	settling     = 5 * time.Second // acceptances from before an outage may be noted so late
)

// A storm is how many devices of an app were attempted in the last ten minutes, and how
// many of them were called dead. Only current devices count. With it comes when the app's
// newest push was accepted.
type storm struct {
	attempted, dead int
	accepted        time.Time
	since           time.Time // when gateways began to note what was accepted
}

// lasts reports whether so many devices are called dead that the fault may be the
// provider's: more than five, and more than 5 %.
func (s storm) lasts() bool { return s.dead > few && s.dead*20 > s.attempted }

// everybody reports whether practically all devices are called dead. Then nobody is
// forgotten.
func (s storm) everybody() bool { return s.lasts() && s.dead*20 >= s.attempted*19 }

// everybodyOfFew reports whether all of a few devices are called dead.
func (s storm) everybodyOfFew() bool {
	return s.dead > 0 && s.attempted <= few && s.dead >= s.attempted
}

// isCurrent reports whether the provider has accepted a push to the device within 30 days.
// It assumes so of a device that was registered before gateways began to note that.
func isCurrent(d devices.Device, now, since time.Time) bool {
	if d.AcceptedDay == 0 {
		return d.RegisteredAt().Before(since) && now.Sub(since) < current
	}
	return devices.Day(now)-d.AcceptedDay <= int(current/(24*time.Hour))
}

// wasAccepted reports whether the provider has ever accepted a push to the device, or may
// have before gateways began to note that.
func wasAccepted(d devices.Device, since time.Time) bool {
	return d.AcceptedDay != 0 || d.RegisteredAt().Before(since)
}

// judge returns the device after a provider has called its token dead in an attempt that
// began at started, and whether the device is to be forgotten. A first verdict makes the
// device suspect. A second one counts if its attempt began late enough after the first.
// Devices that were never accepted are judged regardless of a storm, so that made-up tokens
// go whatever their share is.
func judgeDevice(d devices.Device, reason string, started, now time.Time, s storm) (after devices.Device, forget bool) {
	if d.Suspect == nil {
		d.Suspect = &devices.Suspect{
			Since: now.UnixMilli(), Next: now.Add(recheckAfter).UnixMilli(), Reason: reason,
		}
		return d, false
	}
	since := time.UnixMilli(d.Suspect.Since)
	if started.Sub(since) >= patience(wasAccepted(d, s.since), since, s) {
		return d, true
	}
	suspect := *d.Suspect
	step := min(max(now.Sub(since), recheckAfter), maxRecheck)
	suspect.Next = now.Add(step).UnixMilli()
	d.Suspect = &suspect
	return d, false
}

// patience returns how long after the first verdict an attempt must begin for its verdict to
// count.
func patience(accepted bool, since time.Time, s storm) time.Duration {
	switch {
	case !accepted:
		return recheckAfter
	case s.everybody():
		return math.MaxInt64
	case s.lasts():
		return stormRecheck
	case s.everybodyOfFew(), !s.accepted.After(since.Add(settling)): // nothing shows that the provider knows any token
		return fewRecheck
	}
	return recheckAfter
}

// cleared returns the device after the provider has accepted a push to it in an environment.
func cleared(d devices.Device, now time.Time, environment string) devices.Device {
	d.AcceptedDay = max(d.AcceptedDay, devices.Day(now))
	d.Suspect, d.Suspended, d.TriedAt, d.Missed = nil, "", 0, false
	if d.Environment == "" {
		d.Learned = environment
	}
	return d
}

// suspectWait returns how long a push to a suspect device waits: until shortly after the
// recheck, but no longer than a few minutes at a time, since the device may be registered
// anew meanwhile. It is 0 for the push that is the recheck, and for one that finds the
// recheck overdue.
func suspectWait(d devices.Device, recheck bool, now time.Time) time.Duration {
	if d.Suspect == nil || recheck {
		return 0
	}
	next := time.UnixMilli(d.Suspect.Next)
	if now.Sub(next) >= lostRecheck {
		return 0
	}
	return min(max(next.Sub(now), 0)+behind, maxSlow)
}

// trialDue reports whether a suspended device may get a push again, to see whether the
// provider accepts it.
func trialDue(d devices.Device, now time.Time) bool {
	return d.Suspended != "" && now.Sub(time.UnixMilli(d.TriedAt)) >= trialEvery
}
