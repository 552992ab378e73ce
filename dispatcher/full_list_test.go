package dispatcher

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Twice as many events as the list has room for arrive while nothing is sent, and the provider
// refuses each push once. All are pushed, with their texts. The message of a user who is
// erased meanwhile is not.
func TestAllOfAFullListIsPushed(t *testing.T) {
	t.Parallel()
	w := newChat(t)
	ctx := context.Background()
	w.register(66, devices.IOS, "A")
	const events = 2000 // MaxNotifications is 1000
	publish := func(from, to int) {
		for n := from; n < to; n += 100 {
			var batch []*event.Event
			for i := n; i < n+100; i++ {
				batch = append(batch, w.parse(fmt.Sprintf(`{"id":"e%d","type":"dompet","receiver_id":66,"message":"Dana %d masuk"}`, i, i)))
			}
			for _, r := range w.Publish(ctx, "service:test", batch...) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
		}
	}
	publish(0, events/2)
	w.send(15, 66, "rahasia")
	publish(events/2, events)
	if err := w.Janitor.Erase(ctx, 15); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	refused, accepted := make(map[string]bool), make(map[string]int)
	w.ios.set(func(d *push.Delivery) push.Result {
		mu.Lock()
		defer mu.Unlock()
		if !refused[d.ID] {
			refused[d.ID] = true
			return push.Result{Outcome: push.Later, Reason: "ServiceUnavailable", RetryAfter: 10 * time.Millisecond}
		}
		accepted[d.Body]++
		return push.Result{Outcome: push.Accepted}
	}, push.Result{Outcome: push.Accepted})
	w.run()
	w.settled()
	mu.Lock()
	defer mu.Unlock()
	for i := range events {
		if n := accepted[fmt.Sprintf("Dana %d masuk", i)]; n != 1 {
			t.Errorf("event %d was pushed %d times", i, n)
		}
	}
	for body := range accepted {
		if !strings.HasPrefix(body, "Dana ") {
			t.Errorf("pushed %q", body)
		}
	}
	if _, _, dead := w.left(); dead != 0 {
		t.Errorf("%d dead letters", dead)
	}
}
