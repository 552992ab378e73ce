package dispatcher

import (
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// What the receiver prefers decides over pushes alone: lists, counters and live sockets
// have everything at once.

// promoSwitch is the switch of all promotions together.
const promoSwitch = "promo"

// morning is the time over which the promotions of quiet hours are spread that end at
// the same minute for many users.
const morning = 10 * time.Minute

// Switches returns the names of what can be switched off on a device, sorted: every
// type that is pushed, and "promo" for all promotions together.
func (d *Dispatcher) Switches() []string {
	names := []string{promoSwitch}
	for name, k := range d.parser.kinds {
		if k.worth > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// muted reports whether pushes of a type are switched off.
func (d *Dispatcher) muted(p devices.Preferences, eventType string) bool {
	return p.IsOff(eventType) || p.IsOff(promoSwitch) && d.parser.kinds[eventType].promo
}

// wanting returns the devices that the push is for, without those that are not of a
// broadcast's audience or on which its type is switched off.
func (l *lane) wanting(w *work) []devices.Device {
	e := w.entry
	audience, err := readAudience(w.text.Audience)
	if err != nil { // everyone's, rather than nobody's
		l.d.Log.Error("a broadcast's audience cannot be read", "lane", l.lane, "id", w.key.id, "error", err)
	}
	wanting, muted := w.devices[:0], false
	for _, device := range w.devices {
		switch {
		case e.Owed != "" && device.ID != e.Owed, !audience.device(device):
		case l.d.muted(device.Preferences, e.Type):
			muted = true
			w.note(device.ID, deviceStatus{
				Platform: device.Platform, Outcome: "muted", Attempts: e.Attempt, At: l.d.Now().UnixMilli(),
			})
		default:
			wanting = append(wanting, device)
		}
	}
	if muted && len(wanting) == 0 && e.Owed == "" {
		w.instead = "muted"
	}
	return wanting
}

// quiet puts a promotion off to the end of the receiver's quiet hours, and reports
// whether it did; when it will not be worth sending any more then, it is dropped.
func (l *lane) quiet(w *work) bool {
	e := w.entry
	by := l.d.quietFor(w)
	switch {
	case by == 0:
		return false
	case l.d.Now().Add(by).UnixMilli() > e.Expires:
		w.drop("expired")
	default:
		later := *e
		later.Until = min(e.Until+by.Milliseconds(), e.Expires) // the time to retry begins in the morning
		w.drop("quiet")
		w.delay(&later, by)
	}
	return true
}

// quietFor returns how long the push waits because of the receiver's quiet hours: 0
// outside of them, and for everything but promotions.
func (d *Dispatcher) quietFor(w *work) time.Duration {
	q := w.settings.Quiet
	if q.None() || !d.parser.kinds[w.entry.Type].promo {
		return 0
	}
	now := d.Now()
	zone, _ := w.settings.Zone(d.Location)
	end, quiet := q.End(now.In(zone))
	if !quiet {
		return 0
	}
	return end.Sub(now) + spread(w.entry.User, min(morning, q.Pause()))
}

// spread returns a time below the given one that is the user's own, so that those of
// many users are spread evenly.
func spread(user int64, most time.Duration) time.Duration {
	const golden = 0x9e3779b97f4a7c15 // Fibonacci hashing: 2^64 divided by the golden ratio
	share := float64(uint64(user)*golden) / (1 << 64)
	return time.Duration(share * float64(most))
}

// conceal returns a delivery that says nothing of money where a phone shows it without
// being unlocked: for the urgent lane, a text that names the kind of news alone, in data
// too, no title, and no buttons. Data says so with "private" and keeps its details,
// which only the app sees.
func (d *Dispatcher) conceal(l text.Locale, r push.Delivery) push.Delivery {
	if r.Lane != push.Urgent {
		return r
	}
	id := "private.news"
	switch r.Type {
	case "transaction", "nego", "dompet":
		id = "private." + r.Type
	}
	if !r.Silent() {
		r.Body = d.Texts.Text(l, id, text.Args{})
	}
	r.Title, r.Category = "", ""
	data := make([]push.Field, 0, len(r.Data)+1)
	for _, f := range r.Data {
		if f.Name == "message" {
			f.Value = jsonscan.AppendString(nil, r.Body)
		}
		data = append(data, f)
	}
	r.Data = append(data, push.Field{Name: "private", Value: []byte("true")})
	return r
}
