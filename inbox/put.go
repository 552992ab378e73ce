package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// ErrConflict reports that an event's id was used before, for other content.
var ErrConflict = errors.New("this id was used before with other content")

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
	Listed   bool           // whether it enters the list and the unread counter
	Body     []byte         // JSON object, which only the publisher understands
	Subject  string         // what it is about, such as "transaction:52001"; or ""
	State    model.State    // of the subject; its Order counts for a cart too
	Cart     *int           // the number of items in the cart, for a cart event, which tells nobody
	Contact  *model.Contact // of a transaction with a state, with whom; else nil
	Entry    *Entry         // nil when nothing is to be pushed
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
	Erased    bool   // the receiver's tombstone stands: it was dropped
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
	scripts := make([]*rdb.Command, len(puts))
	for i := range puts {
		puts[i].suffix = model.NewIDSuffix()
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

func (s *Store) putCommand(ctx context.Context, p *Put) *rdb.Command {
	keys, args := s.putArgs(p)
	return putScript.Command(ctx, keys, args...)
}

// putArgs returns what put.lua is called with.
func (s *Store) putArgs(p *Put) (keys []string, args []any) {
	k := s.keys(p.Receiver)
	record := k.record(p.Event)
	users, member := s.parts.Listing(p.Receiver)
	keys = []string{
		record, k.meta(), k.notes(), k.unread(), k.open(), k.log(), s.Devices(p.Receiver), record,
		k.contacts(), k.recentContacts(), users, k.records(),
	}
	contact, with := "", ""
	if p.Contact != nil {
		contact, with = contactField(p.Contact), contactValue(p.Contact)
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
	return keys, []any{
		p.suffix, p.Content, s.remember().Milliseconds(), p.Body, listed,
		(s.Keep + expireEvery).Milliseconds(), now.Add(-s.Keep).UnixMicro(), s.Most,
		p.Subject, p.State.Order.UnixMicro(), p.State.Rank, int(p.State.Counter), cart,
		s.publish, k.channel(), replayFor.Milliseconds(), replayFrames,
		header, now.UnixMilli() / expireEvery.Milliseconds(), s.testTime(),
		contact, with, mostContacts, member, p.Event, quiet,
	}
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
	if errors.Is(common, rdb.ErrReplicas) {
		return Stored{}, common
	}
	status, _ := reply[0].(int64)
	stored := Stored{Duplicate: status == 0, Erased: status == 2}
	stored.ID, _ = reply[1].(string)
	stored.Seq, _ = reply[2].(string)
	if status < 0 {
		return stored, ErrConflict
	}
	return stored, nil
}
