package delivery

import (
	"cmp"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// localeOf returns the language of a task's receiver.
func (w *Workers) localeOf(t *task) text.Locale {
	return text.Preferred(&t.settings.Locale, w.Locale)
}

// render returns the delivery of an entry, with the receiver's current unread counts, for
// all devices.
func (w *Workers) render(t *task) (push.Delivery, error) {
	e := t.entry
	body, err := content.ParseBody(t.body())
	if err != nil {
		return push.Delivery{}, fmt.Errorf("body of notification %s: %w", e.ID, err)
	}
	l, spec := w.localeOf(t), w.Types.Spec(e.Type)
	n := content.Notification{ID: e.ID, Receiver: e.User, Promo: spec.Promo, Body: body.In(l)}
	n.Type = e.Type
	data, err := n.Data(t.unreads, w.Location)
	if err != nil {
		return push.Delivery{}, err
	}
	d := push.Delivery{
		Lane:    spec.Lane,
		Type:    e.Type,
		Data:    data,
		Body:    w.collapsed(l, n.Message, e.From, t.attention.Unread),
		Tag:     cmp.Or(e.Tag, e.ID),
		Thread:  cmp.Or(e.Tag, e.Type),
		Badge:   t.unreads.Badge(),
		Expires: time.UnixMilli(e.Expires).Add(-t.ahead), // senders use this process's clock
	}
	d.At, _ = model.IDTime(e.ID) // zero for an id of other software
	if n.Title != nil {
		d.Title = *n.Title
	}
	d.Presentation = presented(n.Presentation, e.Type, spec)
	if d.Presentation.APNs.Category == "" {
		d.Presentation.APNs.Category = e.Category
	}
	return d, nil
}

// presented returns a presentation with the defaults of the event's type: Android's channel is
// named as the lane, and the label as the type.
func presented(p push.Presentation, eventType string, spec event.TypeSpec) push.Presentation {
	p.Sound = cmp.Or(p.Sound, spec.Sound)
	p.Label = cmp.Or(p.Label, eventType)
	p.Android.Channel = cmp.Or(p.Android.Channel, spec.Channel, spec.Lane.String())
	p.APNs.InterruptionLevel = cmp.Or(p.APNs.InterruptionLevel, spec.InterruptionLevel)
	return p
}

// collapsed returns the text on the screen for several unread messages of one conversation.
func (w *Workers) collapsed(l text.Locale, message, from string, unread int) string {
	if unread < 2 {
		return message
	}
	if from == "" {
		from = w.Texts.Text(l, "somebody", text.Args{})
	}
	return w.Texts.Text(l, "messages", text.Args{Count: unread, From: from})
}
