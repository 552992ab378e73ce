package dispatcher

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// metrics holds the metrics of publishing.
type metrics struct {
	accepted *prometheus.CounterVec // by type
	stored   *prometheus.CounterVec // by type
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"type"})
		reg.MustRegister(c)
		return c
	}
	return &metrics{
		accepted: counter("kabar_events_accepted_total", "Events answered with success, repeats included."),
		stored:   counter("kabar_events_stored_total", "Events stored, one for each receiver."),
	}
}

// A Published is the result of publishing one event.
type Published struct {
	ID        string // the event's id
	Duplicate bool   // every receiver had it already
	Err       error  // inbox.ErrConflict, or why storing failed: repeating is safe
}

// maxStored is the number of notifications that are stored in one round trip; it bounds the
// memory that a request with many receivers takes.
const maxStored = 128

// Publish stores events of a source (see event.ServiceSource) for each of their receivers,
// once, and leaves their pushes in the outbox. An event with a time At is kept until then, and
// its id is reserved. Results are in the order of the events. An event succeeded when it is
// stored for every receiver.
func (d *Dispatcher) Publish(ctx context.Context, source string, events ...*event.Event) []Published {
	p := publishing{d: d, service: d.reports.Service(source), results: make([]Published, len(events)), events: events}
	for n, e := range events {
		p.results[n] = Published{ID: e.ID, Duplicate: true}
		if !e.At.IsZero() {
			p.results[n] = d.scheduleEvent(ctx, source, e)
			continue
		}
		p.origin = d.reports.Origin(source, e.ID, e.CloudSource())
		p.add(ctx, n, e.Key(source))
	}
	p.store(ctx)
	for n, r := range p.results {
		if r.Err == nil {
			d.metrics.accepted.WithLabelValues(events[n].Type).Inc()
		}
	}
	d.Outbox.NudgeAll()
	return p.results
}

// A publishing is the state of one call of Publish.
type publishing struct {
	d       *Dispatcher
	due     bool   // the events were scheduled, and their time has come
	service string // the service, if it wants reports, or ""
	events  []*event.Event
	results []Published
	origin  string // of the event that is being added; see report.Origin

	// The content of the next round trip.
	notifications []inbox.NewNotification
	of            []int              // the event that each notification is of
	receivers     map[string][]int64 // by the event's key
}

// add adds an event for each of its receivers, and calls store whenever a round trip is
// full.
func (p *publishing) add(ctx context.Context, n int, key string) {
	e := p.events[n]
	var (
		last *event.RoleContent // the content that body was made of
		body []byte
	)
	if p.receivers == nil {
		p.receivers = make(map[string][]int64)
	}
	p.receivers[key] = append(p.receivers[key], e.Receivers...)
	for _, receiver := range e.Receivers {
		c := e.ContentFor(receiver)
		if c != last { // receivers of one role mostly follow each other
			last, body = c, nil
			if c.Level != event.Counted {
				body = storedBody(e, c)
			}
		}
		p.notifications = append(p.notifications, p.notification(e, c, body, key, receiver))
		if p.of = append(p.of, n); len(p.of) == maxStored {
			p.store(ctx)
		}
	}
}

// storedBody returns the body of a content as the inbox stores it.
func storedBody(e *event.Event, c *event.RoleContent) []byte {
	b := content.Body{
		Type: e.Type, Title: e.Title, Message: c.Message, Translations: c.Translations, Details: c.Details,
		Presentation: c.Presentation,
	}
	return b.Stored()
}

// store stores the added notifications, and notes the results.
func (p *publishing) store(ctx context.Context) {
	if len(p.notifications) == 0 {
		return
	}
	store := p.d.opts.Inbox.Notifications.Store
	if p.due {
		store = p.d.opts.Inbox.Notifications.StoreScheduled
	}
	stored, errs := store(ctx, p.notifications, p.receivers)
	for i, n := range p.of {
		p.note(n, stored[i], errs[i])
	}
	p.notifications, p.of = p.notifications[:0], p.of[:0]
	clear(p.receivers)
}

// note adds the result for one receiver to the event's result. A conflict outweighs other
// errors: repeating does not help.
func (p *publishing) note(n int, stored inbox.StoreResult, err error) {
	r := &p.results[n]
	r.Duplicate = r.Duplicate && stored.Duplicate
	switch {
	case err == nil && !stored.Duplicate && !stored.Erased:
		p.d.metrics.stored.WithLabelValues(p.events[n].Type).Inc()
	case err != nil && (r.Err == nil || errors.Is(err, inbox.ErrConflict)):
		r.Err = err
	}
}

// notification returns the notification of an event for one receiver.
func (p *publishing) notification(e *event.Event, c *event.RoleContent, body []byte, key string, receiver int64) inbox.NewNotification {
	n := inbox.NewNotification{
		Receiver: receiver,
		Event:    key,
		Content:  e.Digest,
		Type:     e.Type,
		Listed:   e.Spec.Listed && c.Level != event.Counted,
		Quiet:    c.Level == event.Counted,
		Body:     body,
		Subject:  e.Subject(),
		State:    e.State(c),
		Cart:     e.Cart,
		Contact:  e.Contact(receiver),
		Origin:   p.origin,
	}
	if !e.Push || c.Level != event.Pushed || e.Cart != nil {
		return n
	}
	// The script that stores the notification adds its id and the members that depend on
	// the time of acceptance.
	entry := outbox.Entry{
		User: receiver, Event: key, Type: e.Type, Tag: n.Subject, State: e.TellsState(), Category: c.Category, Apps: e.Apps,
	}
	if p.service != "" {
		entry.Service, entry.EventID, entry.Source = p.service, e.ID, e.CloudSource()
	}
	n.Entry = &inbox.OutboxEntry{
		Stream: p.d.Outbox.StreamKey(p.d.opts.Partitions.OfUser(receiver), e.Spec.Lane),
		Header: entry.Header(),
		TTL:    e.TTL(c), RetryFor: min(e.TTL(c), p.d.opts.RetryFor),
	}
	return n
}

// Reminder returns what devices.Registry.Register enqueues for a device that is new: the
// documented push that an app receives right after logging in.
func (d *Dispatcher) Reminder(user int64) devices.Announcement {
	return func(device devices.Device) (stream, field, value string) {
		const reminder = "reminder"
		now, spec := d.opts.Now(), d.types.Spec(reminder)
		body := content.Body{Type: reminder, Details: []byte("{}")}
		entry := outbox.Entry{
			User: user, Type: reminder, Tag: reminder, ID: model.NewID(now), Owed: device.ID,
			Expires: now.Add(spec.TTL).UnixMilli(), Until: now.Add(min(spec.TTL, d.opts.RetryFor)).UnixMilli(),
			Body: string(body.Stored()),
		}
		return d.Outbox.StreamKey(d.opts.Partitions.OfUser(user), spec.Lane), outbox.EntryField, entry.Value()
	}
}
