package live

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/inbox"
)

// A socket whose credential was revoked after it was found to be good, and before the
// socket was greeted, is closed, and is told nothing.
func TestRevokedBeforeGreeting(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	vouched := w.revoked(66)
	w.revoke(66)
	c, err := p.dialQuery(fmt.Sprintf("user=66&vouched=%d&since=0", vouched))
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.read()
	if err == nil {
		t.Errorf("told %s", f.raw)
	}
	if code := websocket.CloseStatus(err); code != codeRevoked {
		t.Errorf("closed with %d", code)
	}
	p.dial(66).next("hello") // vouched for since
}

// revokingChannels revokes the credentials of the first user whose socket is greeted, when
// the socket's snapshot was read.
type revokingChannels struct {
	Channels
	revoke func()
}

func (c revokingChannels) Snapshot(ctx context.Context, user int64) (inbox.Snapshot, error) {
	now, err := c.Channels.Snapshot(ctx, user)
	c.revoke()
	return now, err
}

func TestRevokedWhileGreeting(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) {
		o.Channels = revokingChannels{o.Channels, sync.OnceFunc(func() { w.revoke(66) })}
	})
	if code := p.dial(66).closed(); code != codeRevoked {
		t.Errorf("closed with %d", code)
	}
}

// A revocation is later than the one before, although Redis' clock has stepped back.
func TestRevocationsNeverRunBack(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	key := w.Inbox.Live.Keys(66).Revoked
	const future = 9e15
	if err := w.rdb.Set(t.Context(), key, int64(future), 0).Err(); err != nil {
		t.Fatal(err)
	}
	c := p.dial(66)
	c.next("hello")
	w.revoke(66)
	if code := c.closed(); code != codeRevoked {
		t.Errorf("closed with %d", code)
	}
}
