package dispatcher

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// TimeLayout is how notifications write times: RFC 3339 with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z07:00"

// render makes of an entry, with the receiver's numbers of now, what every device
// gets: the shape of the seeds' "Android Notifications Data Samples".
func (d *Dispatcher) render(w *work) (push.Delivery, error) {
	e := w.entry
	b, err := readBody(w.body())
	if err != nil {
		return push.Delivery{}, fmt.Errorf("body of notification %s: %w", e.ID, err)
	}
	l := d.localeOf(&w.settings.Locale)
	b.message = b.in(l)
	k := d.parser.kinds[e.Type]
	fields, err := d.data(e, k, b, w.unreads)
	if err != nil {
		return push.Delivery{}, err
	}
	r := push.Delivery{
		Lane:     k.lane,
		Type:     e.Type,
		Data:     fields,
		Body:     d.collapsed(l, b.message, e.From, w.attention.Unread),
		Tag:      cmp.Or(e.Tag, e.ID),
		Thread:   cmp.Or(e.Tag, e.Type),
		Badge:    w.unreads.Badge(),
		Category: e.Category,
		Expires:  milli(e.Expires),
	}
	if b.title != nil {
		r.Title = *b.title
	}
	return r, nil
}

// A content is a notification's body, as body made it, taken apart.
type content struct {
	kind, message string
	title         *string
	details       jsontext.Value
	others        jsontext.Value // the message in other languages, or nothing
}

// in returns the message in a language, if it is there in that one.
func (c *content) in(l text.Locale) string {
	message := c.message
	if len(c.others) > 0 {
		_ = jsonscan.EachMember(c.others, func(m jsonscan.Member) { // it is an object
			if string(m.Name()) == string(l) {
				message, _ = jsonscan.Scalar(m.Value)
			}
		})
	}
	return message
}

func readBody(body []byte) (c content, err error) {
	err = jsonscan.EachMember(body, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "type":
			c.kind, _ = jsonscan.Scalar(m.Value)
		case "title":
			if text, ok := jsonscan.Scalar(m.Value); ok {
				c.title = &text
			}
		case "message":
			c.message, _ = jsonscan.Scalar(m.Value)
		case "details":
			c.details = m.Value
		case "texts":
			c.others = m.Value
		}
	})
	return c, err
}

// data lists the top-level keys of a push's data in the samples' order.
func (d *Dispatcher) data(e *entry, k kind, b content, n model.Unreads) ([]push.Field, error) {
	quoted := func(s string) []byte { return jsonscan.AppendString(nil, s) }
	number := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
	if k.promo {
		at, err := model.IDTime(e.ID)
		if err != nil {
			return nil, err
		}
		titleJSON := []byte("null")
		if b.title != nil {
			titleJSON = quoted(*b.title)
		}
		return []push.Field{
			{Name: "id", Value: quoted(e.ID)},
			{Name: "created_at", Value: quoted(at.In(d.Location).Format(TimeLayout))},
			{Name: "read_state", Value: []byte("false")},
			{Name: "type", Value: quoted(e.Type)},
			{Name: "title", Value: titleJSON},
			{Name: "message", Value: quoted(b.message)},
			{Name: "details", Value: []byte(b.details)},
		}, nil
	}
	filled := fillUnreadItems(b.details, unreadItems(e.Type, n))
	fields := []push.Field{{Name: "type", Value: quoted(e.Type)}, {Name: "receiver_id", Value: number(e.User)}}
	if e.Type == "reminder" {
		return append(fields,
			push.Field{Name: "unread_notifications", Value: number(int64(n.Notifications))},
			push.Field{Name: "messages", Value: number(int64(n.Messages))},
			push.Field{Name: "details", Value: filled}), nil
	}
	return append(fields, push.Field{Name: "message", Value: quoted(b.message)}, push.Field{Name: "details", Value: filled}), nil
}

// fillUnreadItems puts the numbers where parseDetails left room for them.
func fillUnreadItems(details, items []byte) []byte {
	rest, ok := bytes.CutSuffix(details, []byte(noUnreadItems))
	if !ok {
		return details
	}
	b := make([]byte, 0, len(details)+len(items))
	b = append(b, rest...)
	b = append(b, `"unread_items":`...)
	b = append(b, items...)
	return append(b, '}')
}

// unreadItems are the receiver's numbers as the samples have them; only a
// transaction's has unread_notifications.
func unreadItems(eventType string, n model.Unreads) []byte {
	b := make([]byte, 0, 256)
	add := func(name string, n int) {
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":`...)
		b = strconv.AppendInt(b, int64(n), 10)
		b = append(b, ',')
	}
	b = append(b, '{')
	if eventType == "transaction" {
		add("unread_notifications", n.Notifications)
	}
	add("messages", n.Messages)
	add("transactions_need_action_as_seller", n.SellerTransactions)
	add("transactions_need_action_as_buyer", n.BuyerTransactions)
	add("offers_need_action_as_seller", n.SellerOffers)
	add("offers_need_action_as_buyer", n.BuyerOffers)
	b[len(b)-1] = '}'
	return b
}
