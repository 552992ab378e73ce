package dispatcher

import (
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A kind is what holds for all events of a type.
type kind struct {
	lane   push.Lane
	listed bool          // enters the list and unread_notifications
	promo  bool          // pushed in the shape of the promotions' samples, and listed by default
	worth  time.Duration // how long a phone that is off should still get it, where no rule says more
}

const day = 24 * time.Hour

// kinds is the table of event types. Their push samples are in the seeds, under
// "Android Notifications Data Samples".
var kinds = map[string]kind{
	"transaction":  {lane: push.Urgent, listed: true, worth: 3 * day},
	"nego":         {lane: push.Urgent, listed: true, worth: 3 * day},
	"dompet":       {lane: push.Urgent, listed: true, worth: 3 * day},
	"message":      {lane: push.Chat, worth: 3 * day},
	"report":       {lane: push.Bulk, listed: true, worth: 3 * day},
	"reminder":     {lane: push.Bulk, worth: time.Hour},
	"discount":     {lane: push.Bulk, listed: true, promo: true, worth: day},
	"category":     {lane: push.Bulk, listed: true, promo: true, worth: day},
	"profile":      {lane: push.Bulk, listed: true, promo: true, worth: day},
	"product":      {lane: push.Bulk, listed: true, promo: true, worth: day},
	"announcement": {lane: push.Bulk, listed: true, promo: true, worth: day},
	"campaign":     {lane: push.Bulk, listed: true, promo: true, worth: day},
	"broadcast":    {lane: push.Bulk, listed: true, promo: true, worth: day},
	"cart":         {lane: push.Bulk}, // sets a counter and tells nobody
}

// A Type is an event type that the configuration declares beside the built-in ones.
type Type struct {
	Name    string
	Lane    push.Lane
	Message string // the text of events that bring none
}

// A role is what somebody is in what an event tells of.
type role uint8

const (
	stranger role = iota // none of the others, as far as the event says
	seller
	buyer
	owner // of the wallet, or of the product
	roles
)

var roleNames = [roles]string{"", "seller", "buyer", "owner"}

// hearing is how much somebody hears of a state.
type hearing uint8

const (
	counted hearing = iota // only the counters move
	muted                  // in the list and on live sockets, and never pushed, whoever words it
	listed                 // in the list and on live sockets
	pushed                 // on the phones, too
)

const none = model.NoCounter

// A rule says what a state of a resource means for the people of one role. The words
// are the text RESOURCE.STATE.ROLE of the message files.
type rule struct {
	resource, state string
	role            role
	hears           hearing
	counter         model.Counter // the one that it enters; it leaves all others
	actions         []string      // what it asks of them, or offers
	worth           time.Duration // how long a phone that is off should still get it
}

// Who caused a state themselves finds it in the list and is not pushed it; the steps
// of a checkout that say nothing new move the counters alone. Every state reaches
// both people, so that the counters follow whatever order they come in, and the states
// that end something leave every counter.
//
// States stand in the order in which they come: of states with the same time, the
// later one in the table counts (guarantee G6). docs/rules.md shows this table with its
// words.
var rules = []rule{
	{"transaction", "pending", seller, counted, none, nil, 0},
	{"transaction", "pending", buyer, listed, model.BuyerTransactions, []string{"pay"}, day},
	{"transaction", "addressed", seller, counted, none, nil, 0},
	{"transaction", "addressed", buyer, counted, model.BuyerTransactions, []string{"pay"}, 0},
	{"transaction", "payment_chosen", seller, counted, none, nil, 0},
	{"transaction", "payment_chosen", buyer, counted, model.BuyerTransactions, []string{"pay"}, 0},
	{"transaction", "confirm_payment", seller, counted, none, nil, 0},
	{"transaction", "confirm_payment", buyer, listed, model.TransactionNews, nil, day},
	{"transaction", "paid", seller, pushed, model.SellerTransactions, []string{"deliver", "reject"}, 3 * day},
	{"transaction", "paid", buyer, pushed, model.TransactionNews, nil, 3 * day},
	{"transaction", "delivered", seller, listed, none, nil, 3 * day},
	{"transaction", "delivered", buyer, pushed, model.BuyerTransactions, []string{"receive"}, 7 * day},
	{"transaction", "received", seller, pushed, none, nil, 3 * day},
	{"transaction", "received", buyer, listed, model.TransactionNews, nil, 3 * day},
	{"transaction", "remitted", seller, pushed, none, nil, 7 * day},
	{"transaction", "remitted", buyer, listed, none, nil, 3 * day},
	{"transaction", "rejected", seller, listed, none, nil, 3 * day},
	{"transaction", "rejected", buyer, pushed, none, nil, 7 * day},
	{"transaction", "cancelled", seller, pushed, none, nil, 3 * day},
	{"transaction", "cancelled", buyer, pushed, none, nil, 3 * day},
	{"transaction", "expired", seller, listed, none, nil, 3 * day},
	{"transaction", "expired", buyer, pushed, none, nil, 3 * day},
	{"transaction", "refunded", seller, pushed, none, nil, 7 * day},
	{"transaction", "refunded", buyer, pushed, none, nil, 7 * day},

	{"nego", "waiting", seller, pushed, model.SellerOffers, []string{"accept", "reject"}, day},
	{"nego", "waiting", buyer, listed, none, nil, day},
	{"nego", "accepted", seller, listed, none, nil, day},
	{"nego", "accepted", buyer, pushed, model.BuyerOffers, []string{"pay"}, day},
	{"nego", "rejected", seller, listed, none, nil, day},
	{"nego", "rejected", buyer, pushed, none, nil, day},
	{"nego", "cancelled", seller, pushed, none, nil, day},
	{"nego", "cancelled", buyer, listed, none, nil, day},
	{"nego", "expired", seller, muted, none, nil, 0},
	{"nego", "expired", buyer, muted, none, nil, 0},
	{"nego", "finished", seller, listed, none, nil, day},
	{"nego", "finished", buyer, listed, none, nil, day},

	// Money that leaves is told as well as money that comes: somebody else may have
	// sent it away. A withdrawal's own states tell more than its mutation.
	{"mutation", "remit", owner, pushed, none, nil, 7 * day},
	{"mutation", "topup", owner, pushed, none, nil, 7 * day},
	{"mutation", "payment", owner, pushed, none, nil, 7 * day},
	{"mutation", "refund", owner, pushed, none, nil, 7 * day},
	{"mutation", "withdrawal", owner, listed, none, nil, 7 * day},
	{"mutation", "restore", owner, pushed, none, nil, 7 * day},
	{"withdrawal", "pending", owner, pushed, none, nil, 7 * day},
	{"withdrawal", "processed", owner, pushed, none, nil, 7 * day},
	{"withdrawal", "cancelled", owner, pushed, none, nil, 7 * day},

	{"report", "reported", owner, pushed, none, nil, 3 * day},
}

// text is the id of the rule's words.
func (r *rule) text() string { return r.resource + "." + r.state + "." + roleNames[r.role] }

// A meaning is what a state means for everybody.
type meaning struct {
	rank int          // among the states of the resource, from 1
	of   [roles]*rule // nil for whom it means nothing
}

// to returns what the state means for a role; nil when nothing, or when there is no
// state.
func (m *meaning) to(r role) *rule {
	if m == nil {
		return nil
	}
	return m.of[r]
}

// counter returns the counter that the state enters for a role.
func (m *meaning) counter(r role) model.Counter {
	if rule := m.to(r); rule != nil {
		return rule.counter
	}
	return none
}

// meanings holds the rules by resource and state.
var meanings = func() map[string]map[string]*meaning {
	all := make(map[string]map[string]*meaning)
	for i := range rules {
		r := &rules[i]
		states := all[r.resource]
		if states == nil {
			states = make(map[string]*meaning)
			all[r.resource] = states
		}
		if states[r.state] == nil {
			states[r.state] = &meaning{rank: len(states) + 1}
		}
		states[r.state].of[r.role] = r
	}
	return all
}()

// categories are the names under which an iPhone finds the buttons of a push (APNs
// category), by the actions in either order, joined.
var categories = map[string]string{
	"deliver_reject": "deliver_reject", "reject_deliver": "deliver_reject",
	"accept_reject": "accept_reject", "reject_accept": "accept_reject",
	"pay": "pay", "receive": "receive",
}
