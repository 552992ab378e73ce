package model

import "time"

// A Counter is the number of resources of a user in one set. A resource is in the set of
// one counter at most.
type Counter int

// The counters. common.lua has the same numbers.
const (
	NoCounter          Counter = iota
	SellerTransactions         // transactions that ask the seller to act
	BuyerTransactions          // transactions that ask the buyer to act
	TransactionNews            // the buyer's transactions with an unread update that asks for nothing
	SellerOffers               // offers that ask the seller to act
	BuyerOffers                // offers that ask the buyer to act
	UnreadMessages             // unread messages
)

// A State is the state of a subject that an event reports.
type State struct {
	Order   time.Time // the newest one counts
	Rank    int       // orders states with the same Order; 0 when the event has no state
	Counter Counter   // the counter that the state enters
}
