package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// ErrBroadcastState reports that a broadcast cannot go from the state that it is in
// to the one that was asked for.
var ErrBroadcastState = errors.New("the broadcast's state does not allow that")

// A BroadcastState says who may walk over a broadcast's audience.
type BroadcastState string

// The states. Of those that are over no other follows.
const (
	BroadcastPreparing BroadcastState = "preparing" // not accepted yet
	BroadcastActive    BroadcastState = "active"
	BroadcastPaused    BroadcastState = "paused"
	BroadcastCancelled BroadcastState = "cancelled" // over
	BroadcastDone      BroadcastState = "done"      // over: everyone was reached
	BroadcastExpired   BroadcastState = "expired"   // over: its time had come before
)

// Over reports whether no other state follows.
func (s BroadcastState) Over() bool {
	return s == BroadcastCancelled || s == BroadcastDone || s == BroadcastExpired
}

// deadFor is how long dead letters may refer to a broadcast.
const deadFor = 30 * 24 * time.Hour

// A NewBroadcast is a broadcast that is to be kept.
type NewBroadcast struct {
	Key        string  // digest of its source and id, which make it idempotent
	Content    string  // digest of what was sent
	Definition []byte  // what whoever walks must know
	Body       []byte  // of the notification: a JSON object
	Audience   []byte  // what whoever pushes must know
	Users      []int64 // whom it names; nil: everyone
	Created    time.Time
	Expires    time.Time // when users are no longer told
}

// A Broadcast is what is kept of a broadcast at one moment.
type Broadcast struct {
	Key               string
	State             BroadcastState
	Definition        []byte
	Started, Finished time.Time // zero: not yet
	Held              bool      // somebody walks
	Pace              float64   // users told a second of late, while Held
	Total             int64     // of users, when it is over; else 0

	Sent, Skipped int64 // users told, and users who were not of the audience
	// Accepted counts pushes that a provider took, Failed by reason those that
	// nobody will try again by themselves.
	Accepted int64
	Failed   map[string]int64
}

var (
	//go:embed broadcast_create.lua
	createSource string
	//go:embed broadcast_list.lua
	listSource string
	//go:embed broadcast_state.lua
	stateSource string
	//go:embed broadcast_fence.lua
	fenceSource string

	createScript = rdb.NewScript(createSource)
	listScript   = rdb.NewScript(listSource)
	stateScript  = rdb.NewScript(stateSource)
	fenceScript  = rdb.NewScript(fenceSource)
)

// broadcastLife returns when a broadcast that expires may be forgotten: when no
// notification and no dead letter refers to it any more. An idle user's list is
// trimmed up to two days late.
func (b *base) broadcastLife(expires time.Time) time.Time {
	return expires.Add(max(b.options.Keep, deadFor) + 3*expiryRenewInterval)
}

// Broadcasts holds the state and the progress of broadcasts.
type Broadcasts struct {
	*base
	notifications *Notifications
	texts         *Texts
}

// CreateBroadcast keeps a broadcast. Once it returns without an error, the
// broadcast is walked; one that failed may be repeated, and is not walked before it
// succeeds. duplicate says that it had been kept before. The error is ErrConflict
// when the key was used for other content.
func (s *Broadcasts) CreateBroadcast(ctx context.Context, b NewBroadcast) (duplicate bool, err error) {
	life := s.broadcastLife(b.Expires).UnixMilli()
	create := createScript.Command(ctx, []string{s.broadcast(b.Key)}, b.Content, b.Definition, life)
	if err := s.batcher.Do(ctx, create); err != nil {
		return false, fmt.Errorf("create broadcast: %w", err)
	}
	switch status, err := create.Int(); {
	case err != nil:
		return false, fmt.Errorf("create broadcast: %w", err)
	case status < 0:
		return false, ErrConflict
	case status == 0:
		return true, nil
	}
	commands := []*rdb.Command{
		rdb.NewCommand(ctx, "zadd", s.broadcasts(), b.Created.UnixMilli(), b.Key),
		rdb.NewCommand(ctx, "zremrangebyrank", s.broadcasts(), 0, -mostListed-1),
		rdb.NewCommand(ctx, "sadd", s.openBroadcasts(), b.Key),
	}
	for p := range s.parts.Len() {
		commands = append(commands, s.texts.StoreCommand(ctx, p, b.Key, Text{Body: b.Body, Audience: b.Audience}, s.broadcastLife(b.Expires)))
	}
	if err := s.batcher.Do(ctx, commands...); err != nil {
		return false, fmt.Errorf("create broadcast: %w", err)
	}
	if err := s.nameUsers(ctx, b); err != nil {
		return false, fmt.Errorf("create broadcast: %w", err)
	}
	err = s.setBroadcast(ctx, b.Key, BroadcastActive, []BroadcastState{BroadcastPreparing}, "")
	if errors.Is(err, ErrBroadcastState) { // a repeat of this request was faster
		return true, nil
	}
	return false, err
}

const (
	mostListed = 1000 // broadcasts that BroadcastKeys knows

	nameMost  = 500 // users that one script names: well below a millisecond
	nameBatch = 8   // such scripts in a pipeline
)

// nameUsers stores the users whom a broadcast names, in their partitions.
func (s *Broadcasts) nameUsers(ctx context.Context, b NewBroadcast) error {
	life := b.Expires.Add(expiryRenewInterval).UnixMilli()
	members := make([][]any, s.parts.Len())
	for _, user := range b.Users {
		p := s.parts.OfUser(user)
		members[p] = append(members[p], rdb.UserMember(user))
	}
	var commands []*rdb.Command
	for p, of := range members {
		for len(of) > 0 {
			n := min(len(of), nameMost)
			commands = append(commands, listScript.Command(ctx, []string{s.named(p, b.Key)}, append([]any{life}, of[:n]...)...))
			of = of[n:]
		}
	}
	for len(commands) > 0 {
		n := min(len(commands), nameBatch)
		if err := s.batcher.Do(ctx, commands[:n]...); err != nil {
			return err
		}
		commands = commands[n:]
	}
	return nil
}

// SetBroadcast makes a broadcast active, or pauses it. Once it has been paused,
// nobody who had been walking tells anyone any more. Asking for the state that it is
// in succeeds. The error is ErrBroadcastState when the state that it is in is none
// of from, and ErrNotFound when there is no such broadcast.
func (s *Broadcasts) SetBroadcast(ctx context.Context, key string, to BroadcastState, from ...BroadcastState) error {
	return s.setBroadcast(ctx, key, to, from, "")
}

// EndBroadcast is SetBroadcast for states that are over; CloseBroadcast comes after
// it. total is the number of users that is shown of it from now on.
func (s *Broadcasts) EndBroadcast(ctx context.Context, key string, to BroadcastState, total int64, from ...BroadcastState) error {
	return s.setBroadcast(ctx, key, to, from, "", "finished", s.now().UnixMilli(), "total", total)
}

func (s *Broadcasts) setBroadcast(ctx context.Context, key string, to BroadcastState, from []BroadcastState, holding string, set ...any) error {
	var allowed strings.Builder
	for _, state := range from {
		allowed.WriteString(" " + string(state) + " ")
	}
	c := stateScript.Command(ctx, []string{s.broadcast(key)}, append([]any{string(to), allowed.String(), holding}, set...)...)
	if err := s.batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("set broadcast to %s: %w", to, err)
	}
	reply, err := c.Slice()
	if err != nil || len(reply) != 3 {
		return fmt.Errorf("set broadcast to %s: reply %v: %w", to, reply, err)
	}
	switch reply[0] {
	case int64(-2):
		return ErrNotFound
	case int64(-1):
		if reply[1] == string(BroadcastPreparing) {
			return ErrNotFound // it has not been accepted
		}
		return fmt.Errorf("%w: it is %v", ErrBroadcastState, reply[1])
	}
	if to == BroadcastActive {
		return nil
	}
	fence, _ := reply[2].(string)
	_, err = s.raiseFence(ctx, s.batcher, key, fence)
	if errors.Is(err, ErrFenced) { // it has been resumed since
		return nil
	}
	return err
}

// raiseFence keeps walkers with a lower fence out of every partition, and returns
// how far the walk is in each. The error is ErrFenced when the fence is higher.
func (s *Broadcasts) raiseFence(ctx context.Context, b *rdb.Batcher, key, fence string) (cursors []string, err error) {
	commands := make([]*rdb.Command, s.parts.Len())
	for p := range commands {
		commands[p] = fenceScript.Command(ctx, []string{s.walk(p, key), s.text(p, key)}, fence)
	}
	if err := b.Do(ctx, commands...); err != nil {
		return nil, fmt.Errorf("fence broadcast: %w", err)
	}
	cursors = make([]string, len(commands))
	for p, c := range commands {
		reply, err := c.StringSlice()
		if err != nil || len(reply) != 2 {
			return nil, fmt.Errorf("fence broadcast: reply %v: %w", reply, err)
		}
		if reply[0] != fence {
			return nil, ErrFenced
		}
		cursors[p] = reply[1]
	}
	return cursors, nil
}

// CloseBroadcast puts a broadcast away: it takes one that is over, or forgotten, out of the open ones,
// and forgets whom it named. It may be repeated.
func (s *Broadcasts) CloseBroadcast(ctx context.Context, key string) error {
	commands := []*rdb.Command{rdb.NewCommand(ctx, "srem", s.openBroadcasts(), key)}
	for p := range s.parts.Len() {
		commands = append(commands, rdb.NewCommand(ctx, "unlink", s.named(p, key)))
	}
	if err := s.batcher.Do(ctx, commands...); err != nil {
		return fmt.Errorf("close broadcast: %w", err)
	}
	return nil
}

// OpenBroadcasts returns the broadcasts that are not over, without what their walks
// have counted. One that is forgotten has no state.
func (s *Broadcasts) OpenBroadcasts(ctx context.Context) ([]Broadcast, error) {
	keys, err := s.redis.SMembers(ctx, s.openBroadcasts()).Result()
	if err != nil {
		return nil, fmt.Errorf("list open broadcasts: %w", err)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	pipe := s.redis.Pipeline()
	now := pipe.Time(ctx)
	homes := make([]*redis.MapStringStringCmd, len(keys))
	for i, key := range keys {
		homes[i] = pipe.HGetAll(ctx, s.broadcast(key))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list open broadcasts: %w", err)
	}
	open := make([]Broadcast, len(keys))
	for i, key := range keys {
		open[i] = newBroadcast(key, homes[i].Val(), now.Val())
	}
	return open, nil
}

// BroadcastKeys returns the keys of the newest broadcasts, most of them at most.
func (s *Broadcasts) BroadcastKeys(ctx context.Context, most int) ([]string, error) {
	keys, err := s.redis.ZRevRange(ctx, s.broadcasts(), 0, int64(most)-1).Result()
	if err != nil {
		return nil, fmt.Errorf("list broadcasts: %w", err)
	}
	return keys, nil
}

// Broadcast returns what is kept of a broadcast, or ErrNotFound.
func (s *Broadcasts) Broadcast(ctx context.Context, key string) (Broadcast, error) {
	pipe := s.redis.Pipeline()
	home := pipe.HGetAll(ctx, s.broadcast(key))
	now := pipe.Time(ctx)
	walks := make([]*redis.MapStringStringCmd, s.parts.Len())
	for p := range walks {
		walks[p] = pipe.HGetAll(ctx, s.walk(p, key))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return Broadcast{}, fmt.Errorf("read broadcast: %w", err)
	}
	if len(home.Val()) == 0 {
		return Broadcast{}, ErrNotFound
	}
	b := newBroadcast(key, home.Val(), now.Val())
	for _, walk := range walks {
		b.add(walk.Val())
	}
	return b, nil
}

func newBroadcast(key string, fields map[string]string, now time.Time) Broadcast {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(fields[name], 10, 64) // absent: 0
		return n
	}
	at := func(name string) time.Time {
		if n := number(name); n > 0 {
			return time.UnixMilli(n)
		}
		return time.Time{}
	}
	b := Broadcast{
		Key: key, State: BroadcastState(fields["state"]), Definition: []byte(fields["definition"]),
		Started: at("started"), Finished: at("finished"), Total: number("total"),
		Held: now.Before(at("until")), Failed: make(map[string]int64),
	}
	if b.Held {
		b.Pace, _ = strconv.ParseFloat(fields["pace"], 64) // absent: 0
	}
	return b
}

// add adds what a partition counted.
func (b *Broadcast) add(walk map[string]string) {
	for name, text := range walk {
		n, _ := strconv.ParseInt(text, 10, 64) // what is no count is not read
		if reason, ok := strings.CutPrefix(name, failedField); ok {
			b.Failed[reason] += n
			continue
		}
		switch name {
		case "sent":
			b.Sent += n
		case "skipped":
			b.Skipped += n
		case AcceptedField:
			b.Accepted += n
		}
	}
}

// AcceptedField is the field of a walk that counts accepted pushes.
const AcceptedField = "accepted"

const failedField = "failed:"

// FailedField is the field of a walk that counts the pushes that failed for a
// reason.
func FailedField(reason string) string { return failedField + reason }

// WalkKey returns the key of the hash in which a partition counts what came of a
// broadcast; see AcceptedField and FailedField. What it holds expires by itself:
// only what exists may be counted up.
func (s *Broadcasts) WalkKey(partition int, key string) string { return s.walk(partition, key) }
