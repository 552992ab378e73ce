package live

import (
	"context"
	_ "embed"
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
// watchers when the user comes online or goes offline.
type presence struct {
	process    string // the id of this process
	batcher    *rdb.Batcher
	channels   Channels
	publisher  *publisher
	location   *time.Location // of the times in frames
	goroutines *goroutines
	log        *slog.Logger
}

// keys returns the keys of presence.lua and watch.lua.
func (p *presence) keys(user int64) []string {
	k := p.channels.Keys(user)
	return []string{k.Online, k.Seen, k.Watchers, k.Tombstone}
}

// update writes updates to Redis. When a user came online or went offline, it notifies the
// user's watchers.
func (p *presence) update(ctx context.Context, updates []presenceUpdate) error {
	for batch := range slices.Chunk(updates, maxPresenceBatch) {
		commands := make([]*rdb.Command, len(batch))
		for i, update := range batch {
			commands[i] = presenceScript.Command(ctx, p.keys(update.user.id),
				fmt.Sprint(p.process, ".", update.user.number), update.online.Milliseconds(), update.idle.Milliseconds(), lastSeenTTL.Milliseconds())
		}
		if err := p.batcher.Do(ctx, commands...); err != nil {
			return fmt.Errorf("update presence: %w", err)
		}
		for i, update := range batch {
			if err := p.notifyWatchers(ctx, update.user.id, commands[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// notifyWatchers publishes a user's presence to the watchers that the reply of
// presence.lua names.
func (p *presence) notifyWatchers(ctx context.Context, user int64, c *rdb.Command) error {
	reply, err := c.Slice()
	if err != nil {
		return fmt.Errorf("update presence: %w", err)
	}
	if len(reply) < 2 {
		return fmt.Errorf("update presence: unexpected reply %v", reply)
	}
	last, isTime := reply[0].(int64)
	online, isFlag := reply[1].(int64)
	if !isTime || !isFlag {
		return fmt.Errorf("update presence: unexpected reply %v", reply)
	}
	for _, v := range reply[2:] {
		watcher, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
		if err != nil {
			return fmt.Errorf("update presence: parse a watcher: %w", err)
		}
		body := p.body(model.ConversationID(user, watcher), user, online == 1, last)
		if err := p.publisher.publish(ctx, watcher, kindPresence, body); err != nil {
			return err
		}
	}
	return nil
}

// setOnline updates the presence of a user who has connected.
func (p *presence) setOnline(u *userSockets) {
	ctx, cancel := p.goroutines.withTimeout(requestTimeout)
	defer cancel()
	if err := p.update(ctx, []presenceUpdate{{user: u, online: onlineTTL}}); err != nil {
		p.log.Warn("presence cannot be updated", "error", err)
	}
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
