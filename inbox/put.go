package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
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

// A State is what an event says of its subject.
type State struct {
	Order time.Time // states count in the order of these …
	Rank  int       // … and of these where the times are the same; 0: there is no state
	Class Class     // the counter that the state enters
}

// An Entry is what a stored event leaves in the outbox.
type Entry struct {
	Stream string // in the receiver's partition
	// Header is one line that ends where the notification's id, a quote, a closing
	// brace and on the next line its body are to be appended.
	Header string
}

// A Put is one event for one receiver.
type Put struct {
	Receiver int64
	Event    string // digest of the event's source and id, which make it idempotent
	Content  string // digest of what was sent
	Type     string
	Listed   bool     // whether it enters the list and the unread counter
	Body     []byte   // JSON object, which only the publisher understands
	Subject  string   // what it is about, such as "transaction:52001"; or ""
	State    State    // of the subject; its Order counts for a cart too
	Cart     *int     // the number of items in the cart, for a cart event, which tells nobody
	Contact  *Contact // of a transaction with a state, with whom; else nil
	Entry    *Entry   // nil when nothing is to be pushed
	// Quiet says that the event moves counters and tells nobody: it is in no list,
	// and no live socket shows it.
	Quiet bool

	suffix string
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
// them, together with those of concurrent callers. Receivers are those of events,
// by Put.Event, that Records is to find: they need be given once.
func (s *Store) Put(ctx context.Context, puts []Put, receivers map[string][]int64) ([]Stored, []error) {
	index := s.indexCommands(ctx, receivers)
	scripts := make([]*Command, len(puts))
	for i := range puts {
		puts[i].suffix = newSuffix()
		scripts[i] = s.putCommand(ctx, &puts[i])
	}
	common := s.Batcher.Do(ctx, append(slices.Clone(index.commands), scripts...)...)
	if common == nil {
		common = s.mergeIndex(ctx, index)
	}
	results, errs := make([]Stored, len(puts)), make([]error, len(puts))
	for i, c := range scripts {
		results[i], errs[i] = putResult(c.Cmd, puts[i].suffix, common)
		if errs[i] != nil && !errors.Is(errs[i], ErrConflict) {
			errs[i] = fmt.Errorf("store event for user %d: %w", puts[i].Receiver, errs[i])
		}
	}
	return results, errs
}

func (s *Store) putCommand(ctx context.Context, p *Put) *Command {
	k := s.keys(p.Receiver)
	record := k.record(p.Event)
	users, member := s.parts.Listing(p.Receiver)
	keys := []string{
		record, k.meta(), k.notes(), k.unread(), k.open(), k.log(), s.Devices(p.Receiver), record,
		k.contacts(), k.recentContacts(), users,
	}
	contact, with := "", ""
	if p.Contact != nil {
		contact, with = p.Contact.field(), p.Contact.stored()
	}
	listed, cart, header, quiet := "", "", "", ""
	if p.Quiet {
		quiet = "1"
	}
	if p.Listed {
		listed = p.Type
	}
	if p.Cart != nil {
		cart = strconv.Itoa(*p.Cart)
	}
	if p.Entry != nil {
		keys[7], header = p.Entry.Stream, p.Entry.Header
	}
	now := s.Now()
	return putScript.Command(ctx, keys,
		p.suffix, p.Content, s.remember().Milliseconds(), p.Body, listed,
		(s.Keep + expireEvery).Milliseconds(), now.Add(-s.Keep).UnixMicro(), s.Most,
		p.Subject, p.State.Order.UnixMicro(), p.State.Rank, int(p.State.Class), cart,
		s.publish, k.channel(), replayFor.Milliseconds(), replayFrames,
		header, now.UnixMilli()/expireEvery.Milliseconds(), s.testTime(),
		contact, with, mostContacts, member, quiet)
}

// putResult reads the script's reply; when there is none because the whole
// pipeline failed, common says why.
func putResult(cmd *redis.Cmd, suffix string, common error) (Stored, error) {
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
