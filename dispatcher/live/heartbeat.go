package live

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// maxMissed is how many heartbeats in a row may be lost before their connection is renewed.
const maxMissed = 3

// heartbeatChannel returns the channel of this process' heartbeats in the hash slot of a
// slot tag: PREFIX:{TAG}:heartbeat:PROCESS. It has the same prefix as the users' channels.
func (p *pubsub) heartbeatChannel(tag string) string { return tag + ":heartbeat:" + p.process }

func (p *pubsub) isHeartbeat(channel string) bool {
	return strings.HasSuffix(channel, ":heartbeat:"+p.process)
}

// beat publishes a heartbeat to a channel of this connection at every interval, each time
// in another slot. It returns errDeaf when several in a row did not come back: a connection
// that answers pings may have lost its channels. A heartbeat that cannot be published is
// not counted, because it says nothing about the connection.
func (s *session) beat(ctx context.Context) error {
	p := s.conn.pubsub
	tag, missed := "", 0
	for rdb.Sleep(ctx, p.heartbeat) {
		tags := s.conn.slotTags()
		if missed == 0 || !slices.Contains(tags, tag) {
			tag, missed = after(tags, tag), 0
		}
		if tag == "" {
			continue // the connection carries no channel at the moment
		}
		channel := p.heartbeatChannel(tag)
		if err := p.publishHeartbeat(ctx, channel); err != nil {
			continue
		}
		if s.comesBack(ctx, channel) {
			missed = 0
			s.conn.silent.Store(false)
			continue
		}
		missed++
		s.conn.silent.Store(true)
		if missed == maxMissed {
			return errDeaf
		}
	}
	return nil
}

// after returns the tag that follows tag, or the first one after the last.
func after(tags []string, tag string) string {
	i, found := slices.BinarySearch(tags, tag)
	if found {
		i++
	}
	if len(tags) == 0 {
		return ""
	}
	return tags[i%len(tags)]
}

// publishHeartbeat publishes through the client of all other commands, not through the
// connection under test.
func (p *pubsub) publishHeartbeat(ctx context.Context, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if p.sharded {
		return p.redis.SPublish(ctx, channel, "").Err()
	}
	return p.redis.Publish(ctx, channel, "").Err()
}

// comesBack waits for a heartbeat for as long as one interval.
func (s *session) comesBack(ctx context.Context, channel string) bool {
	timeout := time.NewTimer(s.conn.pubsub.heartbeat)
	defer timeout.Stop()
	for {
		select {
		case came := <-s.echoes:
			if came == channel {
				return true
			}
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// echo records that a message came through a heartbeat channel. It does not wait.
func (s *session) echo(channel string) {
	select {
	case <-s.echoes: // drop an older heartbeat that nothing waits for
	default:
	}
	select {
	case s.echoes <- channel:
	default:
	}
}
