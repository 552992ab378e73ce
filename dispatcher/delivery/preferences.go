package delivery

import (
	"cmp"
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// The receiver's preferences affect pushes alone: lists, counters and live sockets show
// everything at once.

// quietSpread is the time over which promotions are spread when the quiet hours of many
// users end at the same minute.
const quietSpread = 10 * time.Minute

// muted reports whether pushes of a type are muted on a device.
func (w *Workers) muted(p devices.Preferences, eventType string) bool {
	return p.IsOff(eventType) || p.IsOff(event.AllPromos) && w.Types.Spec(eventType).Promo
}

// wanting returns the devices that get the push. It leaves out devices outside of the
// broadcast's audience, those of apps that the event is not for, and those that mute the
// push's type.
func (l *lane) wanting(t *task) []devices.Device {
	e := t.entry
	includes := l.audience(t)
	apps := e.Apps
	if apps == nil {
		apps = l.w.Types.Spec(e.Type).Apps
	}
	wanting, muted := t.devices[:0], false
	t.gone = e.Owed != ""
	for _, device := range t.devices {
		t.gone = t.gone && device.ID != e.Owed
		switch {
		case e.Owed != "" && device.ID != e.Owed, !includes(device):
		case apps != nil && !slices.Contains(apps, cmp.Or(device.App, push.DefaultApp)):
		case l.w.muted(device.Preferences, e.Type):
			muted = true
			o := outcomeBy(l.w.route(device))
			o.Outcome, o.Attempts, o.At = "muted", e.Attempt, l.w.Now().UnixMilli()
			t.note(device.ID, o)
		default:
			wanting = append(wanting, device)
		}
	}
	if muted && len(wanting) == 0 && e.Owed == "" {
		t.instead = "muted"
	}
	return wanting
}

// visible leaves out browsers if the push shows nothing: a browser lets nobody send such
// pushes, and ends the subscription after a few.
func (w *Workers) visible(t *task, wanting []devices.Device, silent bool) []devices.Device {
	if !silent {
		return wanting
	}
	phones := wanting[:0]
	for _, device := range wanting {
		if device.Platform != devices.Web {
			phones = append(phones, device)
			continue
		}
		o := outcomeBy(w.route(device))
		o.Outcome, o.Attempts, o.At = outcomeSilent, t.entry.Attempt, w.Now().UnixMilli()
		t.note(device.ID, o)
	}
	if len(phones) == 0 && t.entry.Owed == "" {
		t.instead = outcomeSilent
	}
	return phones
}

// audience returns a function that reports whether a device is in the audience of a
// task's broadcast. Tasks that are not of a broadcast include every device.
func (l *lane) audience(t *task) func(devices.Device) bool {
	everyone := func(devices.Device) bool { return true }
	if _, ok := t.broadcast(); !ok {
		return everyone
	}
	includes, err := l.w.Broadcasts.ParseAudience(t.shared.Audience)
	if err != nil { // push to everyone rather than to nobody
		l.w.Log.Error("a broadcast's audience cannot be read", "lane", l.lane, "id", t.key.ID, "error", err)
		return everyone
	}
	return includes
}

// quiet delays a promotion to the end of the receiver's quiet hours, and reports whether
// it did; one that expires before is dropped.
func (w *Workers) quiet(t *task) bool {
	e := t.entry
	by := w.quietFor(t)
	switch {
	case by == 0:
		return false
	case w.redisNow(t).Add(by).UnixMilli() > e.Expires:
		t.skip("expired")
	default:
		later := *e
		later.Quiet = true
		later.Until = min(e.Until+by.Milliseconds(), e.Expires) // the time to retry begins in the morning
		t.skip("quiet")
		t.delay(outbox.Delayed{Entry: &later, By: by})
	}
	return true
}

// quietFor returns how long the push waits because of the receiver's quiet hours: 0
// outside of them, and for everything but promotions.
func (w *Workers) quietFor(t *task) time.Duration {
	q := t.settings.Quiet
	if q.None() || !w.Types.Spec(t.entry.Type).Promo {
		return 0
	}
	now := w.Now()
	zone, _ := t.settings.Zone(w.Location)
	end, quiet := q.End(now.In(zone))
	if !quiet {
		return 0
	}
	return end.Sub(now) + spread(t.entry.User, min(quietSpread, q.Pause()))
}

// spread returns a time below limit that depends on the user, so that the times of many
// users are spread evenly.
func spread(user int64, limit time.Duration) time.Duration {
	const golden = 0x9e3779b97f4a7c15 // Fibonacci hashing: 2^64 divided by the golden ratio
	share := float64(uint64(user)*golden) / (1 << 64)
	return time.Duration(share * float64(limit))
}

// conceal returns a delivery that hides its content on a locked phone: in the urgent lane,
// a text that names only the kind of event replaces the message, in data, too, and title,
// buttons and the event's presentation are left out: the defaults of its type say no more
// than the text. Data says so with "private" and keeps its details, which only the app sees.
func (w *Workers) conceal(l text.Locale, d push.Delivery) push.Delivery {
	if d.Lane != push.Urgent {
		return d
	}
	id := "private.news"
	switch d.Type {
	case "transaction", "nego", "dompet":
		id = "private." + d.Type
	}
	if !d.Silent() {
		d.Body = w.Texts.Text(l, id, text.Args{})
	}
	d.Title = ""
	d.Presentation = presented(push.Presentation{}, d.Type, w.Types.Spec(d.Type))
	data := make([]push.Field, 0, len(d.Data)+1)
	for _, f := range d.Data {
		switch f.Name {
		case "message":
			f.Value = jsonscan.AppendString(nil, d.Body)
		case push.FieldImage, push.FieldLink:
			continue
		}
		data = append(data, f)
	}
	d.Data = append(data, push.Field{Name: "private", Value: []byte("true")})
	return d
}
