package delivery

import (
	"cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// badDeviceToken is what an environment of APNs says of a token that is not of it, such as one
// of the other environment. So of a device that does not say its environment it is a word
// about the device only when both environments have said it: the other one is asked once for
// each registration, and the one that accepts a push is remembered.
const badDeviceToken push.Reason = "BadDeviceToken"

// ofOtherEnvironment are the answers of an environment of APNs for which our key or
// certificate is not.
var ofOtherEnvironment = map[push.Reason]bool{"BadEnvironmentKeyIdInToken": true, "BadCertificateEnvironment": true}

// route returns the way to a device.
func (w *Workers) route(d devices.Device) push.Route {
	r := push.Route{App: cmp.Or(d.App, push.DefaultApp), Platform: string(d.Platform)}
	if d.Platform != devices.IOS || d.Provider == devices.FCM {
		r.Environment = d.Environment // the push service of a browser; empty with FCM
		return r
	}
	r.Environment = cmp.Or(d.Environment, d.Learned, w.Environments[r.App], push.Production)
	if asksElsewhere(d) && w.apps[r.Elsewhere()] != nil {
		return r.Elsewhere()
	}
	return r
}

// asksElsewhere reports whether the next attempt asks the other environment.
func asksElsewhere(d devices.Device) bool { return d.Suspect != nil && d.Suspect.Elsewhere }

// elsewhere reports whether a BadDeviceToken that a device got by a route is to be followed by
// an attempt in the other environment.
func (w *Workers) elsewhere(d devices.Device, r push.Route) bool {
	return d.Platform == devices.IOS && d.Provider == "" && d.Environment == "" && !d.Missed && !asksElsewhere(d) && w.apps[r.Elsewhere()] != nil
}

// report tells the apps what the answer to a job shows. A BadDeviceToken is evidence against
// the environment that was asked first, once the other one has said it, too; a refusal of our
// key by the other one is no evidence.
func (l *line) report(j *job, r *push.Result) {
	t := attempt{lane: l.lane.lane, user: j.task.entry.User, device: j.device, started: j.started.Add(-j.task.ahead)}
	switch bad := r.Reason == badDeviceToken; {
	case bad && l.lane.w.elsewhere(j.device, j.route):
		t.silent = true
	case asksElsewhere(j.device) && (bad || ofOtherEnvironment[r.Reason]):
		if first := l.lane.w.apps[j.route.Elsewhere()]; first != nil {
			first.report(t, &push.Result{Outcome: push.DeadToken, Reason: badDeviceToken})
		}
		t.silent = true
	}
	l.app.report(t, r)
}
