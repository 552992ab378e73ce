package broadcast

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed create.lua
	createSource string
	//go:embed name.lua
	nameSource string
	//go:embed state.lua
	stateSource string
	//go:embed fence.lua
	fenceSource string
	//go:embed read.lua
	readSource string

	createScript = rdb.NewScript(createSource)
	nameScript   = rdb.NewScript(nameSource)
	stateScript  = rdb.NewScript(stateSource)
	fenceScript  = rdb.NewScript(fenceSource)
	readScript   = rdb.NewScript(readSource).ReadOnly()
)

const (
	maxNewest = 1000 // broadcasts in the set newestKey

	maxNames     = 500     // users that one script names: well below a millisecond
	nameScripts  = 8       // such scripts in a pipeline
	namedMargin  = day     // how long the named users are kept after the broadcast has expired
	letterMargin = 3 * day // how long the broadcast is kept after its last dead letter
)

// A store keeps broadcasts and the progress of their walks in Redis. It knows neither
// rates nor audiences.
type store struct {
	redis      redis.UniversalClient
	partitions *rdb.Partitions
	batcher    *rdb.Batcher
	inbox      *inbox.Store
	notify     *inbox.WrappedStore // notify.lua
	now        func() time.Time
}

// A newRecord is a broadcast that is to be stored.
type newRecord struct {
	key        string
	digest     string  // of what was sent
	definition []byte  // the part that its walk needs
	body       []byte  // of the notifications: a JSON object
	audience   []byte  // for the worker that pushes; see ParseAudience
	named      []int64 // the users whom it names; nil: everyone
	created    time.Time
	expires    time.Time // when users are no longer notified
}

// A record is a broadcast as it was stored at one moment.
type record struct {
	key               string
	state             State // "": it has expired
	definition        []byte
	started, finished time.Time // zero: not yet
	held              bool      // a process holds the lease
	pace              float64   // users notified a second, smoothed, while held
	total             int64     // of users, when it is over; else 0

	// The counts of its walk.
	sent, skipped int64            // users notified, and users who were not in the audience
	accepted      int64            // pushes that a provider accepted
	failed        map[string]int64 // pushes that will not be tried again by themselves, by reason
	receipts      map[string]int64 // by what they say
}

// keptUntil returns until when a broadcast that expires at the given time is kept: after
// that no notification and no dead letter refers to it.
func (s *store) keptUntil(expires time.Time) time.Time {
	letters, notifications := expires.Add(outbox.KeepDead+letterMargin), s.inbox.Texts.KeptUntil(expires)
	if notifications.After(letters) {
		return notifications
	}
	return letters
}

// create stores a broadcast; see Broadcasts.Start.
func (s *store) create(ctx context.Context, r *newRecord) (duplicate bool, err error) {
	until := s.keptUntil(r.expires)
	create := createScript.Command(ctx, []string{s.broadcastKey(r.key)}, r.digest, r.definition, until.UnixMilli())
	if err := s.batcher.Do(ctx, create); err != nil {
		return false, fmt.Errorf("create broadcast: %w", err)
	}
	switch status, err := create.Int(); {
	case err != nil:
		return false, fmt.Errorf("create broadcast: %w", err)
	case status < 0:
		return false, inbox.ErrConflict
	case status == 0:
		return true, nil
	}
	if err := s.inbox.Texts.Store(ctx, r.key, inbox.Text{Body: r.body, Audience: r.audience}, until); err != nil {
		return false, fmt.Errorf("create broadcast: %w", err)
	}
	err = s.batcher.Do(ctx,
		rdb.NewCommand(ctx, "zadd", s.newestKey(), r.created.UnixMilli(), r.key),
		rdb.NewCommand(ctx, "zremrangebyrank", s.newestKey(), 0, -maxNewest-1),
		rdb.NewCommand(ctx, "sadd", s.openKey(), r.key))
	if err != nil {
		return false, fmt.Errorf("create broadcast: %w", err)
	}
	if err := s.name(ctx, r); err != nil {
		return false, fmt.Errorf("create broadcast: %w", err)
	}
	err = s.setState(ctx, r.key, active, preparing)
	if errors.Is(err, ErrState) { // a repeat of this request was faster
		return true, nil
	}
	return false, err
}

// name stores the users whom a broadcast names, in their partitions.
func (s *store) name(ctx context.Context, r *newRecord) error {
	until := r.expires.Add(namedMargin).UnixMilli()
	members := make([][]any, s.partitions.Len())
	for _, user := range r.named {
		p := s.partitions.OfUser(user)
		members[p] = append(members[p], rdb.UserMember(user))
	}
	var commands []*rdb.Command
	for p, rest := range members {
		for len(rest) > 0 {
			n := min(len(rest), maxNames)
			commands = append(commands, nameScript.Command(ctx, []string{s.namedKey(p, r.key)}, append([]any{until}, rest[:n]...)...))
			rest = rest[n:]
		}
	}
	for len(commands) > 0 {
		n := min(len(commands), nameScripts)
		if err := s.batcher.Do(ctx, commands[:n]...); err != nil {
			return err
		}
		commands = commands[n:]
	}
	return nil
}

// setState changes the state of a broadcast. Once it has returned from any state but
// active, no broadcaster notifies anyone any more. Asking for the state that it is in
// succeeds. The error is ErrState when its state is none of from, and inbox.ErrNotFound
// when there is no such broadcast.
func (s *store) setState(ctx context.Context, key string, to State, from ...State) error {
	return s.change(ctx, key, to, from, "")
}

// end is setState for final states; call close after it. total is the number of users that
// its status shows from now on.
func (s *store) end(ctx context.Context, key string, to State, total int64, from ...State) error {
	return s.change(ctx, key, to, from, "", "finished", s.now().UnixMilli(), "total", total)
}

// change runs state.lua and raises the fence of the partitions. held is the fence that
// the caller must hold, or "".
func (s *store) change(ctx context.Context, key string, to State, from []State, held string, set ...any) error {
	var allowed strings.Builder
	for _, state := range from {
		allowed.WriteString(" " + string(state) + " ")
	}
	c := stateScript.Command(ctx, []string{s.broadcastKey(key)}, append([]any{string(to), allowed.String(), held}, set...)...)
	if err := s.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("set broadcast to %s: %w", to, err)
	}
	reply, err := c.Slice()
	if err != nil {
		return fmt.Errorf("set broadcast to %s: %w", to, err)
	}
	if len(reply) != 3 {
		return fmt.Errorf("set broadcast to %s: %w", to, rdb.ErrReply)
	}
	switch reply[0] {
	case int64(-2):
		return inbox.ErrNotFound
	case int64(-1):
		if reply[1] == string(preparing) {
			return inbox.ErrNotFound // it has not been accepted
		}
		return fmt.Errorf("%w: it is %v", ErrState, reply[1])
	}
	if to == active {
		return nil
	}
	fence, _ := reply[2].(string)
	_, err = s.raiseFence(ctx, s.batcher, key, fence)
	if errors.Is(err, errFenced) { // it has been resumed since
		return nil
	}
	return err
}

// raiseFence keeps broadcasters with a lower fence out of every partition, and returns
// the cursor of each. The error is errFenced when the fence is higher already.
func (s *store) raiseFence(ctx context.Context, b *rdb.Batcher, key, fence string) (cursors []string, err error) {
	commands := make([]*rdb.Command, s.partitions.Len())
	for p := range commands {
		commands[p] = fenceScript.Command(ctx, []string{s.walkKey(p, key), s.inbox.Texts.Key(p, key)}, fence)
	}
	if err := b.Do(ctx, commands...); err != nil {
		return nil, fmt.Errorf("fence broadcast: %w", err)
	}
	cursors = make([]string, len(commands))
	for p, c := range commands {
		reply, err := c.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("fence broadcast: %w", err)
		}
		if len(reply) != 2 {
			return nil, fmt.Errorf("fence broadcast: %w", rdb.ErrReply)
		}
		if reply[0] != fence {
			return nil, errFenced
		}
		cursors[p] = reply[1]
	}
	return cursors, nil
}

// close removes a broadcast that is over, or has expired, from the open ones, and deletes
// the lists of users whom it names. It may be repeated.
func (s *store) close(ctx context.Context, key string) error {
	commands := []*rdb.Command{rdb.NewCommand(ctx, "srem", s.openKey(), key)}
	for p := range s.partitions.Len() {
		commands = append(commands, rdb.NewCommand(ctx, "unlink", s.namedKey(p, key)))
	}
	if err := s.batcher.Do(ctx, commands...); err != nil {
		return fmt.Errorf("close broadcast: %w", err)
	}
	return nil
}

// unlist removes a user from the named users of open broadcasts.
func (s *store) unlist(ctx context.Context, user int64) error {
	keys, err := s.redis.SMembers(ctx, s.openKey()).Result()
	if err != nil {
		return fmt.Errorf("take user off broadcasts: %w", err)
	}
	if len(keys) == 0 {
		return nil
	}
	commands := make([]*rdb.Command, len(keys))
	for i, key := range keys {
		commands[i] = rdb.NewCommand(ctx, "zrem", s.namedKey(s.partitions.OfUser(user), key), rdb.UserMember(user))
	}
	if err := s.batcher.Do(ctx, commands...); err != nil {
		return fmt.Errorf("take user off broadcasts: %w", err)
	}
	return nil
}
