package live

import (
	"fmt"
	"testing"
	"time"
)

// A socket ends when the credential that opened it expires, and not before. The user's other
// sockets stay open.
func TestCredentialExpires(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.PingInterval = time.Hour }) // the test makes the checks instead of the loop
	dial := func(until time.Time) *client {
		t.Helper()
		c, err := p.dialQuery(fmt.Sprintf("user=66&until=%d", until.UnixMilli()))
		if err != nil {
			t.Fatal(err)
		}
		c.next("hello")
		return c
	}
	check := func(now time.Time) {
		for _, u := range p.users.all() {
			u.each(func(s *socket) { s.checkAlive(now.UnixMilli(), p.opts.PingInterval.Milliseconds()) })
		}
	}
	until := time.Now().Add(time.Minute)
	short, long, endless := dial(until), dial(until.Add(time.Hour)), p.dial(66)
	endless.next("hello")
	p.awaitLive()
	check(until.Add(-time.Millisecond))
	id := w.send(15, 66, "masih di sini?")
	for _, c := range []*client{short, long, endless} {
		if f := c.next("event"); f.InstantMessage.ID != id {
			t.Error(f.raw)
		}
	}
	check(until)
	if code := short.closed(); code != codeRevoked {
		t.Errorf("closed with %d", code)
	}
	id = w.send(15, 66, "dan sekarang?")
	for _, c := range []*client{long, endless} {
		if f := c.next("event"); f.InstantMessage.ID != id {
			t.Error(f.raw)
		}
	}
	expired := dial(time.Now().Add(-time.Minute))
	p.awaitLive()
	check(time.Now())
	if code := expired.closed(); code != codeRevoked {
		t.Errorf("one that had expired already: closed with %d", code)
	}
}
