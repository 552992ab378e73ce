package live

import (
	"fmt"
	"testing"
	"time"
)

// A socket ends when the credential that opened it expires. The user's other sockets stay
// open.
func TestCredentialExpires(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.PingInterval = time.Second })
	dial := func(until time.Time) *client {
		t.Helper()
		c, err := p.dialQuery(fmt.Sprintf("user=66&until=%d", until.UnixMilli()))
		if err != nil {
			t.Fatal(err)
		}
		c.next("hello")
		return c
	}
	until := time.Now().Add(time.Second)
	short, long, endless := dial(until), dial(until.Add(time.Hour)), p.dial(66)
	endless.next("hello")
	if code := short.closed(); code != codeRevoked {
		t.Errorf("closed with %d", code)
	}
	if early := time.Until(until); early > 0 {
		t.Errorf("%v too early", early)
	}
	id := w.send(15, 66, "masih di sini?")
	for _, c := range []*client{long, endless} {
		if f := c.next("event"); f.InstantMessage.ID != id {
			t.Error(f.raw)
		}
	}
	if code := dial(until).closed(); code != codeRevoked {
		t.Errorf("one that had expired already: closed with %d", code)
	}
}
