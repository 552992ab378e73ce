package dispatcher

import (
	"time"

	"github.com/kabar-gateway/kabar/inbox"
)

// A kind is what holds for all events of a type.
type kind struct {
	lane   Lane
	listed bool          // enters the list and unread_notifications
	promo  bool          // pushed in the shape of the promotions' samples, and listed by default
	worth  time.Duration // how long a phone that is off should still get it
}

const day = 24 * time.Hour

// kinds is the table of event types. Their push samples are in the seeds, under
// "Android Notifications Data Samples".
var kinds = map[string]kind{
	"transaction":  {lane: Urgent, listed: true, worth: 3 * day},
	"nego":         {lane: Urgent, listed: true, worth: 3 * day},
	"dompet":       {lane: Urgent, listed: true, worth: 3 * day},
	"message":      {lane: Chat, worth: 3 * day},
	"report":       {lane: Bulk, listed: true, worth: 3 * day},
	"reminder":     {lane: Bulk, worth: time.Hour},
	"discount":     {lane: Bulk, listed: true, promo: true, worth: day},
	"category":     {lane: Bulk, listed: true, promo: true, worth: day},
	"profile":      {lane: Bulk, listed: true, promo: true, worth: day},
	"product":      {lane: Bulk, listed: true, promo: true, worth: day},
	"announcement": {lane: Bulk, listed: true, promo: true, worth: day},
	"campaign":     {lane: Bulk, listed: true, promo: true, worth: day},
	"broadcast":    {lane: Bulk, listed: true, promo: true, worth: day},
	"cart":         {lane: Bulk}, // sets a counter and tells nobody
}

// A Type is an event type that the configuration declares beside the built-in ones.
type Type struct {
	Name    string
	Lane    Lane
	Message string // the text of events that bring none
}

// A rule says which counter a state enters, by the receiver's role. Every state
// that is not here, and every role that is none, enters no counter.
type rule struct {
	state         string
	seller, buyer inbox.Class
}

// rules lists each resource's states in the order in which they come: of states
// with the same time the later one in the list counts. Terminal states leave
// every counter.
var rules = map[string][]rule{
	"transaction": {
		{state: "pending", buyer: inbox.BuyerTransactions},
		{state: "addressed", buyer: inbox.BuyerTransactions},
		{state: "payment_chosen", buyer: inbox.BuyerTransactions},
		{state: "confirm_payment", buyer: inbox.TransactionNews},
		{state: "paid", seller: inbox.SellerTransactions, buyer: inbox.TransactionNews},
		{state: "delivered", buyer: inbox.BuyerTransactions},
		{state: "received", buyer: inbox.TransactionNews},
		{state: "remitted"},
		{state: "rejected"},
		{state: "cancelled"},
		{state: "expired"},
		{state: "refunded"},
	},
	"nego": {
		{state: "waiting", seller: inbox.SellerOffers},
		{state: "accepted", buyer: inbox.BuyerOffers},
		{state: "rejected"},
		{state: "cancelled"},
		{state: "expired"},
		{state: "finished"},
	},
}

// ruleOf returns a state's rule and its rank, and whether the state exists.
func ruleOf(resource, state string) (r rule, rank int, ok bool) {
	for i, r := range rules[resource] {
		if r.state == state {
			return r, i + 1, true
		}
	}
	return rule{}, 0, false
}

// class returns the counter that a state enters for a receiver.
func (r rule) class(receiver, seller, buyer int64) inbox.Class {
	switch receiver {
	case seller:
		return r.seller
	case buyer:
		return r.buyer
	}
	return inbox.NoClass
}
