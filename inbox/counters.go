package inbox

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/kabar-gateway/kabar/inbox/model"
)

//go:embed unreads.lua
var unreadsSource string
var unreadsScript = script(unreadsSource).ReadOnly()

// Counters counts unread notifications and messages, and resources that ask a user to act.
type Counters struct{ *base }

// Unreads returns the counts of a user, all taken at the same moment.
func (c *Counters) Unreads(ctx context.Context, user int64) (model.Unreads, error) {
	k := c.keys(user)
	cmd, err := c.batcher.Run(ctx, unreadsScript, []string{k.meta(), k.unread(), k.counted()})
	if err != nil {
		return model.Unreads{}, fmt.Errorf("count unreads: %w", err)
	}
	n, err := cmd.Int64s(unreadsNumbers)
	if err != nil {
		return model.Unreads{}, fmt.Errorf("count unreads: %w", err)
	}
	return readUnreads(n), nil
}

// unreadsNumbers is how many numbers counts_of of common.lua returns.
const unreadsNumbers = 8

// readUnreads returns counts from the numbers that counts_of of common.lua returns.
func readUnreads(n []int64) model.Unreads {
	return model.Unreads{
		Messages:           int(n[0]),
		SellerTransactions: int(n[1]),
		TransactionNews:    int(n[2]),
		Notifications:      int(n[3]),
		BuyerTransactions:  int(n[4]),
		CartItems:          int(n[5]),
		SellerOffers:       int(n[6]),
		BuyerOffers:        int(n[7]),
	}
}
