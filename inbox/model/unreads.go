package model

// Unreads are the numbers of a user's unread items, and of those that ask the user to act.
type Unreads struct {
	Messages           int // unread messages
	SellerTransactions int // transactions that ask the seller to act
	TransactionNews    int // the buyer's transactions with an unread update that asks for nothing
	Notifications      int // unread notifications
	BuyerTransactions  int // transactions that ask the buyer to act
	CartItems          int // as the newest cart event said
	SellerOffers       int // offers that ask the seller to act
	BuyerOffers        int // offers that ask the buyer to act
}

// Badge is the number on an app's icon: unread notifications plus unread messages.
func (u Unreads) Badge() int { return u.Notifications + u.Messages }
