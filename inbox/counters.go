package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed unreads.lua
var unreadsSource string
var unreadsScript = script(unreadsSource).ReadOnly()

// A Subject names the newest notifications about a subject.
type Subject struct {
	Told   string // id of the notification that told its newest state, or ""
	Newest string // id of the newest notification about it that was pushed, or ""
}

// Counters counts unread notifications and messages, and resources that ask a user to act.
type Counters struct{ *base }

// UnreadsCommand returns the command that counts for a user. After Batcher.Do, ReadUnreads
// reads the reply, and ReadTime reads Redis' time from it. Unless subject is "", the
// command also looks the subject up for ReadSubject.
func (c *Counters) UnreadsCommand(ctx context.Context, user int64, subject string) *rdb.Command {
	k := c.keys(user)
	return unreadsScript.Command(ctx, []string{k.meta(), k.unread(), k.counted()}, subject, c.testTime())
}

// The fields of the reply to UnreadsCommand: numbers, the subject and the time.
const (
	unreadsNumbers = 8
	unreadsReply   = unreadsNumbers + 2
)

// ReadUnreads reads the numbers in the reply to UnreadsCommand.
func ReadUnreads(c *rdb.Command) (model.Unreads, error) {
	reply, err := c.Values(unreadsReply)
	if err != nil {
		return model.Unreads{}, fmt.Errorf("count unreads: %w", err)
	}
	return readCounts(reply), nil
}

// readCounts reads the numbers at the start of a script's reply, in the order of counts_of in
// common.lua. There are at least unreadsNumbers values.
func readCounts(reply []any) model.Unreads {
	var n [unreadsNumbers]int
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
	}
}

// ReadSubject reads the subject in the reply to UnreadsCommand. It is empty where
// ReadUnreads returns an error.
func ReadSubject(c *rdb.Command) (s Subject) {
	reply, err := c.Values(unreadsReply)
	if err != nil {
		return s
	}
	state, _ := reply[unreadsNumbers].(string)
	if f := strings.Fields(state); len(f) == 4 { // ORDER RANK TOLD NEWEST
		s.Told, s.Newest = strings.TrimPrefix(f[2], "-"), f[3]
	}
	return s
}

// ReadTime reads the time of the Redis that holds the user from the reply to
// UnreadsCommand.
func ReadTime(c *rdb.Command) (time.Time, error) {
	reply, err := c.Values(unreadsReply)
	if err != nil {
		return time.Time{}, fmt.Errorf("read Redis' time: %w", err)
	}
	at, _ := reply[unreadsNumbers+1].(int64)
	return time.UnixMicro(at), nil
}

// Unreads returns the counts of a user, all taken at the same moment.
func (c *Counters) Unreads(ctx context.Context, user int64) (model.Unreads, error) {
	cmd := c.UnreadsCommand(ctx, user, "")
	if err := c.batcher.Do(ctx, cmd); err != nil {
		return model.Unreads{}, fmt.Errorf("count unreads: %w", err)
	}
	return ReadUnreads(cmd)
}
