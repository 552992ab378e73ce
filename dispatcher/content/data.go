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
// receiver's unread counts. Times are in the given zone. The error reports a malformed id.
func (n *Notification) Data(unreads model.Unreads, zone *time.Location) ([]push.Field, error) {
	if n.Promo {
		return n.promoData(zone)
	}
	details := fillUnreadItems(n.Details, unreadItems(n.Type, &unreads))
	fields := []push.Field{
		{Name: "type", Value: quoted(n.Type)},
		{Name: "receiver_id", Value: number(n.Receiver)},
	}
	if n.Type == "reminder" {
		return append(fields,
			push.Field{Name: "unread_notifications", Value: number(int64(unreads.Notifications))},
			push.Field{Name: "messages", Value: number(int64(unreads.Messages))},
			push.Field{Name: "details", Value: details}), nil
	}
	return append(fields,
		push.Field{Name: "message", Value: quoted(n.Message)},
		push.Field{Name: "details", Value: details}), nil
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
	}, nil
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
