package live

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed presence.lua
	presenceSource string
	//go:embed watch.lua
	watchSource string

	presenceScript = rdb.NewScript(presenceSource)
	watchScript    = rdb.NewScript(watchSource)
)

const (
	onlineTTL        = 150 * time.Second // if it is not refreshed, since the process has died
	refreshInterval  = time.Minute
	lastSeenTTL      = 30 * 24 * time.Hour
	watchTTL         = 10 * time.Minute // clients ask again before it ends
	maxWatchers      = 200              // of one user
	maxPresenceBatch = 128              // updates in one pipeline
)

// A presenceUpdate says that a user is online in this process, or has left it.
type presenceUpdate struct {
	user   *userSockets
	online time.Duration // how long the user counts as online; 0: has left
	idle   time.Duration // how long ago the user was last here
}

// presence records in Redis which users are online in this process, and notifies a user's
// watchers when the user comes online or goes offline. Updates are written one after the
// other, so that watchers are told the last one last.
type presence struct {
	process   string // the id of this process
	batcher   *rdb.Batcher
	channels  Channels
	publisher *publisher
	location  *time.Location // of the times in frames
	log       *slog.Logger
	wake      chan struct{} // capacity 1: updates wait
	turn      chan struct{} // capacity 1: held while updates are written

	mu      mutex[presenceLock]
	waiting []presenceUpdate
}

// keys returns the keys of presence.lua and watch.lua.
func (p *presence) keys(user int64) []string {
	k := p.channels.Keys(user)
	return []string{k.Online, k.Seen, k.Watchers, k.Tombstone}
}

// add requests that an update is written. It does not wait.
func (p *presence) add(update presenceUpdate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, update)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run writes the updates that were requested until ctx ends.
func (p *presence) run(ctx context.Context) {
	for {
		select {
		case <-p.wake:
			p.write(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// write writes the updates that were requested so far. An update that fails is dropped: an
// entry in Redis expires, or is refreshed.
func (p *presence) write(ctx context.Context) {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.mu.Lock()
	updates := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for batch := range slices.Chunk(updates, maxPresenceBatch) {
		if err := p.update(ctx, batch); err != nil && ctx.Err() == nil {
			p.log.Warn("presence cannot be updated", "error", err)
		}
	}
}

// update writes a batch of updates to Redis, in one round trip. When users came online or
// went offline, it notifies their watchers, in another one.
func (p *presence) update(ctx context.Context, batch []presenceUpdate) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	updates := make([]*rdb.Command, len(batch))
	for i, update := range batch {
		updates[i] = presenceScript.Command(ctx, p.keys(update.user.id),
			fmt.Sprint(p.process, ".", update.user.number), update.online.Milliseconds(), update.idle.Milliseconds(), lastSeenTTL.Milliseconds())
	}
	errs := []error{p.batcher.Do(ctx, updates...)}
	var notices []*rdb.Command
	for i, update := range batch {
		if updates[i].Err() != nil {
			continue // Do has returned it; the others are told
		}
		told, err := p.notices(ctx, update.user.id, updates[i])
		notices, errs = append(notices, told...), append(errs, err)
	}
	if len(notices) > 0 {
		errs = append(errs, p.batcher.Do(ctx, notices...))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("update presence: %w", err)
	}
	return nil
}

// notices returns the commands that tell a user's presence to the watchers whom the reply
// of presence.lua names.
func (p *presence) notices(ctx context.Context, user int64, c *rdb.Command) ([]*rdb.Command, error) {
	reply, err := c.Int64Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) < 2 {
		return nil, fmt.Errorf("%w: %v", rdb.ErrReply, reply)
	}
	last, online := reply[0], reply[1] == 1
	notices := make([]*rdb.Command, len(reply)-2)
	for i, watcher := range reply[2:] {
		body := p.body(model.ConversationID(user, watcher), user, online, last)
		notices[i] = p.publisher.command(ctx, watcher, kindPresence, body)
	}
	return notices, nil
}

// watch makes a user a watcher of the partner in a conversation for watchTTL. It
// returns the members after op of a frame with the partner's presence.
func (p *presence) watch(ctx context.Context, watcher, partner int64, conversation string) (body string, err error) {
	c := watchScript.Command(ctx, p.keys(partner), watcher, watchTTL.Milliseconds(), maxWatchers)
	if err := p.batcher.Do(ctx, c); err != nil {
		return "", fmt.Errorf("watch presence: %w", err)
	}
	reply, err := c.Int64Slice()
	if err != nil {
		return "", fmt.Errorf("watch presence: %w", err)
	}
	if len(reply) != 2 {
		return "", fmt.Errorf("watch presence: unexpected reply %v", reply)
	}
	return p.body(conversation, partner, reply[1] == 1, reply[0]), nil
}

// body returns the members after op of a presence frame. last_seen is null
// while the user is online.
func (p *presence) body(conversation string, user int64, online bool, last int64) string {
	seen := "null"
	if !online && last > 0 {
		seen = strconv.Quote(time.UnixMilli(last).In(p.location).Format(time.RFC3339))
	}
	return fmt.Sprintf(`"conversation_id":%q,"user_id":"%d","online":%t,"last_seen":%s`, conversation, user, online, seen)
}
