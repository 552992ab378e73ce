package chat

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Of ten thousand messages that one user sends at once, most are refused. Other users are
// not affected.
func TestSendsOfOneUserAreLimited(t *testing.T) {
	clock := time.Now()
	w := newWorld(t, func(o *Options) {
		o.Now = func() time.Time { return clock }
		o.Sends = Rate{} // use the default
	})
	ctx := context.Background()
	var limit *LimitError
	sent := 0
	for range 10_000 {
		switch _, err := w.Send(ctx, 66, OutgoingMessage{Receiver: 15, Body: "spam"}); {
		case err == nil:
			sent++
		case !errors.As(err, &limit):
			t.Fatal(err)
		}
	}
	if sent != 50 || limit.RetryAfter != 100*time.Millisecond {
		t.Errorf("%d were sent, the next one in %v", sent, limit.RetryAfter)
	}
	if n := w.unreadMessages(15); n != sent {
		t.Errorf("%d were received", n)
	}
	w.send(15, 66, "halo")
	w.send(1, 66, "halo")
	clock = clock.Add(limit.RetryAfter)
	w.send(66, 15, "later")
}
