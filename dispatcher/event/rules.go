package event

import (
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// A role is the role of a receiver in the resource that an event is about.
type role uint8

const (
	stranger role = iota // neither of the others, as far as the event says
	seller
	buyer
	owner // of the wallet, or of the product
	numRoles
)

var roleNames = [numRoles]string{"", "seller", "buyer", "owner"}

// A Level is how far an event is delivered to a receiver.
type Level uint8

// The levels.
const (
	// Counted: only the counters change.
	Counted Level = iota
	// Muted: in the list and on live sockets, and never pushed, even when the service
	// words it.
	Muted
	// Listed: in the list and on live sockets; pushed when the service words it.
	Listed
	// Pushed: in the list, on live sockets and on the phones.
	Pushed
)

const none = model.NoCounter

// A rule says what a state of a resource means for the receivers with one role. Its text is
// RESOURCE.STATE.ROLE of the message files.
type rule struct {
	resource, state string
	role            role
	level           Level
	counter         model.Counter // the one that it enters; it leaves all others
	actions         []string      // the actions that it asks of them, or offers them
	ttl             time.Duration // how long a phone that is off should still get the push
}

// The person who caused a state finds it in the list and gets no push; the steps
// of a checkout that say nothing new change the counters alone. Every state reaches
// both people, so that the counters follow whatever order they come in, and the states
// that end something leave every counter.
//
// States stand in the order in which they come: of states with the same time, the
// later one in the table counts (guarantee G6). docs/rules.md shows this table with its
// texts.
var rules = []rule{
	{"transaction", "pending", seller, Counted, none, nil, 0},
	{"transaction", "pending", buyer, Listed, model.BuyerTransactions, []string{"pay"}, day},
	{"transaction", "addressed", seller, Counted, none, nil, 0},
	{"transaction", "addressed", buyer, Counted, model.BuyerTransactions, []string{"pay"}, 0},
	{"transaction", "payment_chosen", seller, Counted, none, nil, 0},
	{"transaction", "payment_chosen", buyer, Counted, model.BuyerTransactions, []string{"pay"}, 0},
	{"transaction", "confirm_payment", seller, Counted, none, nil, 0},
	{"transaction", "confirm_payment", buyer, Listed, model.TransactionNews, nil, day},
	{"transaction", "paid", seller, Pushed, model.SellerTransactions, []string{"deliver", "reject"}, 3 * day},
	{"transaction", "paid", buyer, Pushed, model.TransactionNews, nil, 3 * day},
	{"transaction", "delivered", seller, Listed, none, nil, 3 * day},
	{"transaction", "delivered", buyer, Pushed, model.BuyerTransactions, []string{"receive"}, 7 * day},
	{"transaction", "received", seller, Pushed, none, nil, 3 * day},
	{"transaction", "received", buyer, Listed, model.TransactionNews, nil, 3 * day},
	{"transaction", "remitted", seller, Pushed, none, nil, 7 * day},
	{"transaction", "remitted", buyer, Listed, model.TransactionNews, nil, 3 * day},
	{"transaction", "rejected", seller, Listed, none, nil, 3 * day},
	{"transaction", "rejected", buyer, Pushed, model.TransactionNews, nil, 7 * day},
	{"transaction", "cancelled", seller, Pushed, none, nil, 3 * day},
	{"transaction", "cancelled", buyer, Pushed, model.TransactionNews, nil, 3 * day},
	{"transaction", "expired", seller, Listed, none, nil, 3 * day},
	{"transaction", "expired", buyer, Pushed, model.TransactionNews, nil, 3 * day},
	{"transaction", "refunded", seller, Pushed, none, nil, 7 * day},
	{"transaction", "refunded", buyer, Pushed, model.TransactionNews, nil, 7 * day},

	{"nego", "waiting", seller, Pushed, model.SellerOffers, []string{"accept", "reject"}, day},
	{"nego", "waiting", buyer, Listed, none, nil, day},
	{"nego", "accepted", seller, Listed, none, nil, day},
	{"nego", "accepted", buyer, Pushed, model.BuyerOffers, []string{"pay"}, day},
	{"nego", "rejected", seller, Listed, none, nil, day},
	{"nego", "rejected", buyer, Pushed, none, nil, day},
	{"nego", "cancelled", seller, Pushed, none, nil, day},
	{"nego", "cancelled", buyer, Listed, none, nil, day},
	{"nego", "expired", seller, Muted, none, nil, 0},
	{"nego", "expired", buyer, Muted, none, nil, 0},
	{"nego", "finished", seller, Listed, none, nil, day},
	{"nego", "finished", buyer, Listed, none, nil, day},

	// Money that leaves is told as well as money that comes: somebody else may have
	// sent it away. A withdrawal's own states tell more than its mutation.
	{"mutation", "remit", owner, Pushed, none, nil, 7 * day},
	{"mutation", "topup", owner, Pushed, none, nil, 7 * day},
	{"mutation", "payment", owner, Pushed, none, nil, 7 * day},
	{"mutation", "refund", owner, Pushed, none, nil, 7 * day},
	{"mutation", "withdrawal", owner, Listed, none, nil, 7 * day},
	{"mutation", "restore", owner, Pushed, none, nil, 7 * day},
	{"withdrawal", "pending", owner, Pushed, none, nil, 7 * day},
	{"withdrawal", "processed", owner, Pushed, none, nil, 7 * day},
	{"withdrawal", "cancelled", owner, Pushed, none, nil, 7 * day},

	{"report", "reported", owner, Pushed, none, nil, 3 * day},
}

// textID returns the id of the rule's text in the message files.
func (r *rule) textID() string { return r.resource + "." + r.state + "." + roleNames[r.role] }

// stateRules are the rules of one state for all roles.
type stateRules struct {
	rank int             // among the states of the resource, from 1
	by   [numRoles]*rule // by role; nil where the state has no rule
}

// of returns the rule for a role; nil when there is none, or no state.
func (s *stateRules) of(r role) *rule {
	if s == nil {
		return nil
	}
	return s.by[r]
}

// counter returns the counter that the state enters for a role.
func (s *stateRules) counter(r role) model.Counter {
	if rule := s.of(r); rule != nil {
		return rule.counter
	}
	return none
}

// rulesByState holds the rules by resource and state.
var rulesByState = func() map[string]map[string]*stateRules {
	all := make(map[string]map[string]*stateRules)
	for i := range rules {
		r := &rules[i]
		states := all[r.resource]
		if states == nil {
			states = make(map[string]*stateRules)
			all[r.resource] = states
		}
		if states[r.state] == nil {
			states[r.state] = &stateRules{rank: len(states) + 1}
		}
		states[r.state].by[r.role] = r
	}
	return all
}()

// Counters returns the counters that a subject, such as "transaction:52001", is in when
// its newest state has a rank, for its seller and for its buyer. known is false for
// subjects without states.
func Counters(subject string, rank int) (sellers, buyers model.Counter, known bool) {
	resource, _, _ := strings.Cut(subject, ":")
	for _, s := range rulesByState[resource] {
		if s.rank == rank {
			return s.counter(seller), s.counter(buyer), true
		}
	}
	return 0, 0, false
}

// categories are the names under which an iPhone finds the buttons of a push (APNs
// category), by the actions in either order, joined.
var categories = map[string]string{
	"deliver_reject": "deliver_reject", "reject_deliver": "deliver_reject",
	"accept_reject": "accept_reject", "reject_accept": "accept_reject",
	"pay": "pay", "receive": "receive",
}
