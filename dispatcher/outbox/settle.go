package outbox

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed settle.lua
var settleSource string

// A Fragment is Lua that runs within the script that settles an entry, for a package
// above: so its write happens with the settling or not at all.
type Fragment struct {
	// Name is an identifier, unique among the fragments.
	Name string
	// Prelude is Lua that stands before the function, such as functions that it calls.
	Prelude string
	// Source is the body of a function with the parameters keys and args, both tables
	// of strings. It must return a number and must not fail. All keys lie in the entry's
	// partition.
	Source string
	// Types are the Redis types of the keys, in their order; "" where the fragment works
	// with any. The last one applies to all further keys. Settling fails before its first
	// write when a key has another type.
	Types []string
}

// An Addition is one call of a fragment. The zero Addition is none.
type Addition struct {
	Fragment string
	Keys     []string
	Args     []any
}

// settleScript puts the fragments before settle.lua.
func settleScript(fragments []Fragment) *rdb.Script {
	var b strings.Builder
	b.WriteString("local fragments, types = {}, {}\n")
	for _, f := range fragments {
		fmt.Fprintf(&b, "%s\nfunction fragments.%s(keys, args)\n%s\nend\n", f.Prelude, f.Name, f.Source)
		fmt.Fprintf(&b, "types.%s = {'%s'}\n", f.Name, strings.Join(f.Types, "', '"))
	}
	b.WriteString(settleSource)
	return rdb.NewScript(b.String())
}

// A Delayed is an entry that waits for another attempt.
type Delayed struct {
	Entry *Entry
	By    time.Duration
	// Route is the route whose circuit the entry waits for. The entry is returned as soon as
	// that circuit is closed, and after By at the latest. When Route is empty, or unknown, the
	// entry is returned after By.
	Route string
}

// entry returns the entry as it is stored. A dismissal is stored as it is, so that it is one
// member with an equal one. A push that waits for the end of quiet hours has
// no age until then.
func (d *Delayed) entry(now time.Time) *Entry {
	e := *d.Entry
	if e.ID == "" { // a dismissal
		return &e
	}
	e.Quiet = e.Quiet && d.Route == ""
	e.Since = cmp.Or(e.since(), now.UnixMilli())
	if e.Quiet {
		e.Since = now.Add(d.By).UnixMilli()
	}
	return &e
}

// A Dead is an entry that is not tried any more.
type Dead struct {
	Device string     // its id; "" when the push was for all of the user's
	Route  push.Route // to the device; zero when it is not known
	Reason string
	Value  string // of the entry
}

// A Settlement is the outcome of an entry.
type Settlement struct {
	Key    Key
	Lane   push.Lane
	Record string // key of the event's record; "": it has none
	Lines  string // for the record
	Entry  *Entry // the entry as it was read; nil when it cannot be read
	// Delayed and Dead are what remains of the entry, for single devices or for all.
	Delayed   []Delayed
	Dead      []Dead
	Additions []Addition // those without a fragment are left out
}

// A Settled says what became of a settlement.
type Settled struct {
	// Held is false when nothing was written: another consumer holds the entry, or no
	// consumer does because Redis has lost it.
	Held bool
	// Results are the return values of the fragments, in the order of the additions that
	// have one.
	Results []int64
	Err     error
}

const (
	maxSettled      = 32 // entries that one script settles
	maxSettledCalls = 64 // about how many calls into Redis it makes, beside a few for each entry
)

// Settle writes settlements and removes their entries, those that this consumer still holds.
// It returns what became of each. One that cannot be written fails alone.
func (o *Outbox) Settle(ctx context.Context, b *rdb.Batcher, settlements []*Settlement) []Settled {
	order := make([]int, len(settlements))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := settlements[i], settlements[j]
		return cmp.Or(cmp.Compare(a.Key.Partition, b.Key.Partition), cmp.Compare(a.Lane, b.Lane))
	})
	var commands []*rdb.Command
	var settles [][]int // by command: indexes of the settlements
	for len(order) > 0 {
		n := settledTogether(o, settlements, order)
		commands = append(commands, settleCommand(ctx, o, settlements, order[:n]))
		settles, order = append(settles, order[:n]), order[n:]
	}
	_ = b.Do(ctx, commands...) // each command holds its own error
	settled := make([]Settled, len(settlements))
	for c, indexes := range settles {
		replies, err := commands[c].Values(len(indexes))
		for n, i := range indexes {
			if err != nil {
				settled[i] = failed(err)
			} else {
				settled[i] = readSettled(replies[n])
			}
		}
	}
	return settled
}

// settledTogether returns how many settlements from the start of order go into the next
// script: few enough that it takes about a millisecond at most, and on a cluster only those of
// one partition.
func settledTogether(o *Outbox, settlements []*Settlement, order []int) int {
	partition, calls := settlements[order[0]].Key.Partition, 0
	for n, i := range order {
		s := settlements[i]
		calls += 4*len(s.Delayed) + len(s.Dead) + 4*len(s.Additions)
		if n > 0 && (n == maxSettled || calls > maxSettledCalls || o.cluster && s.Key.Partition != partition) {
			return n
		}
	}
	return len(order)
}

// settleCommand returns the command that writes the settlements with the given indexes, of
// which those of one stream follow each other. It replies with what readSettled reads of
// each.
func settleCommand(ctx context.Context, o *Outbox, settlements []*Settlement, indexes []int) *rdb.Command {
	keys := make([]string, 0, 6*len(indexes))
	args := make([]any, 0, 3+8*len(indexes))
	streams := 0
	args = append(args, group, o.consumer, streams)
	var count int // index in args of the number of the stream's entries
	var before *Settlement
	for _, i := range indexes {
		s := settlements[i]
		if before == nil || s.Key.Partition != before.Key.Partition || s.Lane != before.Lane {
			keys = append(keys, o.StreamKey(s.Key.Partition, s.Lane), o.deadKey(s.Key.Partition), o.unsentKey(s.Key.Partition, s.Lane))
			args = append(args, s.Lane.String(), 0)
			count, streams = len(args)-1, streams+1
		}
		args[count] = args[count].(int) + 1
		keys, args = appendSettlement(o, keys, args, s)
		before = s
	}
	args[2] = streams
	return o.settle.Command(ctx, keys, args...)
}

// appendSettlement appends the keys and arguments of one settlement.
func appendSettlement(o *Outbox, keys []string, args []any, s *Settlement) (allKeys []string, allArgs []any) {
	lines, settled := s.Lines, ""
	if s.Record == "" {
		lines = ""
	}
	if lines != "" {
		keys = append(keys, s.Record)
	}
	if s.Entry != nil && s.Entry.Since != 0 { // it was delayed before
		settled = s.Entry.unsent()
	}
	args = append(args, s.Key.ID, lines, settled, len(s.Delayed))
	for _, d := range s.Delayed {
		set := o.DelayedKey(s.Key.Partition, s.Lane)
		if o.routes.know(d.Route) {
			set = o.WaitingKey(s.Key.Partition, s.Lane, d.Route)
		}
		keys = append(keys, set)
		e := d.entry(o.now())
		args = append(args, d.By.Milliseconds(), e.Value())
		if e.Quiet || e.ID == "" {
			args = append(args, "", 0)
		} else {
			args = append(args, e.unsent(), e.Since)
		}
	}
	args = append(args, len(s.Dead))
	for _, d := range s.Dead {
		route := ""
		if d.Route != (push.Route{}) {
			route = d.Route.String()
		}
		args = append(args, d.Device, route, d.Reason, d.Value)
	}
	args = append(args, 0)
	calls := len(args) - 1
	for _, a := range s.Additions {
		if a.Fragment == "" {
			continue
		}
		args[calls] = args[calls].(int) + 1
		keys = append(keys, a.Keys...)
		args = append(args, a.Fragment, len(a.Keys), len(a.Args))
		args = append(args, a.Args...)
	}
	return keys, args
}

// readSettled reads what settle.lua has replied of one entry: numbers, or the text of an
// error.
func readSettled(reply any) Settled {
	values, _ := reply.([]any)
	results := make([]int64, len(values))
	for i := range values {
		results[i], _ = values[i].(int64)
	}
	switch {
	case len(results) == 0:
		return failed(rdb.ErrReply)
	case results[0] < 0:
		text, _ := values[len(values)-1].(string)
		return failed(rdb.ScriptError(text))
	}
	return Settled{Held: results[0] == 1, Results: results[1:]}
}

// failed returns what became of an entry that could not be settled. A consumer group that is
// missing holds nothing.
func failed(err error) Settled {
	if redis.HasErrorPrefix(err, "NOGROUP") {
		return Settled{}
	}
	return Settled{Err: fmt.Errorf("settle entry: %w", err)}
}
