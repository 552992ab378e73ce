package delivery

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A task delivers one entry that this process holds, to one device or several.
type task struct {
	key       outbox.Key
	heldSince time.Time
	entry     *outbox.Entry // nil when it could not be read
	poison    bool          // too many processes have taken it and ended
	again     bool          // there may have been an attempt before

	// The results of prefetch.
	devices   []devices.Device
	unreads   model.Unreads
	about     inbox.Subject       // what the tag names; see subject
	settings  inbox.Settings      // of the receiver
	attention inbox.MessageStatus // whether the receiver has seen the message
	shared    inbox.Text          // body and audience of a broadcast
	ahead     time.Duration       // Redis' clock minus this process's
	looked    time.Time           // when the facts were looked up, by Redis' clock
	owes      bool                // an iPhone is to be told with this push what was read
	shade     model.Shade         // what devices show, for a dismissal and a push that owes

	gone bool // the one device that is owed the push is not listed any more

	left atomic.Int32 // jobs that are not finished

	mu         sync.Mutex
	instead    string // the record's outcome of a push that is not sent, or ""
	outcomes   []byte // lines for the event's record
	delayed    []outbox.Delayed
	dead       []outbox.Dead
	amended    []amendment       // beside amendments
	amendments []outbox.Addition // to the listings of devices
	shown      map[string]int    // devices that show the push, with its badge; -1: none
	told       []model.Telling   // what devices were told of what was read
	accepted   int               // by providers, of a broadcast's pushes
	failed     map[string]int    // of a broadcast's pushes, by reason
}

// redisNow returns the time of the Redis that holds the task's receiver. Entries expire by
// that clock, because the gateways' clocks may differ.
func (w *Workers) redisNow(t *task) time.Time { return w.Now().Add(t.ahead) }

// A deviceOutcome is the entry of a record for one device.
type deviceOutcome struct {
	App      string `json:"app,omitempty"` // absent: the default one
	Platform string `json:"platform"`
	Provider string `json:"provider,omitempty"` // fcm for iOS by Firebase
	// Environment of APNs; absent: production.
	Environment string      `json:"environment,omitempty"`
	Outcome     string      `json:"outcome"`
	Reason      push.Reason `json:"reason,omitempty"`
	ProviderID  string      `json:"provider_id,omitempty"`
	Attempts    int         `json:"attempts"`
	At          int64       `json:"at"` // ms
	// Since (ms) and Why are given while the push waits for something that began then.
	Since int64       `json:"since,omitempty"`
	Why   push.Reason `json:"why,omitempty"`
}

// outcomeBy returns the outcome of a push by a route, to be filled in.
func outcomeBy(r push.Route) deviceOutcome {
	o := deviceOutcome{App: r.App, Platform: r.Platform, Environment: r.Environment}
	if o.App == push.DefaultApp {
		o.App = ""
	}
	switch {
	case o.Environment == push.Production:
		o.Environment = ""
	case o.Platform == string(devices.IOS) && o.Environment == "":
		o.Provider = string(devices.FCM)
	}
	return o
}

// route returns the way that the push took, and the zero Route if it was not to take any.
func (o *deviceOutcome) route() push.Route {
	r := push.Route{App: cmp.Or(o.App, push.DefaultApp), Platform: o.Platform, Environment: o.Environment}
	switch devices.Platform(o.Platform) {
	case "":
		return push.Route{}
	case devices.IOS:
		if o.Provider == string(devices.FCM) {
			break
		}
		r.Environment = cmp.Or(o.Environment, push.Production)
	}
	return r
}

// note adds the outcome on a device to the event's record.
func (t *task) note(device string, o deviceOutcome) {
	if device == "" {
		return
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("marshal device outcome: %v", err)) // plain strings and numbers always marshal
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcomes = append(t.outcomes, inbox.DeviceOutcome(device, string(b))...)
}

// skip notes why the push is not sent, or not yet.
func (t *task) skip(why string) {
	t.note(t.entry.Owed, deviceOutcome{Outcome: why, Attempts: t.entry.Attempt})
	if t.entry.Owed == "" {
		t.instead = why
	}
}

// delay has an entry wait for another attempt.
func (t *task) delay(d outbox.Delayed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entry.Dismisses() {
		if d.Entry.Attempt >= maxDismissals {
			return
		}
		d.Entry = d.Entry.Again()
	}
	t.delayed = append(t.delayed, d)
}

// amend changes the listing of a device when the task is settled, unless it has changed by
// then.
func (t *task) amend(a amendment, keys []string, args []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.amended = append(t.amended, a)
	t.amendments = append(t.amendments, outbox.Addition{Fragment: amendFragment.Name, Keys: keys, Args: args})
}

// An amendment is the device whose listing changes when its task is settled.
type amendment struct {
	device      devices.Device
	accepted    bool   // because a push to it was accepted
	environment string // of APNs, in which it was accepted
}

// accept counts an accepted push.
func (t *task) accept() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted++
}

// fail counts a push that is not tried any more and leaves no dead letter.
func (t *task) fail(reason push.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.countFailed(reason)
}

// bury makes a dead letter of an entry's value, for one device or, with "" and the zero
// Route, for all devices of the user. It drops a dismissal.
func (t *task) bury(device string, route push.Route, reason push.Reason, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entry != nil && t.entry.Dismisses() { // the next one says what this one would have said
		return
	}
	t.dead = append(t.dead, outbox.Dead{Device: device, Route: route, Reason: string(reason), Value: value})
	t.countFailed(reason)
}

// countFailed counts a push that is not tried any more. The caller holds t.mu.
func (t *task) countFailed(reason push.Reason) {
	if t.failed == nil {
		t.failed = make(map[string]int)
	}
	t.failed[string(reason)]++
}

// broadcast returns the key of the broadcast that the entry is of, if it is of one.
func (t *task) broadcast() (key string, ok bool) {
	if t.entry == nil {
		return "", false
	}
	return inbox.ParseReference(t.entry.Body)
}

// body returns the stored body that the entry holds or refers to.
func (t *task) body() []byte {
	if _, ok := t.broadcast(); ok {
		return t.shared.Body
	}
	return []byte(t.entry.Body)
}

// progress returns the outcome of the event's pushes as a whole, for the record.
func (t *task) progress() string {
	switch {
	case t.instead != "":
		return t.instead
	case len(t.delayed) > 0:
		return "retrying"
	case len(t.dead) > 0:
		return "dead"
	}
	return "done"
}
