package model

import (
	"time"
)

// A Class is one of the sets of resources behind the counters. A resource of one
// user is in at most one of them.
type Counter int

// The classes. common.lua holds the same numbers.
const (
	NoCounter          Counter = iota
	SellerTransactions         // transactions that ask the seller to act
	BuyerTransactions          // transactions that ask the buyer to act
	TransactionNews            // the buyer's transactions with an unread update that asks for nothing
	SellerOffers               // offers that ask the seller to act
	BuyerOffers                // offers that ask the buyer to act
	UnreadMessages             // unread messages
)

// A State is what an event says of its subject.
type State struct {
	Order   time.Time // states count in the order of these …
	Rank    int       // … and of these where the times are the same; 0: there is no state
	Counter Counter   // the counter that the state enters
}
