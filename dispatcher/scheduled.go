package dispatcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/schedule"
	"github.com/kabar-gateway/kabar/inbox"
)

// scheduleEvent keeps an event of a source until its time. The event is kept before its
// records are made: the other way round, a crash in between would reserve the id for nothing.
// It is told to those receivers alone who have the record.
func (d *Dispatcher) scheduleEvent(ctx context.Context, source string, e *event.Event) Published {
	key := e.Key(source)
	later := &schedule.Event{
		Source: source, CloudSource: e.CloudSource(), ID: e.ID, Content: e.Digest, At: e.At, Receivers: e.Receivers, Raw: string(e.Raw),
	}
	if err := d.schedule.Add(ctx, key, later); err != nil {
		return Published{ID: e.ID, Err: err}
	}
	placed, err := d.opts.Inbox.Notifications.Schedule(ctx, key, e.Digest, e.Receivers, e.At)
	return Published{ID: e.ID, Duplicate: err == nil && placed == 0, Err: err}
}

// publishScheduled publishes an event whose time has come.
func (d *Dispatcher) publishScheduled(ctx context.Context, later *schedule.Event) error {
	e, err := d.parser.Parse([]byte(later.Raw))
	if err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	if later.CloudSource != "" {
		e = e.WithSource(later.CloudSource)
	}
	e.ID, e.Digest = later.ID, later.Content
	p := publishing{
		d: d, due: true, service: d.reports.Service(later.Source), results: make([]Published, 1), events: []*event.Event{e},
		origin: d.reports.Origin(later.Source, e.ID, e.CloudSource()),
	}
	p.add(ctx, 0, e.Key(later.Source))
	p.store(ctx)
	d.Outbox.NudgeAll()
	if err := p.results[0].Err; err != nil && !errors.Is(err, inbox.ErrConflict) { // a receiver has other content
		return err
	}
	return nil
}
