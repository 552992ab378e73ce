package inbox

import (
	"context"
	_ "embed"
	"fmt"
)

// Unreads are the sizes of the sets of what is unread or asks a user to act, and
// what the newest cart event said.
type Unreads struct {
	Messages           int // unread messages
	SellerTransactions int // transactions that ask the seller to act
	TransactionNews    int // the buyer's transactions with an unread update that asks for nothing
	Notifications      int // unread notifications
	BuyerTransactions  int // transactions that ask the buyer to act
	CartItems          int
	SellerOffers       int // offers that ask the seller to act
	BuyerOffers        int // offers that ask the buyer to act
}

// Badge is the number on an app's icon: unread notifications plus unread messages.
func (u Unreads) Badge() int { return u.Notifications + u.Messages }

//go:embed unreads.lua
var unreadsSource string
var unreadsScript = script(unreadsSource)

// UnreadsCommand returns the command that counts for a user, to be read with
// ReadUnreads after Batcher.Do.
func (s *Store) UnreadsCommand(ctx context.Context, user int64) *Command {
	k := s.keys(user)
	return unreadsScript.Command(ctx, []string{k.meta(), k.unread(), k.open()})
}

// ReadUnreads reads the reply to UnreadsCommand.
func ReadUnreads(c *Command) (Unreads, error) {
	n, err := c.Int64Slice()
	if err != nil || len(n) != 8 {
		return Unreads{}, fmt.Errorf("count unreads: reply %v: %w", n, err)
	}
	return Unreads{
		Messages:           int(n[0]),
		SellerTransactions: int(n[1]),
		TransactionNews:    int(n[2]),
		Notifications:      int(n[3]),
		BuyerTransactions:  int(n[4]),
		CartItems:          int(n[5]),
		SellerOffers:       int(n[6]),
		BuyerOffers:        int(n[7]),
	}, nil
}

// Unreads counts for a user, atomically.
func (s *Store) Unreads(ctx context.Context, user int64) (Unreads, error) {
	c := s.UnreadsCommand(ctx, user)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return Unreads{}, fmt.Errorf("count unreads: %w", err)
	}
	return ReadUnreads(c)
}
