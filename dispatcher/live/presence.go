package live

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox"
)

var (
	//go:embed presence.lua
	presenceSource string
	//go:embed watch.lua
	watchSource string

	presenceScript = inbox.NewScript(presenceSource)
	watchScript    = inbox.NewScript(watchSource)
)

const (
	onlineFor    = 150 * time.Second // without a refresh: the process has died
	refreshEvery = time.Minute
	lastSeenFor  = 30 * 24 * time.Hour
	watchFor     = 10 * time.Minute // who still looks asks again
	maxWatchers  = 200              // of one user
	presenceMost = 128              // users in one call
)

// A sighting is what is to be noted of a user's presence.
type sighting struct {
	audience *audience
	online   time.Duration // 0: the user has left
	ago      time.Duration // since the user was here
}

// presenceKeys are what presence.lua and watch.lua work on.
func (h *Hub) presenceKeys(user int64) []string {
	k := h.Inbox.LiveKeys(user)
	return []string{k.Online, k.Seen, k.Watchers, k.Tombstone}
}

// note writes sightings, and tells those who watch users who came or went.
func (h *Hub) note(ctx context.Context, sightings []sighting) error {
	for some := range slices.Chunk(sightings, presenceMost) {
		commands := make([]*inbox.Command, len(some))
		for i, s := range some {
			commands[i] = presenceScript.Command(ctx, h.presenceKeys(s.audience.user),
				fmt.Sprint(h.id, ".", s.audience.number), s.online.Milliseconds(), s.ago.Milliseconds(), lastSeenFor.Milliseconds())
		}
		if err := h.Batcher.Do(ctx, commands...); err != nil {
			return fmt.Errorf("note presence: %w", err)
		}
		for i, s := range some {
			if err := h.tell(ctx, s.audience.user, commands[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell publishes the reply to presence.lua to the watchers that it names.
func (h *Hub) tell(ctx context.Context, user int64, c *inbox.Command) error {
	reply, err := c.Slice()
	if err != nil || len(reply) < 2 {
		return fmt.Errorf("note presence: reply %v: %w", reply, err)
	}
	last, _ := reply[0].(int64)
	online, _ := reply[1].(int64)
	for _, v := range reply[2:] {
		name, _ := v.(string)
		watcher, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			return fmt.Errorf("watcher: %w", err)
		}
		body := h.presenceBody(inbox.ConversationID(user, watcher), user, online == 1, last)
		if err := h.publish(ctx, watcher, kindPresence, body); err != nil {
			return err
		}
	}
	return nil
}

// announce notes that a user has come.
func (h *Hub) announce(a *audience) {
	ctx, cancel := h.withTimeout(askTimeout)
	defer cancel()
	if err := h.note(ctx, []sighting{{audience: a, online: onlineFor}}); err != nil {
		h.Log.Warn("presence cannot be noted", "error", err)
	}
}

// presence tells whether the partner is online, and of changes for watchFor.
func (s *socket) presence(ctx context.Context, r *request) *answer {
	partner, failed := s.partner(ctx, r)
	if failed != nil {
		return failed
	}
	h := s.hub
	c := watchScript.Command(ctx, h.presenceKeys(partner),
		s.audience.user, watchFor.Milliseconds(), maxWatchers)
	if err := h.Batcher.Do(ctx, c); err != nil {
		return s.away(err)
	}
	reply, err := c.Int64Slice()
	if err != nil || len(reply) != 2 {
		return s.away(fmt.Errorf("watch presence: reply %v: %w", reply, err))
	}
	body := h.presenceBody(r.Conversation, partner, reply[1] == 1, reply[0])
	s.notify([]byte(`{"op":"presence",` + body + `}`))
	return ack(member{"conversation_id", r.Conversation}, member{"message", nil})
}

// presenceBody is what follows op in a presence frame. Whoever is online was seen
// now.
func (h *Hub) presenceBody(conversation string, user int64, online bool, last int64) string {
	seen := "null"
	if !online && last > 0 {
		seen = strconv.Quote(time.UnixMilli(last).In(h.Location).Format(time.RFC3339))
	}
	return fmt.Sprintf(`"conversation_id":%q,"user_id":"%d","online":%t,"last_seen":%s`, conversation, user, online, seen)
}

func typingBody(conversation string, user int64) string {
	return fmt.Sprintf(`"conversation_id":%q,"user_id":"%d"`, conversation, user)
}

// publish sends something that is not logged to a user's sockets.
func (h *Hub) publish(ctx context.Context, user int64, kind, body string) error {
	c := inbox.NewCommand(ctx, h.publishCommand(), h.Inbox.Channel(user), kind+" 0 0 -\n"+body)
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
