package live

import (
	"context"
	_ "embed"
	"fmt"
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

// presenceKeys returns the keys of presence.lua and watch.lua.
func (h *Hub) presenceKeys(user int64) []string {
	k := h.Channels.Keys(user)
	return []string{k.Online, k.Seen, k.Watchers, k.Tombstone}
}

// updatePresence writes updates to Redis. When a user came online or went offline,
// it tells those who watch that user.
func (h *Hub) updatePresence(ctx context.Context, updates []presenceUpdate) error {
	for batch := range slices.Chunk(updates, maxPresenceBatch) {
		commands := make([]*rdb.Command, len(batch))
		for i, update := range batch {
			commands[i] = presenceScript.Command(ctx, h.presenceKeys(update.user.id),
				fmt.Sprint(h.id, ".", update.user.number), update.online.Milliseconds(), update.idle.Milliseconds(), lastSeenTTL.Milliseconds())
		}
		if err := h.Batcher.Do(ctx, commands...); err != nil {
			return fmt.Errorf("update presence: %w", err)
		}
		for i, update := range batch {
			if err := h.notifyWatchers(ctx, update.user.id, commands[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// notifyWatchers publishes a user's presence to the watchers that the reply of
// presence.lua names.
func (h *Hub) notifyWatchers(ctx context.Context, user int64, c *rdb.Command) error {
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
		body := h.presenceBody(model.ConversationID(user, watcher), user, online == 1, last)
		if err := h.publish(ctx, watcher, kindPresence, body); err != nil {
			return err
		}
	}
	return nil
}

// setOnline updates the presence of a user who has connected.
func (h *Hub) setOnline(u *userSockets) {
	ctx, cancel := h.withTimeout(requestTimeout)
	defer cancel()
	if err := h.updatePresence(ctx, []presenceUpdate{{user: u, online: onlineTTL}}); err != nil {
		h.Log.Warn("presence cannot be updated", "error", err)
	}
}

// presence tells the client whether the partner is online, and makes this user a
// watcher of the partner for watchTTL.
func (s *socket) presence(ctx context.Context, r *request) *answer {
	partner, failed := s.partner(ctx, r)
	if failed != nil {
		return failed
	}
	h := s.hub
	c := watchScript.Command(ctx, h.presenceKeys(partner),
		s.user.id, watchTTL.Milliseconds(), maxWatchers)
	if err := h.Batcher.Do(ctx, c); err != nil {
		return s.unavailable(err)
	}
	reply, err := c.Int64Slice()
	if err != nil {
		return s.unavailable(fmt.Errorf("watch presence: %w", err))
	}
	if len(reply) != 2 {
		return s.unavailable(fmt.Errorf("watch presence: unexpected reply %v", reply))
	}
	body := h.presenceBody(r.Conversation, partner, reply[1] == 1, reply[0])
	s.notify([]byte(`{"op":"presence",` + body + `}`))
	return ack(member{"conversation_id", r.Conversation}, member{"message", nil})
}

// presenceBody returns the members after op of a presence frame. last_seen is null
// while the user is online.
func (h *Hub) presenceBody(conversation string, user int64, online bool, last int64) string {
	seen := "null"
	if !online && last > 0 {
		seen = strconv.Quote(time.UnixMilli(last).In(h.Location).Format(time.RFC3339))
	}
	return fmt.Sprintf(`"conversation_id":%q,"user_id":"%d","online":%t,"last_seen":%s`, conversation, user, online, seen)
}

// typingBody returns the members after op of a typing frame.
func typingBody(conversation string, user int64) string {
	return fmt.Sprintf(`"conversation_id":%q,"user_id":"%d"`, conversation, user)
}

// publish sends a frame that is not logged to a user's sockets, in every process.
func (h *Hub) publish(ctx context.Context, user int64, kind, body string) error {
	c := rdb.NewCommand(ctx, h.publishCommand(), h.Channels.Channel(user), kind+" 0 0 -\n"+body)
	if err := h.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("publish to a user: %w", err)
	}
	return nil
}

func (h *Hub) publishCommand() string {
	if h.Sharded {
		return "spublish"
	}
	return "publish"
}
