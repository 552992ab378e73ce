package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// servicePrefix begins the sources that are services.
const servicePrefix = "service:"

// ServiceSource names a service as the origin of events and broadcasts: ids are unique
// within a source.
func ServiceSource(name string) string { return servicePrefix + name }

// A Published tells what became of one event that was to be published.
type Published struct {
	ID        string // the event's id
	Duplicate bool   // every receiver had it already
	Err       error  // inbox.ErrConflict, or why storing failed: repeating is safe
}

// putMost is how many receivers' shares are stored in one round trip; it bounds the
// memory that a request with many receivers takes.
const putMost = 128

// Publish stores events of a source (see ServiceSource) for each of their receivers,
// once, and leaves their pushes in the outbox. Results are in the order of the
// events. An event succeeded when it is stored for every receiver.
func (d *Dispatcher) Publish(ctx context.Context, source string, events ...*Event) []Published {
	now := d.Now()
	results := make([]Published, len(events))
	puts := make([]inbox.Put, 0, putMost)
	of := make([]int, 0, putMost) // the event that each put is of
	receivers := make(map[string][]int64)
	service := d.reportsTo(source)
	flush := func() {
		stored, errs := d.Inbox.Put(ctx, puts, receivers)
		for i, n := range of {
			d.note(&results[n], events[n], stored[i], errs[i])
		}
		puts, of = puts[:0], of[:0]
		clear(receivers)
	}
	for n, e := range events {
		results[n] = Published{ID: e.ID, Duplicate: true}
		key := e.key(source)
		receivers[key] = append(receivers[key], e.Receivers...)
		for _, receiver := range e.Receivers {
			puts, of = append(puts, d.put(e, service, key, receiver, now)), append(of, n)
			if len(puts) == putMost {
				flush()
			}
		}
	}
	if len(puts) > 0 {
		flush()
	}
	for n, r := range results {
		if r.Err == nil {
			d.metrics.accepted.WithLabelValues(events[n].Type).Inc()
		}
	}
	for _, l := range d.lanes {
		l.nudge()
	}
	return results
}

// note adds what became of one receiver's share to an event's result. A conflict
// outweighs other errors: repeating does not help.
func (d *Dispatcher) note(r *Published, e *Event, stored inbox.Stored, err error) {
	r.Duplicate = r.Duplicate && stored.Duplicate
	switch {
	case err == nil && !stored.Duplicate && !stored.Erased:
		d.metrics.stored.WithLabelValues(e.Type).Inc()
	case err != nil && (r.Err == nil || errors.Is(err, inbox.ErrConflict)):
		r.Err = err
	}
}

// put is an event's share of one receiver. The service is the one that wants reports
// of it, or "".
func (d *Dispatcher) put(e *Event, service, key string, receiver int64, now time.Time) inbox.Put {
	s := e.shareOf(receiver)
	p := inbox.Put{
		Receiver: receiver,
		Event:    key,
		Content:  e.content,
		Type:     e.Type,
		Listed:   e.kind.listed && s.hears != counted,
		Quiet:    s.hears == counted,
		Body:     s.body,
		Subject:  e.tag(),
		State:    e.state(s, now),
		Cart:     e.cart,
		Contact:  e.contact(receiver),
	}
	if e.push && s.hears == pushed && e.cart == nil {
		entry := d.entry(e, s, key, receiver, now)
		if service != "" {
			entry.Service, entry.EventID, entry.Source = service, e.ID, e.cloudSource
		}
		p.Entry = &inbox.Entry{
			Stream: d.outKey(d.Partitions.OfUser(receiver), e.kind.lane),
			Header: entry.header(),
		}
	}
	return p
}

// state is what the event says of its subject, for one role.
func (e *Event) state(s *share, now time.Time) model.State {
	state := model.State{Order: e.time}
	if state.Order.IsZero() {
		state.Order = now
	}
	if e.tellsState() {
		state.Rank, state.Counter = e.meaning.rank, s.counter
	}
	return state
}

// tellsState reports whether the event tells a state of something that has several.
func (e *Event) tellsState() bool { return e.meaning != nil && e.tag() != "" }

// contact is with whom a receiver has the transaction that the event tells of, or
// nil.
func (e *Event) contact(receiver int64) *model.Contact {
	d := &e.details
	if e.Type != "transaction" || d.seller.id == 0 || d.buyer.id == 0 || d.seller.id == d.buyer.id {
		return nil
	}
	role, with := model.Seller, d.seller
	switch receiver {
	case d.buyer.id:
	case d.seller.id:
		role, with = model.Buyer, d.buyer
	default:
		return nil
	}
	return &model.Contact{
		Role: role, Partner: with.id, Name: with.name, Avatar: with.avatar,
		Transaction: e.resourceName(), Items: d.items,
	}
}

// entry is what the worker needs to push an event to a receiver. The notification's
// id comes from the script that stores it.
func (d *Dispatcher) entry(e *Event, s *share, key string, receiver int64, now time.Time) *entry {
	worth := cmp.Or(e.ttl, s.worth)
	return &entry{
		User:     receiver,
		Event:    key,
		Type:     e.Type,
		Tag:      e.tag(),
		State:    e.tellsState(),
		Category: s.category,
		Expires:  now.Add(worth).UnixMilli(),
		Until:    now.Add(min(worth, d.RetryFor)).UnixMilli(),
	}
}

// Reminder returns what devices.Registry.Register enqueues for a device that is
// new: the documented push that an app receives right after logging in.
func (d *Dispatcher) Reminder(user int64) devices.Announcement {
	return func(device devices.Device) (stream, field, value string) {
		now := d.Now()
		e := &Event{Type: "reminder", kind: kinds["reminder"]}
		entry := d.entry(e, e.newShare(stranger), "", user, now)
		entry.ID, entry.Owed = model.NewID(now), device.ID
		entry.body = string(body(e.Type, nil, "", nil, []byte("{"+noUnreadItems)))
		return d.outKey(d.Partitions.OfUser(user), e.kind.lane), "e", entry.value()
	}
}
