package content

import (
	"bytes"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// TimeLayout is how notifications write times: RFC 3339 with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z07:00"

// A Notification is a body with its id and receiver.
type Notification struct {
	ID       string
	Receiver int64
	// Promo says that its type has the form of the documented promotions.
	Promo bool
	Body
}

// Data lists the top-level keys of a push's data, in the samples' order, with the
// receiver's unread counts. Beside the documented keys it has the notification's id, by
// which an app marks it as read, unless the type is kept in no list: a reminder. A
// message's id is that of its notification. The image and the link of the presentation come
// last. Times are in the given zone. The error reports a malformed id.
func (n *Notification) Data(unreads model.Unreads, zone *time.Location) ([]push.Field, error) {
	return n.data(&unreads, zone)
}

// data is Data. Without counts, the members for them are null.
func (n *Notification) data(unreads *model.Unreads, zone *time.Location) ([]push.Field, error) {
	fields, err := n.documented(unreads, zone)
	if image := n.Presentation.Image; image != "" {
		fields = append(fields, push.Field{Name: push.FieldImage, Value: quoted(image)})
	}
	if link := n.Presentation.Link; link != "" {
		fields = append(fields, push.Field{Name: push.FieldLink, Value: quoted(link)})
	}
	return fields, err
}

// documented lists the keys of the samples, and the notification's id.
func (n *Notification) documented(unreads *model.Unreads, zone *time.Location) ([]push.Field, error) {
	if n.Promo {
		return n.promoData(zone)
	}
	fields := []push.Field{
		{Name: "type", Value: quoted(n.Type)},
		{Name: "receiver_id", Value: number(n.Receiver)},
	}
	details, notifications, messages := []byte(n.Details), []byte("null"), []byte("null")
	if unreads != nil {
		details = fillUnreadItems(n.Details, unreadItems(n.Type, unreads))
		notifications, messages = number(int64(unreads.Notifications)), number(int64(unreads.Messages))
	}
	if n.Type == "reminder" {
		return append(fields,
			push.Field{Name: "unread_notifications", Value: notifications},
			push.Field{Name: "messages", Value: messages},
			push.Field{Name: "details", Value: details}), nil
	}
	return append(fields,
		push.Field{Name: "message", Value: quoted(n.Message)},
		push.Field{Name: "details", Value: details},
		n.idField()), nil
}

func (n *Notification) promoData(zone *time.Location) ([]push.Field, error) {
	at, err := model.IDTime(n.ID)
	if err != nil {
		return nil, err
	}
	return []push.Field{
		{Name: "id", Value: quoted(n.ID)},
		{Name: "created_at", Value: quoted(at.In(zone).Format(TimeLayout))},
		{Name: "read_state", Value: []byte("false")},
		{Name: "type", Value: quoted(n.Type)},
		{Name: "title", Value: n.titleJSON()},
		{Name: "message", Value: quoted(n.Message)},
		{Name: "details", Value: []byte(n.Details)},
		n.idField(),
	}, nil
}

func (n *Notification) idField() push.Field {
	return push.Field{Name: "notification_id", Value: quoted(n.ID)}
}

func quoted(s string) []byte { return jsonscan.AppendString(nil, s) }

func number(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// fillUnreadItems replaces the null that a stored body has as unread_items by the counts.
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

// unreadItems returns the receiver's counts in the form of the samples; only a
// transaction's has unread_notifications.
func unreadItems(eventType string, n *model.Unreads) []byte {
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
