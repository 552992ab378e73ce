package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed unreads.lua
var unreadsSource string
var unreadsScript = script(unreadsSource)

// A Subject is what is known of what an event was about.
type Subject struct {
	Told   string // id of the notification that told its newest state, or ""
	Newest string // id of the newest notification about it, or ""
}

// Counters counts what is unread or asks a user to act.
type Counters struct{ *base }

// UnreadsCommand returns the command that counts for a user, to be read with
// ReadUnreads after Batcher.Do, and that looks up a subject, unless it is "", to be
// read with ReadSubject.
func (c *Counters) UnreadsCommand(ctx context.Context, user int64, subject string) *rdb.Command {
	k := c.keys(user)
	return unreadsScript.Command(ctx, []string{k.meta(), k.unread(), k.counted()}, subject)
}

// numbers is how many of them begin the reply to UnreadsCommand.
const numbers = 8

// ReadUnreads reads the reply to UnreadsCommand.
func ReadUnreads(c *rdb.Command) (model.Unreads, error) {
	reply, err := c.Slice()
	if err != nil || len(reply) < numbers {
		return model.Unreads{}, fmt.Errorf("count unreads: reply %v: %w", reply, err)
	}
	var n [numbers]int
	for i := range n {
		number, _ := reply[i].(int64)
		n[i] = int(number)
	}
	return model.Unreads{
		Messages:           n[0],
		SellerTransactions: n[1],
		TransactionNews:    n[2],
		Notifications:      n[3],
		BuyerTransactions:  n[4],
		CartItems:          n[5],
		SellerOffers:       n[6],
		BuyerOffers:        n[7],
	}, nil
}

// ReadSubject reads what the reply to UnreadsCommand says of the subject.
func ReadSubject(c *rdb.Command) (s Subject) {
	reply, _ := c.Slice() // ReadUnreads tells its error
	if len(reply) <= numbers {
		return s
	}
	text, _ := reply[numbers].(string)
	if f := strings.Fields(text); len(f) == 4 { // keys.go tells what they are
		s.Told, s.Newest = strings.TrimPrefix(f[2], "-"), f[3]
	}
	return s
}

// Unreads counts for a user, atomically.
func (c *Counters) Unreads(ctx context.Context, user int64) (model.Unreads, error) {
	cmd := c.UnreadsCommand(ctx, user, "")
	if err := c.batcher.Do(ctx, cmd); err != nil {
		return model.Unreads{}, fmt.Errorf("count unreads: %w", err)
	}
	return ReadUnreads(cmd)
}
