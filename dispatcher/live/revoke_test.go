package live

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// A socket whose credential was revoked after it was found to be good, and before the
// socket was greeted, is closed, and is told nothing.
func TestRevokedBeforeGreeting(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	vouched, err := p.revocations.last(t.Context(), 66)
	if err != nil {
		t.Fatal(err)
	}
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

// revokingCounters revokes the credentials of the first user whose unreads are counted,
// which is while the user's socket is being greeted.
type revokingCounters struct {
	Counters
	revoke func()
}

func (c revokingCounters) Unreads(ctx context.Context, user int64) (model.Unreads, error) {
	c.revoke()
	return c.Counters.Unreads(ctx, user)
}

func TestRevokedWhileGreeting(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) {
		o.Counters = revokingCounters{o.Counters, sync.OnceFunc(func() { w.revoke(66) })}
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
