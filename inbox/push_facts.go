package inbox

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed push_facts.lua
var pushFactsSource string
var pushFactsScript = script(pushFactsSource).ReadOnly()

// maxPushFacts is how many pushes one script looks up. It holds Redis for a fraction of a
// millisecond.
const maxPushFacts = 16

// A PushQuery names a push whose facts are looked up.
type PushQuery struct {
	User    int64  // the receiver
	Subject string // to look up; or ""
	// Conversation and Message are the ids of a message and of its conversation, and "" for
	// other pushes.
	Conversation, Message string
	// Listed is the id of the notification whose body is looked up, or "".
	Listed string
}

// PushFacts are what sending a push depends on, all as of the same moment.
type PushFacts struct {
	At       time.Time // by the clock of the Redis that holds the receiver
	Devices  []string  // the values of the receiver's device list
	Unreads  model.Unreads
	Subject  Subject
	Settings Settings
	Message  MessageStatus
	Body     string // of the notification that the query lists; "" when it is gone
	Owed     bool   // an iPhone is to be told with the next push what was read; see Shades
	Err      error  // then the rest is not set
}

// A Subject names the newest notifications about a subject.
type Subject struct {
	Told   string // id of the notification that told its newest state, or ""
	Newest string // id of the newest notification about it that was pushed, or ""
}

// A MessageStatus says whether a message still has to be pushed.
type MessageStatus struct {
	Seen   bool // it was read or deleted, or a socket has said that it was seen
	Unread int  // unread messages of its conversation
}

// PushFacts looks up the facts of pushes, in the order of the queries, in one round trip
// for each shard.
func (s *Store) PushFacts(ctx context.Context, b *rdb.Batcher, queries []PushQuery) []PushFacts {
	order := make([]int, len(queries))
	for i := range order {
		order[i] = i
	}
	partition := func(int) int { return 0 }
	if _, cluster := s.redis.(*redis.ClusterClient); cluster { // a script's keys must be of one partition
		partition = func(i int) int { return s.parts.OfUser(queries[i].User) }
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(partition(i), partition(j)) })
	var commands []*rdb.Command
	var asked [][]int // by command: indexes of the queries
	for len(order) > 0 {
		n := 1
		for n < min(len(order), maxPushFacts) && partition(order[n]) == partition(order[0]) {
			n++
		}
		commands = append(commands, s.pushFactsCommand(ctx, queries, order[:n]))
		asked, order = append(asked, order[:n]), order[n:]
	}
	_ = b.Do(ctx, commands...) // each command holds its own error
	facts := make([]PushFacts, len(queries))
	for c, indexes := range asked {
		reply, err := commands[c].Values(1 + len(indexes))
		for n, i := range indexes {
			if err != nil {
				facts[i].Err = fmt.Errorf("look up a push: %w", err)
			} else {
				facts[i] = readPushFacts(reply[0], reply[1+n])
			}
		}
	}
	return facts
}

// pushFactsCommand returns the command that looks up the queries with the given indexes.
func (s *Store) pushFactsCommand(ctx context.Context, queries []PushQuery, indexes []int) *rdb.Command {
	keys := make([]string, 0, 6*len(indexes))
	args := make([]any, 0, 1+3*len(indexes))
	args = append(args, s.testTime())
	for _, i := range indexes {
		q := &queries[i]
		k := s.keys(q.User)
		keys = append(keys, s.options.Devices(q.User), k.meta(), k.unread(), k.counted(), k.profile(), k.shade())
		if q.Message != "" {
			keys = append(keys, k.receivedUnread(q.Conversation), s.messageRecord(q.User, q.Message))
		}
		seq := ""
		if at, err := model.IDTime(q.Listed); q.Listed != "" && err == nil { // the sequence number is the time
			seq = strconv.FormatInt(at.UnixMicro(), 10)
			keys = append(keys, k.notifications(), k.keptBodies())
		}
		args = append(args, q.Subject, q.Message, seq)
	}
	return pushFactsScript.Command(ctx, keys, args...)
}

// readPushFacts reads what push_facts.lua has replied: the time, and the facts of one push
// or the text of an error.
func readPushFacts(at, reply any) PushFacts {
	values, _ := reply.([]any)
	if len(values) == 1 {
		if text, ok := values[0].(string); ok {
			return PushFacts{Err: fmt.Errorf("look up a push: %w", rdb.ScriptError(text))}
		}
	}
	micros, ok := at.(int64)
	if len(values) != 18 || !ok {
		return PushFacts{Err: fmt.Errorf("look up a push: %w: %d values", rdb.ErrReply, len(values))}
	}
	var n [16]int64
	for i := range n {
		n[i], _ = values[i].(int64) // 0 where it is text
	}
	state, _ := values[9].(string) // nil: not known
	body, _ := values[16].(string)
	owed, _ := values[17].(int64)
	listed, _ := values[0].([]any)
	f := PushFacts{
		At:       time.UnixMicro(micros),
		Devices:  make([]string, len(listed)),
		Unreads:  readUnreads(n[1:9]),
		Subject:  parseSubject(state),
		Settings: readSettings(values[10:14]),
		Message:  MessageStatus{Seen: n[14] == 1, Unread: int(n[15])},
		Body:     body,
		Owed:     owed == 1,
	}
	for i := range listed {
		f.Devices[i], _ = listed[i].(string)
	}
	return f
}

// parseSubject reads what meta holds of a subject: ORDER RANK TOLD NEWEST.
func parseSubject(state string) (s Subject) {
	if f := strings.Fields(state); len(f) == 4 {
		s.Told, s.Newest = strings.TrimPrefix(f[2], "-"), f[3]
	}
	return s
}
