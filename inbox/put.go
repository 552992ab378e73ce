package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrConflict reports that an event's id was used before, for other content.
var ErrConflict = errors.New("this id was used before with other content")

// A Class is one of the sets of resources behind the counters. A resource of one
// user is in at most one of them.
type Class int

// The classes. common.lua holds the same numbers.
const (
	NoClass            Class = iota
	SellerTransactions       // transactions that ask the seller to act
	BuyerTransactions        // transactions that ask the buyer to act
	TransactionNews          // the buyer's transactions with an unread update that asks for nothing
	SellerOffers             // offers that ask the seller to act
	BuyerOffers              // offers that ask the buyer to act
	MessageUnread            // unread messages
)

// A State is what an event says of a resource.
type State struct {
	Resource string    // such as "transaction:52001"; empty when there is none
	Order    time.Time // states count in the order of these …
	Rank     int       // … and of these where the times are the same
	Class    Class     // the counter that the state enters
}

// An Entry is what a stored event leaves in the outbox.
type Entry struct {
	Stream string        // in the receiver's partition
	Header string        // no line break; the notification's body is appended to it
	Tag    string        // what the push replaces on the screen; empty when nothing
	Life   time.Duration // how long the push may be retried
}

// A Put is one event for one receiver.
type Put struct {
	Receiver int64
	ID       string // of the notification, from NewID; sorts it
	Event    string // digest of the event's source and id, which make it idempotent
	Content  string // digest of what was sent
	Type     string
	Listed   bool   // whether it enters the list and the unread counter
	Body     []byte // JSON object: type, title, message, details
	State    State
	Cart     *int   // the number of items in the cart, for a cart event, which tells nobody
	Entry    *Entry // nil when nothing is to be pushed
}

// A Stored is what became of a Put.
type Stored struct {
	ID        string // of the notification that stands for the event
	Seq       string // of its frame
	Duplicate bool   // it had been stored before; nothing was changed
}

//go:embed put.lua
var putSource string
var putScript = script(putSource)

// Put stores events, each atomically and once. Results and errors (ErrConflict,
// or what Redis said) are in the order of the puts. One pipeline carries all of
// them, together with those of concurrent callers.
func (s *Store) Put(ctx context.Context, puts []Put) ([]Stored, []error) {
	commands := make([]*Command, 0, 3*len(puts))
	scripts := make([]*Command, len(puts))
	for i := range puts {
		p := &puts[i]
		scripts[i] = s.putCommand(ctx, p)
		index := s.receivers(p.Event)
		commands = append(commands,
			NewCommand(ctx, "sadd", index, p.Receiver),
			NewCommand(ctx, "pexpire", index, s.remember().Milliseconds()),
			scripts[i])
	}
	common := s.Batcher.Do(ctx, commands...)
	results, errs := make([]Stored, len(puts)), make([]error, len(puts))
	for i, c := range scripts {
		results[i], errs[i] = putResult(c.Cmd, puts[i].ID, common)
		if errs[i] != nil && !errors.Is(errs[i], ErrConflict) {
			errs[i] = fmt.Errorf("store event for user %d: %w", puts[i].Receiver, errs[i])
		}
	}
	return results, errs
}

func (s *Store) putCommand(ctx context.Context, p *Put) *Command {
	k := s.keys(p.Receiver)
	record := k.record(p.Event)
	keys := []string{
		record, k.meta(), k.list(), k.notes(), k.unread(), k.open(), k.states(), k.log(),
		s.Devices(p.Receiver), record, record,
	}
	listed, cart, header, life := "", "", "", int64(1)
	if p.Listed {
		listed = p.Type
	}
	if p.Cart != nil {
		cart = strconv.Itoa(*p.Cart)
	}
	if e := p.Entry; e != nil {
		keys[9], header, life = e.Stream, e.Header, max(1, e.Life.Milliseconds())
		if e.Tag != "" {
			keys[10] = k.tag(e.Tag)
		}
	}
	return putScript.Command(ctx, keys,
		p.ID, p.Content, s.remember().Milliseconds(), p.Body, listed,
		s.Keep.Milliseconds(), NewID(s.Now().Add(-s.Keep)), s.Most,
		p.State.Resource, p.State.Order.UnixMicro(), p.State.Rank, int(p.State.Class), cart,
		s.publish, k.channel(), replayFor.Milliseconds(), replayFrames,
		header, life)
}

// putResult reads the script's reply; when there is none because the whole
// pipeline failed, common says why.
func putResult(cmd *redis.Cmd, id string, common error) (Stored, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return Stored{}, err
	}
	if len(reply) != 3 {
		return Stored{}, common
	}
	if errors.Is(common, ErrReplicas) {
		return Stored{}, common
	}
	status, _ := reply[0].(int64)
	stored := Stored{Duplicate: status == 0}
	stored.ID, _ = reply[1].(string)
	stored.Seq, _ = reply[2].(string)
	if status < 0 {
		return stored, ErrConflict
	}
	return stored, nil
}
