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
	// Types are the Redis types of the keys, in their order. The last one applies to all
	// further keys. Settling fails before its first write when a key has another type.
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
	// App is the app whose circuit the entry waits for. The entry is returned as soon as
	// that circuit is closed, and after By at the latest. When App is empty, or none of
	// Options.Apps, the entry is returned after By.
	App string
}

// entry returns the entry as it is stored. A push that waits for the end of quiet hours has
// no age until then.
func (d *Delayed) entry(now time.Time) *Entry {
	e := *d.Entry
	e.Quiet = e.Quiet && d.App == ""
	e.Since = cmp.Or(e.since(), now.UnixMilli())
	if e.Quiet {
		e.Since = now.Add(d.By).UnixMilli()
	}
	return &e
}

// A Dead is an entry that is not tried any more.
type Dead struct {
	Device string // its id; "" when the push was for all of the user's
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

// SettleCommand returns the command that writes a settlement and removes the entry, if
// this consumer still holds it; see ReadSettled.
func (o *Outbox) SettleCommand(ctx context.Context, s *Settlement) *rdb.Command {
	stream := o.StreamKey(s.Key.Partition, s.Lane)
	record := s.Record
	if record == "" {
		record = stream
	}
	keys := []string{stream, o.deadKey(s.Key.Partition), record}
	args := make([]any, 0, 10+4*len(s.Delayed)+3*len(s.Dead))
	args = append(args, group, o.consumer, s.Key.ID, s.Lane.String(), s.Lines)
	settled := ""
	if s.Entry != nil && s.Entry.Since != 0 { // it was delayed before
		settled = s.Entry.unsent()
	}
	if settled != "" || len(s.Delayed) > 0 {
		keys = append(keys, o.unsentKey(s.Key.Partition, s.Lane))
	}
	args = append(args, settled, len(s.Delayed))
	for _, d := range s.Delayed {
		set := o.DelayedKey(s.Key.Partition, s.Lane)
		if slices.Contains(o.apps, d.App) {
			set = o.WaitingKey(s.Key.Partition, s.Lane, d.App)
		}
		keys = append(keys, set)
		e := d.entry(o.now())
		args = append(args, d.By.Milliseconds(), e.Value())
		if e.Quiet {
			args = append(args, "", 0)
		} else {
			args = append(args, e.unsent(), e.Since)
		}
	}
	args = append(args, len(s.Dead))
	for _, d := range s.Dead {
		args = append(args, d.Device, d.Reason, d.Value)
	}
	count := len(args)
	args = append(args, 0)
	calls := 0
	for _, a := range s.Additions {
		if a.Fragment == "" {
			continue
		}
		calls++
		keys = append(keys, a.Keys...)
		args = append(args, a.Fragment, len(a.Keys), len(a.Args))
		args = append(args, a.Args...)
	}
	args[count] = calls
	return o.settle.Command(ctx, keys, args...)
}

// ReadSettled reads the reply to SettleCommand. held is false when nothing was written:
// another consumer holds the entry, or no consumer does because Redis has lost it. results
// are the return values of the fragments, in the order of the additions that have one.
func ReadSettled(c *rdb.Command) (held bool, results []int64, err error) {
	reply, err := c.Int64Slice()
	if redis.HasErrorPrefix(err, "NOGROUP") {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, fmt.Errorf("settle entry: %w", err)
	}
	if len(reply) == 0 {
		return false, nil, fmt.Errorf("settle entry: %w", rdb.ErrReply)
	}
	return reply[0] == 1, reply[1:], nil
}
